import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { monotonicNs, sleep, waitFor } from '../src/clock.ts';
import { Network } from '../src/cluster/network.ts';
import { Random } from '../src/random.ts';

let network: Network;
let target: Server;
let port: number;
let accepted: Socket[];

beforeEach(async () => {
  accepted = [];
  target = createServer((socket) => {
    accepted.push(socket);
    socket.on('error', () => {});
  });
  target.listen(0, '127.0.0.1');
  await once(target, 'listening');
  network = new Network(new Random(1));
  port = await network.listen('a', 'b', { host: '127.0.0.1', port: (target.address() as { port: number }).port });
});

afterEach(async () => {
  await network.close();
  for (const socket of accepted) socket.destroy();
  target.close();
});

class End {
  readonly socket: Socket;
  text = '';
  over: string | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => (this.text += chunk.toString()));
    socket.on('error', (error) => (this.over = (error as NodeJS.ErrnoException).code ?? 'error'));
    socket.on('close', () => (this.over ??= 'closed'));
  }
}

async function pair(): Promise<{ readonly near: End; readonly far: End }> {
  const before = accepted.length;
  const socket = connect(port, '127.0.0.1');
  const near = new End(socket);
  await waitFor(() => (accepted.length > before ? true : undefined), 2000, 5);
  return { near, far: new End(accepted[before] as Socket) };
}

const soon = (condition: () => boolean): Promise<true | undefined> => waitFor(() => condition() || undefined, 2000, 5);

describe('a link', () => {
  test('passes bytes both ways', async () => {
    const { near, far } = await pair();
    near.socket.write('ping');
    await soon(() => far.text === 'ping');
    far.socket.write('pong');
    expect(await soon(() => near.text === 'pong')).toBe(true);
    expect(network.counters('a', 'b').passedBytes).toBe(4);
  });

  test('that is silent one way holds bytes back, and passes them on when it heals', async () => {
    const { near, far } = await pair();
    network.set('a', 'b', { mode: 'silence' });
    near.socket.write('late');
    far.socket.write('early');
    expect(await soon(() => near.text === 'early')).toBe(true);
    await sleep(50);
    expect(far.text).toBe('');
    expect(network.counters('a', 'b').withheldBytes).toBe(4);
    network.heal();
    expect(await soon(() => far.text === 'late')).toBe(true);
  });

  test('that heals with a reset loses what it held', async () => {
    const { near, far } = await pair();
    network.set('a', 'b', { mode: 'silence' });
    near.socket.write('lost');
    await sleep(50);
    network.heal({ reset: true });
    expect(await soon(() => near.over !== undefined && far.over !== undefined)).toBe(true);
    expect(far.text).toBe('');
  });

  test('that is reset ends connections on both sides and refuses new ones', async () => {
    const { near, far } = await pair();
    network.setBoth('a', 'b', { mode: 'reset' });
    expect(await soon(() => near.over === 'ECONNRESET' && far.over === 'ECONNRESET')).toBe(true);
    const refused = new End(connect(port, '127.0.0.1'));
    expect(await soon(() => refused.over === 'ECONNRESET')).toBe(true);
    network.heal();
    expect((await pair()).near.over).toBeUndefined();
  });

  test('delays without changing the order', async () => {
    const { near, far } = await pair();
    network.set('a', 'b', { delayMs: 40, jitterMs: 40 });
    const start = monotonicNs();
    for (let i = 0; i < 10; i++) {
      near.socket.write(`${i}`);
      await sleep(2);
    }
    await soon(() => far.text.length === 10);
    expect(far.text).toBe('0123456789');
    expect((monotonicNs() - start) / 1e6).toBeGreaterThan(40);
  });

  test('cut within a frame delivers a part of it', async () => {
    const { near, far } = await pair();
    expect(network.cutWithinFrame('a', 'b', 3)).toBe(1);
    near.socket.write('frame');
    expect(await soon(() => far.over !== undefined && near.over !== undefined)).toBe(true);
    expect(far.text).toBe('fra');
  });

  test('half open is gone for one side only', async () => {
    const { near, far } = await pair();
    network.halfOpen('a', 'b');
    expect(await soon(() => near.over === 'ECONNRESET')).toBe(true);
    far.socket.write('anybody there?');
    await sleep(50);
    expect(far.over).toBeUndefined();
    network.heal();
    expect(await soon(() => far.over !== undefined)).toBe(true);
  });

  test('across a silent link nothing connects until it heals', async () => {
    network.set('b', 'a', { mode: 'silence' });
    const near = new End(connect(port, '127.0.0.1'));
    await sleep(50);
    expect(accepted).toHaveLength(0);
    network.heal();
    expect(await soon(() => near.over !== undefined)).toBe(true);
    expect((await pair()).near.over).toBeUndefined();
  });

  test('to a target that does not listen refuses', async () => {
    target.close();
    const near = new End(connect(port, '127.0.0.1'));
    expect(await soon(() => near.over === 'ECONNRESET')).toBe(true);
  });
});
