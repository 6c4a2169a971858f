import {
  type AdminAnswer,
  type ClientMessage,
  type Codec,
  type Hello,
  LIMITS,
  type Member,
  type NodeStatus,
  PROTOCOL_VERSION,
  ProtocolError,
  parseClientMessage,
  type RawMessage,
  type Welcome,
} from '@lockd/client/protocol';
import type { NodeId, ProposeResult, RaftStatus, ReadRound, Refusal } from '@lockd/raft';
import type { NodeCondition } from '@lockd/raft/node';
import type { Clock } from '../clock.ts';
import type { FrameSocket } from '../frame-socket.ts';
import type { LeaseManager } from '../leases/lease-manager.ts';
import { encodeCommand } from '../lock-table/command.ts';
import type { LockTable } from '../lock-table/lock-table.ts';
import { isProblem, toCommand } from '../lock-table/request.ts';
import type { Logger } from '../log.ts';
import type { AppPayload } from '../peers/app-payload.ts';
import { ClusterView } from './cluster-view.ts';
import { CommandRoute } from './command-route.ts';
import { Connection, type ConnectionEvents } from './connection.ts';
import { isSameSecret } from './credentials.ts';
import { GATEWAY_LIMITS } from './limits.ts';
import type { LocalSession } from './local-session.ts';
import { Queries } from './queries.ts';
import { Reads } from './reads.ts';
import { Renewals } from './renewals.ts';
import { Sessions } from './sessions.ts';

/** What the gateway needs of the node it belongs to. */
export interface GatewayDependencies {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly log: Logger;
  readonly electionTimeoutMs: number;
  /** What a hello has to show; undefined: nothing. */
  readonly clientToken: string | undefined;
  readonly table: LockTable;
  readonly leases: LeaseManager;
  readonly driver: {
    propose(bytes: Uint8Array, start: number, ends: Uint32Array, awaitedBy?: NodeId): ProposeResult;
    requestRead(): { readonly type: 'round'; readonly round: ReadRound } | Refusal;
    wake(): void;
    status(): RaftStatus;
    condition(): NodeCondition;
    clusterId(): string | undefined;
  };
  sendApp(to: NodeId, payload: AppPayload): boolean;
  clientAddressOf(node: NodeId): string | undefined;
  /** This node as it is now, for `status`. */
  nodeStatus(members: readonly Member[]): NodeStatus;
  /** Between the nodes' operations. */
  onOperation(from: NodeId, payload: Extract<AppPayload, { readonly json: string }>): void;
  /** What an operator asks for; `answer` is called once. */
  operate(op: string, args: Readonly<Record<string, unknown>>, answer: (value: AdminAnswer) => void): void;
}

/** Counters of the gateway, for /metrics. */
export interface GatewayCounters {
  connections: number;
  framesReceived: number;
  framesSent: number;
  requests: number;
  refusedOverloaded: number;
}

/** Client connections: requests in, commands into the log, one frame of answers a turn. */
export class Gateway {
  readonly counters: GatewayCounters = {
    connections: 0,
    framesReceived: 0,
    framesSent: 0,
    requests: 0,
    refusedOverloaded: 0,
  };
  /** Told by the table what becomes of the sessions that are connected here. */
  readonly sessions: Sessions;
  readonly route: CommandRoute;
  readonly #dependencies: GatewayDependencies;
  readonly #reads: Reads;
  readonly #renewals: Renewals;
  readonly #queries: Queries;
  readonly #cluster: ClusterView;
  readonly #events: ConnectionEvents;
  readonly #connections = new Set<Connection>();
  #dirty: Connection[] = [];
  #flushIsDue = false;
  /** Between `onTurnBegin` and `onTurnEnd`, which flushes. */
  #isInTurn = false;
  readonly #flushAtEndOfTurn: () => void;
  #isOverloaded = false;
  #isStopping = false;

