import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePorts } from '../support/ports.ts';
import { isBuilt, lockd, Process } from '../support/processes.ts';
import { until } from '../support/until.ts';

if (!isBuilt) process.stderr.write('skipped: tests of the lockd command run what was built (npm run setup)\n');

const TIMEOUT_MS = 90_000;

interface ReadyNode {
  readonly name: string;
  readonly pid: number;
  readonly client: string;
}

interface Status {
  readonly leader: string | null;
  readonly term: number;
  readonly nodes: readonly {
    readonly name: string;
    readonly pid: number | null;
    readonly reachable: boolean;
    readonly role: string | null;
  }[];
}

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'lockd-cli-'));
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** The first of three neighbouring ports that are free, and of three more. */
async function clusterPorts(): Promise<[client: number, peer: number]> {
  for (;;) {
    const [client, peer] = (await freePorts(2)) as [number, number];
    if (Math.abs(client - peer) > 3 && Math.max(client, peer) < 65_000) return [client, peer];
  }
}

/** `lockd cluster` on free ports, with its data in a folder of that name. */
async function clusterFlags(
  dataDir: string,
  ...more: string[]
): Promise<{ readonly args: readonly string[]; readonly clientPort: number }> {
  const [clientPort, peerPort] = await clusterPorts();
  const ports = ['--client-port', `${clientPort}`, '--peer-port', `${peerPort}`];
  return { args: ['cluster', '--data-dir', join(directory, dataDir), ...ports, '-o', 'json', ...more], clientPort };
}

describe.skipIf(!isBuilt)('lockd start, as built', { timeout: TIMEOUT_MS }, () => {
  const flags = (name: string, dataDir: string, clientPort: number, peerPort: number, cluster: string): string[] => [
    ...['start', '--name', name, '--data-dir', dataDir],
    ...['--listen-client', `127.0.0.1:${clientPort}`, '--listen-peer', `127.0.0.1:${peerPort}`],
    ...['--initial-cluster', cluster, '-o', 'json'],
  ];

  test('says that it is ready, serves, and ends with 0 on SIGTERM', async () => {
    const [clientPort, peerPort] = (await freePorts(2)) as [number, number];
    const node = new Process(flags('n1', join(directory, 'alone'), clientPort, peerPort, `n1=127.0.0.1:${peerPort}`));
    const ready = await node.event('ready');
    expect(ready).toEqual({
      event: 'ready',
      name: 'n1',
      client: `ws://127.0.0.1:${clientPort}`,
      peer: `127.0.0.1:${peerPort}`,
      pid: node.child.pid,
    });

    const [other, otherPeer] = (await freePorts(2)) as [number, number];
    const second = await lockd(...flags('n1', join(directory, 'alone'), other, otherPeer, `n1=127.0.0.1:${otherPeer}`));
    expect([second.code, second.stderr]).toEqual([73, expect.stringMatching(/another process/)]);
    const third = await lockd(
      ...flags('n1', join(directory, 'third'), clientPort, otherPeer, `n1=127.0.0.1:${otherPeer}`),
    );
    expect([third.code, third.stderr]).toEqual([71, expect.stringMatching(new RegExp(`${clientPort}.*in use`))]);

    node.child.kill('SIGTERM');
    expect(await node.ended()).toBe(0);
  });

  test('says what is missing or wrong', async () => {
    const missing = await lockd('start', '--name', 'n1');
    expect([missing.code, missing.stderr]).toEqual([64, expect.stringMatching(/--data-dir/)]);
    const stranger = await lockd(...flags('n9', directory, 1, 2, 'n1=127.0.0.1:2'));
    expect([stranger.code, stranger.stderr]).toEqual([64, expect.stringMatching(/n9 is not one of n1/)]);
    const unknown = await lockd('start', '--frobnicate');
    expect([unknown.code, unknown.stderr]).toEqual([64, expect.stringMatching(/--frobnicate/)]);
  });
});

