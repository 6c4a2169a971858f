import { createServer, type Server, type Socket } from 'node:net';
import type { Message, NodeId } from '@lockd/raft';
import type { PeerIdentity, PeerVerdict, TransportHandler } from '@lockd/raft/node';
import { afterEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { realClock } from '../../src/clock.ts';
import { Listener } from '../../src/gateway/listener.ts';
import type { Logger } from '../../src/log.ts';
import { dialPeer } from '../../src/peers/dial.ts';
import { PEER_LIMITS } from '../../src/peers/limits.ts';
import { PeerTransport } from '../../src/peers/peer-transport.ts';
import { freePorts } from '../support/ports.ts';
import { until } from '../support/until.ts';

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** One end of links, and all it hears. */
class End {
  readonly name: string;
  readonly transport: PeerTransport;
  readonly heard: string[] = [];
  readonly logged: string[] = [];
  readonly messages: Message[] = [];
  verdict: PeerVerdict = { accept: true };
  listener: Listener | undefined;
  readonly #identity: PeerIdentity;

  constructor(
    name: string,
    peers: Record<string, number>,
    bootstrapHash = 'same',
    identity: Partial<PeerIdentity> = {},
  ) {
    this.name = name;
    this.#identity = { instanceId: `instance of ${name}`, incarnation: 1, clusterId: undefined, ...identity };
    const log: Logger = {
      debug() {},
      info: (message) => this.logged.push(message),
      warn: (message) => this.logged.push(message),
      error: (message, fields) => this.logged.push(`${message}: ${String(fields?.['code'])}`),
    };
    this.transport = new PeerTransport({
      name: name as NodeId,
      peers: new Map(Object.entries(peers).map(([peer, port]) => [peer as NodeId, `127.0.0.1:${port}`])),
      bootstrapHash,
      dial: dialPeer,
      clock: realClock,
      random: () => 0,
      log,
    });
  }

  async start(port: number): Promise<void> {
    this.listener = await Listener.open({
      address: { host: '127.0.0.1', port },
      what: 'peers',
      maxPayloadBytes: PEER_LIMITS.maxFrameBytes,
      onSocket: (socket) => this.transport.accept(socket),
      onRequest: (_request, response) => response.end(),
    });
    const handler: TransportHandler = {
      onMessage: (message) => this.messages.push(message),
      onSnapshot: () => {},
      onProbe: () => {},
      onUnreachable: (peer) => this.heard.push(`unreachable ${peer}`),
      onLinkClosed: (peer) => this.heard.push(`closed ${peer}`),
      onPeerIdentity: (_peer, identity) => {
        this.heard.push(`identity ${identity.instanceId}`);
        return this.verdict;
      },
      onRefused: (peer, code) => this.heard.push(`refused by ${peer}: ${code}`),
    };
    this.transport.start({
      handler,
      identity: () => this.#identity,
      clientAddress: `ws://client-of-${this.name}`,
      app: {
        onPayload: () => {},
        onPeerUp: (peer) => this.heard.push(`up ${peer}`),
        onPeerDown: (peer) => this.heard.push(`down ${peer}`),
      },
    });
    cleanups.push(() => this.stop());
  }

  async stop(): Promise<void> {
    this.transport.stop('the test is over');
    await this.listener?.close();
    this.listener = undefined;
  }

  isUp(peer: string): boolean {
    return this.transport.isConnected(peer as NodeId);
  }
}

/** Two ends, `a` dialling `b` through a proxy that the test can cut. */
async function pair(
  make: { readonly b?: (ports: Record<string, number>) => End } = {},
): Promise<{ a: End; b: End; proxy: Proxy; ports: number[] }> {
  const ports = await freePorts(3);
  const [portA, portB, portProxy] = ports as [number, number, number];
  const proxy = new Proxy(portB);
  await proxy.listen(portProxy);
  cleanups.push(() => proxy.close());
  const a = new End('a', { b: portProxy });
  const b = make.b?.({ a: portA }) ?? new End('b', { a: portA });
  await a.start(portA);
  await b.start(portB);
  return { a, b, proxy, ports };
}

/** Passes bytes on until told otherwise. */
class Proxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  isOpen = true;

  constructor(target: number) {
    this.#server = createServer((inbound) => {
      if (!this.isOpen) {
        inbound.destroy();
        return;
      }
      const outbound = new (inbound.constructor as new () => Socket)();
      outbound.connect(target, '127.0.0.1');
      for (const [from, to] of [
        [inbound, outbound],
        [outbound, inbound],
      ] as const) {
        this.#sockets.add(from);
        from.on('error', () => {});
        from.on('close', () => {
          this.#sockets.delete(from);
          to.destroy();
        });
        from.pipe(to);
      }
    });
  }

  listen(port: number): Promise<void> {
    return new Promise((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
  }

  /** Ends what passes through. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}

const heartbeat = (from: string, to: string, round: number): Message =>
  ({ type: 'heartbeat', from, to, term: 1, commitIndex: 0, round }) as unknown as Message;

describe('a link between two nodes', () => {
  test('is made once, tells each side the other’s client address, and carries messages both ways', async () => {
    const { a, b } = await pair();
    await until('both ends up', () => a.isUp('b') && b.isUp('a'));
    expect(a.transport.clientAddressOf('b' as NodeId)).toBe('ws://client-of-b');
    expect(b.transport.clientAddressOf('a' as NodeId)).toBe('ws://client-of-a');
    a.transport.send(heartbeat('a', 'b', 1));
    b.transport.send(heartbeat('b', 'a', 2));
    await until('both messages', () => a.messages.length === 1 && b.messages.length === 1);
    expect(b.messages[0]).toEqual(heartbeat('a', 'b', 1));
    expect(b.heard.filter((word) => word === 'up a')).toHaveLength(1);
  });

  test('that ends without a goodbye is made again at once, and is no evidence where somebody answers', async () => {
    const { a, b, proxy } = await pair();
    await until('both ends up', () => a.isUp('b') && b.isUp('a'));
    proxy.cut();
    await until('a second link', () => a.heard.filter((word) => word === 'up b').length === 2 && b.isUp('a'));
    await realDelay(PEER_LIMITS.evidenceTimeoutMs + 50);
    expect([...a.heard, ...b.heard].filter((word) => word.startsWith('closed'))).toEqual([]);
  });

  test('that ends without a goodbye, and whose peer is gone, is evidence: for the end that dials …', async () => {
    const { a, b, proxy } = await pair();
    await until('both ends up', () => a.isUp('b') && b.isUp('a'));
    proxy.isOpen = false;
    await b.listener?.close();
    proxy.cut();
    await until('evidence', () => a.heard.includes('closed b'));
    expect(a.heard).toContain('down b');
  });

  test('… and for the end that is dialled', async () => {
    const { a, b, proxy } = await pair();
    await until('both ends up', () => a.isUp('b') && b.isUp('a'));
    proxy.isOpen = false;
    await a.listener?.close();
    proxy.cut();
    await until('evidence', () => b.heard.includes('closed a'));
  });

  test('that ends with a goodbye is no evidence', async () => {
    const { a, b } = await pair();
    await until('both ends up', () => a.isUp('b') && b.isUp('a'));
    await b.stop();
    await until('the end', () => a.heard.includes('down b'));
    await realDelay(PEER_LIMITS.evidenceTimeoutMs + 50);
    expect(a.heard).not.toContain('closed b');
  });

  test('that is not there takes no forwarded command, and Raft is not woken by that', async () => {
    const [portA, portB] = (await freePorts(2)) as [number, number];
    const a = new End('a', { b: portB });
    await a.start(portA);
    const before = [...a.heard];
    const forward = { type: 'forward', batch: 1, start: 0, ends: Uint32Array.of(8), bytes: new Uint8Array(8) } as const;
    expect(a.transport.sendApp('b' as NodeId, forward)).toBe(false);
    // A turn that is begun by it would end with the next try: a node without a link would turn without rest.
    expect(a.heard).toEqual(before);
  });

  test('is ended by a frame that cannot be read, with the reason told, and made again', async () => {
    const { a, b } = await pair();
    await until('both ends up', () => a.isUp('b') && b.isUp('a'));
    a.transport.send({
      type: 'heartbeat',
      from: 'a',
      to: 'b',
      term: -1,
      commitIndex: 0,
      round: 0,
    } as unknown as Message);
    await until('the refusal', () => a.heard.includes('refused by b: malformed'));
    expect(b.messages).toEqual([]);
    await until('a second link', () => b.isUp('a'));
  });
});

describe('who is not let in', () => {
  const cases: readonly [string, (ports: Record<string, number>) => End, string][] = [
    ['another initial cluster', (ports) => new End('b', ports, 'other'), 'another-bootstrap'],
    ['another name at the address', (ports) => new End('c', ports), 'wrong-address'],
    ['this node’s own name', (ports) => new End('a', { b: ports['a'] as number }), 'same-name'],
  ];
  test.each(cases)('%s', async (_what, makeB, code) => {
    const { a } = await pair({ b: makeB });
    await until('the refusal', () => a.logged.some((line) => line.endsWith(`: ${code}`)));
    expect(a.isUp('b')).toBe(false);
  });

  test('what the driver refuses, such as another cluster: both sides say so, once', async () => {
    const { a, b } = await pair({
      b: (ports) => {
        const end = new End('b', ports);
        end.verdict = { accept: false, code: 'another-cluster', reason: 'not ours' };
        return end;
      },
    });
    await until(
      'the refusal at both',
      () => a.heard.includes('refused by b: another-cluster') && b.heard.includes('identity instance of a'),
    );
    await realDelay(200);
    expect(b.logged.filter((line) => line === 'refused a peer: another-cluster')).toHaveLength(1);
    expect(a.logged.filter((line) => line === 'refused by a peer: another-cluster')).toHaveLength(1);
  });

  test('somebody who is not in the cluster, speaks another version, or nonsense', async () => {
    const { ports } = await pair();
    const hello = { type: 'hello', version: 1, name: 'z', instanceId: 'i', incarnation: 1 };
    for (const [frame, code] of [
      [JSON.stringify(hello), 'unknown-node'],
      [JSON.stringify({ ...hello, version: 9, instanceId: undefined }), 'another-version'],
      ['nonsense', 'malformed'],
      [Buffer.from([0x93, 1, 2, 3]), 'malformed'],
    ] as const) {
      const socket = new WebSocket(`ws://127.0.0.1:${ports[1]}/`);
      const answer = await new Promise<string>((resolve, reject) => {
        socket.on('open', () => socket.send(frame));
        socket.on('message', (data) => resolve((data as Buffer).toString()));
        socket.on('error', reject);
      });
      expect(JSON.parse(answer)).toMatchObject({ type: 'refused', code });
      socket.terminate();
    }
  });
});

function realDelay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