  constructor(dependencies: GatewayDependencies) {
    this.#dependencies = dependencies;
    const { self, clock, driver, table, electionTimeoutMs } = dependencies;
    const sendApp = (to: NodeId, payload: AppPayload): boolean => dependencies.sendApp(to, payload);
    this.route = new CommandRoute({
      self,
      clock,
      patienceMs: electionTimeoutMs,
      propose: (bytes, start, ends, awaitedBy) => driver.propose(bytes, start, ends, awaitedBy),
      uncommitted: () => {
        const { lastIndex, commitIndex } = driver.status();
        return lastIndex - commitIndex;
      },
      wake: () => driver.wake(),
      sendApp,
      onMayBeLost: () => this.sessions.tellWhatMayBeLost(),
    });
    this.sessions = new Sessions({
      table,
      route: this.route,
      lowestTtlMs: Math.max(LIMITS.minTtlMs, 4 * electionTimeoutMs),
    });
    this.#reads = new Reads({
      self,
      clock,
      patienceMs: electionTimeoutMs * 2,
      requestRead: () => driver.requestRead(),
      sendApp,
      appliedIndex: () => table.index,
    });
    this.#renewals = new Renewals({
      self,
      clock,
      leases: dependencies.leases,
      requestRead: () => driver.requestRead(),
      sendApp,
      onAcknowledged: (session, stamp) => this.sessions.renewed(session, stamp),
      unacknowledged: () => this.sessions.attached(),
    });
    this.#cluster = new ClusterView(driver.status(), {
      clientAddressOf: (node) => dependencies.clientAddressOf(node),
      tell: (message) => {
        for (const connection of this.#connections) if (connection.state === 'open') connection.send(message);
      },
    });
    this.#queries = new Queries({
      clock,
      table,
      reads: this.#reads,
      members: () => this.#cluster.members(),
      nodeStatus: (members) => dependencies.nodeStatus(members),
      operate: (op, args, answer) => dependencies.operate(op, args, answer),
    });
    this.#events = {
      onFrame: (connection, messages) => this.#onFrame(connection, messages),
      onOutgoing: (connection) => this.#onOutgoing(connection),
      onClosed: (connection) => this.#onClosed(connection),
    };
    this.#flushAtEndOfTurn = () => {
      this.#flushIsDue = false;
      this.flush();
    };
  }

  members(): Member[] {
    return this.#cluster.members();
  }

  // From the listener and the node -----------------------------------------------------------------------------------

  accept(socket: FrameSocket, codec: Codec): void {
    if (this.#isStopping || this.#connections.size >= GATEWAY_LIMITS.maxConnections) {
      socket.close(1013, this.#isStopping ? 'stopping' : 'too many connections');
      return;
    }
    const cancel = this.#dependencies.clock.after(GATEWAY_LIMITS.helloTimeoutMs, () => {
      connection.fail('LOCKD_PROTOCOL', `no hello within ${GATEWAY_LIMITS.helloTimeoutMs} ms`);
    });
    const connection: Connection = new Connection(socket, codec, cancel, this.#events);
    this.#connections.add(connection);
    this.counters.connections = this.#connections.size;
  }

  onStatus(status: RaftStatus): void {
    this.route.onStatus(status);
    this.#reads.onStatus(status);
    this.#renewals.onStatus(status);
    this.#cluster.update(status, this.route.leader);
    if (this.route.leader !== undefined) this.sessions.leaderKnown();
  }

  onReadsConfirmed(round: ReadRound): void {
    this.#renewals.onReadsConfirmed(round);
    this.#reads.onReadsConfirmed(round);
  }

  /** Commands that came in while the turn was waiting to begin are proposed in it, not in one more. */
  onTurnBegin(): void {
    this.#isInTurn = true;
    this.route.flush();
  }

  /** After the entries of a turn are applied: the last call of the turn. */
  onTurnEnd(): void {
    this.route.onTurnEnd();
    this.#renewals.onTurnEnd();
    this.#reads.onApplied(this.#dependencies.table.index);
    const { lastIndex, commitIndex } = this.#dependencies.driver.status();
    this.#isOverloaded =
      // What is left of the device is for what gives locks back.
      this.#dependencies.driver.condition() === 'disk-full' ||
      lastIndex - commitIndex > GATEWAY_LIMITS.maxUncommittedEntries ||
      this.route.waitingBytes > GATEWAY_LIMITS.overloadedBytes;
    this.#isInTurn = false;
    this.flush();
  }

  onPeerUp(): void {
    this.route.onPeerUp();
    this.#reads.onPeerUp();
    this.#renewals.onPeerUp();
    // The leader's client address, or a member's, may be known only now.
    this.#cluster.addressesChanged();
  }

  onPeerDown(peer: NodeId): void {
    this.route.onPeerDown(peer);
    this.#reads.onPeerDown(peer);
  }

  onPayload(from: NodeId, payload: AppPayload): void {
    switch (payload.type) {
      case 'forward':
        this.route.onForward(from, payload);
        break;
      case 'forward-refused':
        this.route.onForwardRefused();
        break;
      case 'renew':
        this.#renewals.onForwarded(from, payload.renewals);
        break;
      case 'renewed':
        for (let i = 0; i < payload.renewals.length; i += 2) {
          this.sessions.renewed(payload.renewals[i] as number, payload.renewals[i + 1] as number);
        }
        break;
      case 'read-index':
        this.#reads.onAsked(from, payload.id);
        break;
      case 'read-answer':
        this.#reads.onAnswered(payload.id, payload.index);
        break;
      case 'admin':
      case 'admin-answer':
        this.#dependencies.onOperation(from, payload);
        break;
    }
  }

  flush(): void {
    const dirty = this.#dirty;
    if (dirty.length === 0) return;
    this.#dirty = [];
    this.counters.framesSent += dirty.length;
    for (const connection of dirty) connection.flush();
  }

  /** No new connections, and no old ones. */
  stop(reason: string): void {
    this.#isStopping = true;
    this.disconnectAll(reason);
  }

  /** Everybody is told to go elsewhere, and disconnected. Their sessions go on: they attach there. */
  disconnectAll(reason: string): void {
    for (const connection of [...this.#connections]) {
      if (connection.state === 'open') connection.send(['goodbye', reason]);
      connection.close(1001, 'going away');
    }
  }

  // Frames -----------------------------------------------------------------------------------------------------------

  #onFrame(connection: Connection, messages: RawMessage[]): void {
    this.counters.framesReceived++;
    this.counters.requests += messages.length;
    for (const raw of messages) {
      const message = parseClientMessage(raw);
      if (message === undefined) throw new ProtocolError(`unknown message ${JSON.stringify(raw[0].slice(0, 40))}`);
      if (connection.state !== 'open') {
        if (message[0] !== 'hello') throw new ProtocolError('the first message of a connection is hello');
        this.#onHello(connection, message[1]);
      } else {
        this.#onMessage(connection, message);
      }
      // A message may have ended the connection.
      if (isClosed(connection)) return;
    }
  }

  #onMessage(connection: Connection, message: ClientMessage): void {
    switch (message[0]) {
      case 'renew':
        this.#onRenew(connection, message[1], message[2]);
        break;
      case 'open':
        this.sessions.open(connection, message);
        break;
      case 'attach':
        this.sessions.attach(connection, message[1], message[2], message[3], message[4]);
        break;
      case 'ask':
        this.#onAsk(connection, message[1], message[2]);
        break;
      case 'inspect':
      case 'list':
        this.#queries.read(connection, message);
        break;
      case 'status':
        this.#queries.status(connection, message[1]);
        break;
      case 'admin':
        this.#queries.admin(connection, message[1], message[2], message[3]);
        break;
      case 'goodbye':
        connection.saidGoodbye = true;
        connection.close(1000, 'goodbye');
        break;
      case 'hello':
        throw new ProtocolError('a second hello');
      default:
        this.#onOperation(connection, message);
    }
  }

  #onHello(connection: Connection, hello: Hello): void {
    const { clientToken, self, driver, table } = this.#dependencies;
    if (hello.version !== PROTOCOL_VERSION) {
      throw new ProtocolError(`this node speaks protocol version ${PROTOCOL_VERSION}, the client ${hello.version}`);
    }
    if (clientToken !== undefined && !isSameSecret(hello.credentials ?? '', clientToken)) {
      connection.fail('LOCKD_UNAUTHORIZED', 'this cluster asks for credentials, and these are not right');
      return;
    }
    const clusterId = driver.clusterId();
    const wanted = hello.clusterId ?? '';
    if (wanted !== '' && clusterId !== undefined && wanted !== clusterId) {
      throw new ProtocolError(`this is cluster ${clusterId}, not ${wanted}: check the endpoints`);
    }
    connection.open();
    const leader = this.#cluster.leader();
    const isLeader = leader?.name === self;
    const isAttaching = hello.onlyLeader !== true || isLeader || leader === null;
    const welcome: Welcome = {
      version: PROTOCOL_VERSION,
      clusterId: clusterId ?? '',
      node: self,
      leader,
      isLeader: isLeader && this.#cluster.isReady,
      members: this.#cluster.members(),
      index: table.index,
      attaching: isAttaching,
      limits: { maxFrameBytes: LIMITS.maxFrameBytes, maxNameBytes: LIMITS.maxNameBytes, window: LIMITS.window },
    };
    connection.send(['welcome', welcome]);
    if (!isAttaching) return;
    for (const [session, nonce, epoch] of hello.sessions ?? [])
      this.sessions.attach(connection, 0, session, nonce, epoch);
  }

  #onOperation(connection: Connection, message: OperationMessage): void {
    const session = connection.sessions.get(message[1]);
    const seq = message[2];
    if (session === undefined) {
      const text = `session ${message[1]} is not attached to this connection`;
      connection.sendError(message[1], seq, 'LOCKD_SESSION_EXPIRED', text, 'not-applied', false);
      return;
    }
    // The client will send it again, behind what may be lost.
    if (session.isStale) return;
    // A session that comes from another node begins in the middle of its numbers. Measured from 0, what it sends again
    // would be refused as not applied, although it may have been: a release would end as LOCKD_NOT_HELD.
    if (session.sentSeq === 0) session.answeredSeq = seq - 1;
    const problem = this.#overload(session, message);
    // What was sent before may have taken effect: it is let in, for its answer.
    if (problem !== undefined && seq > session.sentSeq && session.mayRefuse(seq)) {
      this.counters.refusedOverloaded++;
      connection.sendError(message[1], seq, 'LOCKD_OVERLOADED', problem, 'not-applied', true);
      return;
    }
    const command = toCommand(message, session.epoch);
    if (isProblem(command)) {
      connection.sendError(message[1], seq, command.code, command.message, 'not-applied', false);
      return;
    }
    session.noteSent(seq);
    this.route.add(encodeCommand(command), session, seq);
  }

  /** Why this operation should come later. Only what asks for more is put off because of others' load. */
  #overload(session: LocalSession, message: OperationMessage): string | undefined {
    if (this.#isOverloaded && (message[0] === 'acquire' || message[0] === 'acquire-all')) {
      return 'this node has too much on its way, or too little space on its disk';
    }
    const isBeyond = message[2] - session.answeredSeq > GATEWAY_LIMITS.maxUnansweredPerSession;
    return isBeyond && session.sentSeq - session.answeredSeq > LIMITS.window
      ? 'too many operations without an answer'
      : undefined;
  }

  #onRenew(connection: Connection, id: number, stamp: number): void {
    const session = connection.sessions.get(id);
    if (session === undefined || session.isStale) return;
    session.renewStamp = stamp;
    this.#renewals.add(session);
  }

  #onAsk(connection: Connection, session: number, handles: readonly number[]): void {
    if (connection.sessions.get(session)?.isAttached !== true) return;
    const { table } = this.#dependencies;
    connection.send(['requests', session, handles.map((handle) => table.askRequest(session, handle))]);
  }

  #onClosed(connection: Connection): void {
    this.#connections.delete(connection);
    this.counters.connections = this.#connections.size;
    this.sessions.connectionClosed(connection);
  }

  #onOutgoing(connection: Connection): void {
    this.#dirty.push(connection);
    if (this.#flushIsDue || this.#isInTurn) return;
    this.#flushIsDue = true;
    this.#dependencies.clock.endOfTurn(this.#flushAtEndOfTurn);
  }
}

type OperationMessage = Exclude<
  ClientMessage,
  readonly [
    'hello' | 'open' | 'attach' | 'renew' | 'goodbye' | 'ask' | 'inspect' | 'list' | 'status' | 'admin',
    ...unknown[],
  ]
>;

/** Keeps the compiler from believing that a state it has just read cannot have changed. */
function isClosed(connection: Connection): boolean {
  return connection.state === 'closed';
}
