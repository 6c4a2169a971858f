import { type ClientMessage, jsonCodec, type NodeStatus, type ServerMessage } from '@lockd/client/protocol';
import type { NodeId, ProposeResult, RaftStatus, ReadRound } from '@lockd/raft';
import type { NodeCondition } from '@lockd/raft/node';
import type { FrameSocket } from '../../src/frame-socket.ts';
import { Gateway } from '../../src/gateway/gateway.ts';
import { LeaseManager } from '../../src/leases/lease-manager.ts';
import { LockTable } from '../../src/lock-table/lock-table.ts';
import { silentLogger } from '../../src/log.ts';
import { NodeSink } from '../../src/node/node-sink.ts';
import { FakeClock } from './fake-clock.ts';

/** One client's connection to a node of the bench, both ends in the test's hands. */
export class BenchConnection {
  readonly received: ServerMessage[] = [];
  readonly #listeners = new Map<string, (...args: never[]) => void>();

  constructor(node: BenchNode) {
    const socket = {
      bufferedAmount: 0,
      on: (event: string, listener: (...args: never[]) => void) => this.#listeners.set(event, listener),
      send: (frame: string) => this.received.push(...(jsonCodec.decode(frame) as unknown as ServerMessage[])),
      close: () => {},
      terminate: () => {},
    };
    node.gateway.accept(socket as unknown as FrameSocket, jsonCodec);
    this.say(['hello', { version: 1, client: 'test', credentials: null, clusterId: null, sessions: [] }]);
  }

  /** One frame. */
  say(...messages: (ClientMessage | readonly unknown[])[]): void {
    const frame = Buffer.from(jsonCodec.encode(messages as ClientMessage[]) as string);
    (this.#listeners.get('message') as ((data: Buffer, isBinary: boolean) => void) | undefined)?.(frame, false);
  }

  break(): void {
    this.#listeners.get('close')?.();
  }

  /** The messages of this kind so far. */
  all<Name extends ServerMessage[0]>(name: Name): Extract<ServerMessage, readonly [Name, ...unknown[]]>[] {
    return this.received.filter((message) => message[0] === name) as never;
  }
}

/** A node's gateway with a table of its own; it applies the bench's log when told. */
export class BenchNode {
  readonly clock = new FakeClock();
  readonly table = new LockTable();
  readonly leases = new LeaseManager();
  readonly gateway: Gateway;
  readonly #bench: GatewayBench;
  readonly #name: NodeId;
  readonly #sink = new NodeSink(this.leases);

  constructor(bench: GatewayBench, name: NodeId) {
    this.#bench = bench;
    this.#name = name;
    this.gateway = new Gateway({
      self: name,
      clock: this.clock,
      log: silentLogger,
      electionTimeoutMs: 500,
      clientToken: undefined,
      table: this.table,
      leases: this.leases,
      driver: {
        propose: (bytes, start, ends) => bench.propose(bytes, start, ends),
        requestRead: () => ({ type: 'round', round: bench.round as ReadRound }),
        wake: () => {},
        status: () => this.status(),
        condition: () => bench.condition,
        clusterId: () => 'bench',
      },
      sendApp: (to, payload) => {
        const peer = bench.nodes.get(to);
        if (peer === undefined || bench.isCut) return false;
        peer.gateway.onPayload(name, payload);
        return true;
      },
      clientAddressOf: () => undefined,
      nodeStatus: () => ({}) as NodeStatus,
      operate: () => ({ status: 404, body: '' }) as never,
      onOperation: () => {},
    });
    this.#sink.sessions = this.gateway.sessions;
  }

  status(): RaftStatus {
    const { leader, term, log } = this.#bench;
    return {
      role: leader === this.#name ? 'leader' : 'follower',
      term,
      leader,
      isReady: leader === this.#name,
      lastIndex: log.length,
      commitIndex: log.length,
      configuration: { voters: [], outgoing: [], learners: [], learnersNext: [], autoLeave: false },
    } as unknown as RaftStatus;
  }

  /** What this turn collected is handed on; then everything in the log is applied. */
  turn(): void {
    this.clock.endTurn();
    const { log, term } = this.#bench;
    while (this.table.index < log.length) {
      this.table.applyEntry(log[this.table.index] as Uint8Array, this.table.index + 1, term, this.#sink);
    }
    this.gateway.onTurnEnd();
  }
}

/** Gateways of several nodes around one log that is always committed. */
export class GatewayBench {
  readonly log: Uint8Array[] = [];
  readonly nodes = new Map<string, BenchNode>();
  /** Of reads; confirmed by the test. */
  round = 1;
  leader: NodeId | undefined = 'n1' as NodeId;
  term = 1;
  condition: NodeCondition = 'serving';
  /** Nothing passes between the nodes. */
  isCut = false;

  constructor(names: readonly string[] = ['n1', 'n2']) {
    for (const name of names) this.nodes.set(name, new BenchNode(this, name as NodeId));
    this.elect('n1');
  }

  node(name: string): BenchNode {
    return this.nodes.get(name) as BenchNode;
  }

  connect(name: string): BenchConnection {
    const connection = new BenchConnection(this.node(name));
    this.turn();
    return connection;
  }

  elect(name: string | undefined): void {
    this.leader = name as NodeId | undefined;
    this.term++;
    for (const node of this.nodes.values()) node.gateway.onStatus(node.status());
  }

  propose(bytes: Uint8Array, start: number, ends: Uint32Array): ProposeResult {
    let from = start;
    for (const end of ends) {
      this.log.push(bytes.slice(from + 1, end));
      from = end;
    }
    return { type: 'accepted', firstIndex: 1, term: this.term } as unknown as ProposeResult;
  }

  /** Every node takes turns until nothing moves. */
  turn(): void {
    for (let round = 0; round < 4; round++) for (const node of this.nodes.values()) node.turn();
  }
}