describe.skipIf(!isBuilt)('lockd cluster, status and run, as built', { timeout: TIMEOUT_MS }, () => {
  test('a cluster from start to the death of its leader and a second start', async () => {
    const { args, clientPort } = await clusterFlags('three');
    const cluster = new Process(args);
    try {
      const ready = await cluster.event('ready');
      const nodes = ready['nodes'] as ReadyNode[];
      expect(nodes.map(({ name, client }) => [name, client])).toEqual([
        ['n1', `ws://127.0.0.1:${clientPort}`],
        ['n2', `ws://127.0.0.1:${clientPort + 1}`],
        ['n3', `ws://127.0.0.1:${clientPort + 2}`],
      ]);
      const endpoints = nodes.map((node) => node.client).join(',');
      const status = async (of = endpoints): Promise<Status> =>
        JSON.parse((await lockd('status', '--endpoints', of, '-o', 'json')).stdout) as Status;
      const run = (...more: string[]): ReturnType<typeof lockd> => lockd('run', '--endpoints', endpoints, ...more);

      // One endpoint is enough to learn of all.
      expect((await status(nodes[0]?.client)).nodes.map((node) => [node.name, node.reachable, node.pid])).toEqual(
        nodes.map((node) => [node.name, true, node.pid]),
      );
      expect((await lockd(...args)).code).toBe(71);

      const first = await run(
        'job',
        '--',
        process.execPath,
        '-e',
        'console.log(process.env.LOCKD_NAME, process.env.LOCKD_TOKEN); process.exit(7)',
      );
      expect(first.code).toBe(7);
      const [name, token] = first.stdout.trim().split(' ');
      expect(name).toBe('job');

      const started = join(directory, 'started');
      const holder = new Process([
        'run',
        '--endpoints',
        endpoints,
        'job',
        '--',
        'sh',
        '-c',
        `echo "$LOCKD_TOKEN" > ${started}; exec sleep 600`,
      ]);
      const held = Number(await until('the holder to hold', () => readIfThere(started)));
      expect(held).toBeGreaterThan(Number(token));
      expect((await run('job', '-n', '--', 'true')).code).toBe(1);
      expect((await run('job', '-w', '0.2', '-E', '9', '--', 'true')).code).toBe(9);
      expect(JSON.parse((await lockd('inspect', 'job', '--endpoints', endpoints, '-o', 'json')).stdout)).toMatchObject({
        holders: [{ token: held }],
      });

      // The leader dies; the lock does not.
      const before = await status();
      const leader = nodes.find((node) => node.name === before.leader) as ReadyNode;
      process.kill(leader.pid, 'SIGKILL');
      await cluster.event('node-exited');
      const after = await until('another leader', async () => {
        const now = await status();
        return now.leader !== null && now.leader !== leader.name ? now : undefined;
      });
      expect(after.nodes.find((node) => node.name === leader.name)).toMatchObject({ reachable: false });
      expect(after.term).toBeGreaterThan(before.term);
      expect((await run('job', '-n', '--', 'true')).code).toBe(1);
      holder.child.kill('SIGTERM');
      expect(await holder.ended()).toBe(143);
      const later = await run('job', '--', 'sh', '-c', 'echo $LOCKD_TOKEN');
      expect(Number(later.stdout)).toBeGreaterThan(held);

      cluster.child.kill('SIGTERM');
      expect(await cluster.ended()).toBe(0);
      const none = await lockd('status', '--endpoints', endpoints, '-o', 'json');
      expect(none.code).toBe(69);
      expect((JSON.parse(none.stdout) as Status).leader).toBeNull();

      const again = new Process(args);
      await again.event('ready');
      const last = await run('job', '--', 'sh', '-c', 'echo $LOCKD_TOKEN');
      expect(Number(last.stdout)).toBeGreaterThan(Number(later.stdout));
      again.child.kill('SIGINT');
      expect(await again.ended()).toBe(0);
    } finally {
      cluster.child.kill('SIGKILL');
    }
  });

  test('run says how the command ended, or that it could not begin', async () => {
    const { args, clientPort } = await clusterFlags('one', '--nodes', '1');
    const cluster = new Process(args);
    try {
      await cluster.event('ready');
      const run = (...more: string[]): ReturnType<typeof lockd> =>
        lockd('run', '--endpoints', `ws://127.0.0.1:${clientPort}`, ...more);
      expect((await run('x', '--', 'sh', '-c', 'kill -9 $$')).code).toBe(137);
      expect((await run('x', '--', '/nonexistent')).code).toBe(127);
      expect((await run('x')).code).toBe(64);
      expect((await run('-s', '-x', 'x', '--', 'true')).code).toBe(64);
      expect((await run('x', '-w', 'soon', '--', 'true')).code).toBe(64);
      const shared = new Process([
        'run',
        '--endpoints',
        `ws://127.0.0.1:${clientPort}`,
        '-s',
        'y',
        '--',
        'sh',
        '-c',
        `echo 1 > ${join(directory, 'shared')}; exec sleep 600`,
      ]);
      await until('the shared holder', () => readIfThere(join(directory, 'shared')));
      expect((await run('-s', '-n', 'y', '--', 'true')).code).toBe(0);
      expect((await run('-n', 'y', '--', 'true')).code).toBe(1);
      shared.child.kill('SIGINT');
      expect(await shared.ended()).toBe(130);
    } finally {
      cluster.child.kill('SIGKILL');
    }
  });

  test('a lost lock kills the command, and all it started', async () => {
    const { args, clientPort } = await clusterFlags('lost', '--nodes', '1');
    const cluster = new Process(args);
    const pidFile = join(directory, 'pid');
    await cluster.event('ready');
    // The command ignores SIGTERM, and its child holds no terminal.
    const script = `trap '' TERM; sleep 600 & echo $! > ${pidFile}; wait; wait`;
    const holder = new Process([
      'run',
      '--endpoints',
      `ws://127.0.0.1:${clientPort}`,
      '--session-ttl',
      '2s',
      'z',
      '--',
      'sh',
      '-c',
      script,
    ]);
    const pid = Number(await until('the command to run', () => readIfThere(pidFile)));
    cluster.child.kill('SIGKILL');
    expect(await holder.ended()).toBe(75);
    expect(holder.stderr).toMatch(/Asking the command to stop/);
    expect(holder.stderr).toMatch(/Killing the command/);
    await until('its child to be gone', () => !isAlive(pid));
  });
});

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim() || undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
