import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { sleep, waitFor } from '../src/clock.ts';
import { Namespaces, namespaceProblem } from '../src/cluster/namespaces.ts';
import type { FaultContext } from '../src/nemesis/fault.ts';
import { PACKET_FAULTS } from '../src/nemesis/packet-faults.ts';
import { Random } from '../src/random.ts';

const ECHO = `require('node:net').createServer((s) => { s.on('error', () => {}); s.pipe(s); }).listen(9000, process.argv[1])`;

test('where nodes cannot have networks of their own the fault says why', () => {
  for (const fault of PACKET_FAULTS) {
    expect(fault.unavailable?.({ packets: 'network namespaces need root' } as FaultContext)).toContain('need root');
  }
});

test('no packet passes to a node that is cut off, none is lost for good, and others can be told from it', async () => {
  // Where it is not allowed there is nothing to claim: the fault is skipped, with the reason.
  if (namespaceProblem() !== undefined) return;
  const networks = new Namespaces(['n1', 'n2'], new Random(process.pid));
  const host = networks.host('n1');
  if (host === undefined) throw new Error('n1 has no network');
  const [command = '', ...prefix] = host.prefix;
  const child = spawn(command, [...prefix, process.execPath, '-e', ECHO, host.address], { stdio: 'ignore' });
  try {
    const socket = await waitFor(async () => {
      const attempt = connect(9000, host.address);
      const isOpen = await once(attempt, 'connect').then(
        () => true,
        () => false,
      );
      return isOpen ? attempt : undefined;
    }, 10_000);
    if (socket === undefined) throw new Error('the node could not be reached');
    let received = '';
    socket.on('data', (chunk: Buffer) => (received += chunk.toString()));
    socket.on('error', () => {});
    const hears = (text: string): Promise<true | undefined> =>
      waitFor(() => (received === text ? true : undefined), 10_000, 10);
    socket.write('a');
    expect(await hears('a')).toBe(true);
    for (const direction of ['to', 'from'] as const) {
      const before = received;
      networks.drop('n1', direction);
      const passed = networks.passed('n1', direction);
      socket.write('b');
      expect(await waitFor(() => (networks.dropped('n1', direction) > 0 ? true : undefined), 10_000, 10)).toBe(true);
      await sleep(100);
      expect(received).toBe(before);
      expect(networks.passed('n1', direction)).toBe(passed);
      networks.heal('n1');
      expect(await hears(`${before}b`)).toBe(true);
    }
    expect(networks.nameOf(host.address)).toBe('n1');
    expect(networks.nameOf(host.gateway)).toBeUndefined();
    socket.destroy();
  } finally {
    child.kill('SIGKILL');
    networks.close();
  }
}, 60_000);
