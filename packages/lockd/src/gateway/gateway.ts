import {
  type AdminAnswer,
  type ClientMessage,
  type Codec,
  type EndReason,
  type ErrorCode,
  type ErrorDetail,
  escapeLoneSurrogates,
  type GrantDetail,
  type Hello,
  LIMITS,
  type Member,
  type NameInfo,
  type NodeStatus,
  PROTOCOL_VERSION,
  ProtocolError,
  parseClientMessage,
  type RawMessage,
  type Welcome,
} from '@lockd/client/protocol';
import type { NodeId, ProposeResult, RaftStatus, ReadRound, Refusal } from '@lockd/raft';
import type { NodeCondition } from '@lockd/raft/node';
import type { WebSocket } from 'ws';
import type { Clock } from '../clock.ts';
import type { LeaseManager } from '../leases/lease-manager.ts';
import { encodeCommand, OP } from '../lock-table/command.ts';
import type { LockTable } from '../lock-table/lock-table.ts';
import { isProblem, toCommand } from '../lock-table/request.ts';
import type { Logger } from '../log.ts';
import type { AppPayload } from '../peers/app-payload.ts';
import { CommandRoute } from './command-route.ts';
import { Connection, type ConnectionEvents } from './connection.ts';
import { isSameSecret } from './credentials.ts';
import { GATEWAY_LIMITS } from './limits.ts';
import { ATTACH_TAG, LocalSession, type LocalSessionOwner, NO_LEADER, PendingOpen } from './local-session.ts';
import { Reads } from './reads.ts';
import { Renewals } from './renewals.ts';

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
    propose(bytes: Uint8Array, start: number, ends: Uint32Array): ProposeResult;
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
  reattachesPushed: number;
}

/**
 * Client connections: requests in, commands into the log, answers out of the table. The node that has a session's
 * connection answers from its own apply (docs/decisions/0003): the calls of TableSink below come on every node, and a node
 * that has no connection for the session does nothing.
 */
export class Gateway {
  readonly counters: GatewayCounters = {
    connections: 0,
    framesReceived: 0,
    framesSent: 0,
    requests: 0,
    refusedOverloaded: 0,
    reattachesPushed: 0,
  };
  readonly #dependencies: GatewayDependencies;
  readonly #route: CommandRoute;
  readonly #reads: Reads;
  readonly #renewals: Renewals;
  readonly #events: ConnectionEvents;
  readonly #connections = new Set<Connection>();
  /** Attached here: who is told what becomes of a session. */
  readonly #attached = new Map<number, LocalSession>();
  /** Attaches on their way, in order, by session. */
  readonly #attaching = new Map<number, LocalSession[]>();
  readonly #opening = new Map<string, PendingOpen>();
  /** Sessions whose connection has closed, and the epoch it spoke for, until the log knows. */
  readonly #detaching = new Map<number, number>();
  /** Lists that may be answered: their read is confirmed. */
  readonly #lists: {
    readonly connection: Connection;
    readonly message: Extract<ClientMessage, readonly ['list', ...unknown[]]>;
  }[] = [];
  #dirty: Connection[] = [];
  #flushIsDue = false;
  /** Between `onTurnBegin` and `onTurnEnd`, which flushes. */
  #isInTurn = false;
  readonly #flushAtEndOfTurn: () => void;
  readonly #sessionOwner: LocalSessionOwner;
  #status: RaftStatus;
  #isOverloaded = false;
  #leaderShown = '';
  #membersShown = '';
  #isStopping = false;

  constructor(dependencies: GatewayDependencies) {
    this.#dependencies = dependencies;
    const { self, clock, driver, electionTimeoutMs } = dependencies;
    this.#status = driver.status();
    const sendApp = (to: NodeId, payload: AppPayload): boolean => dependencies.sendApp(to, payload);
    this.#route = new CommandRoute({
      self,
      clock,
      patienceMs: electionTimeoutMs,
      propose: (bytes, start, ends) => driver.propose(bytes, start, ends),
      wake: () => driver.wake(),
      sendApp,
      onMayBeLost: () => this.#tellWhatMayBeLost(),
    });
    this.#reads = new Reads({
      self,
      clock,
      patienceMs: electionTimeoutMs * 2,
      requestRead: () => driver.requestRead(),
      sendApp,
      appliedIndex: () => dependencies.table.index,
    });
    this.#renewals = new Renewals({
      self,
      clock,
      leases: dependencies.leases,
      requestRead: () => driver.requestRead(),
      sendApp,
      onAcknowledged: (session, stamp) => this.#onRenewed(session, stamp),
      unacknowledged: () => this.#attached.values(),
    });
    this.#sessionOwner = {
      onAttachGivenUp: (local) => this.#forgetAttaching(local),
      hasAnswer: (session, seq) => dependencies.table.hasAnswer(session, seq),
      reattach: (local) => this.#pushReattach(local),
    };
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

  get route(): CommandRoute {
    return this.#route;
  }

  // From the listener and the node -----------------------------------------------------------------------------------

  accept(socket: WebSocket, codec: Codec): void {
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
    this.#status = status;
    this.#route.onStatus(status);
    this.#reads.onStatus(status);
    this.#renewals.onStatus(status);
    this.#showLeader();
    if (this.#route.leader === undefined) return;
    for (const [session, epoch] of this.#detaching) {
      // Attached anew, or ended, while nobody led.
      if ((this.#dependencies.table.epochOf(session) ?? Number.POSITIVE_INFINITY) > epoch)
        this.#detaching.delete(session);
      else this.#proposeDetach(session, epoch);
    }
  }

  onReadsConfirmed(round: ReadRound): void {
    this.#renewals.onReadsConfirmed(round);
    this.#reads.onReadsConfirmed(round);
  }

  /** Commands that came in while the turn was waiting to begin are proposed in it, not in one more. */
  onTurnBegin(): void {
    this.#isInTurn = true;
    this.#route.flush();
  }

  /** After the entries of a turn are applied: the last call of the turn. */
  onTurnEnd(): void {
    this.#route.onTurnEnd();
    this.#renewals.onTurnEnd();
    this.#reads.onApplied(this.#dependencies.table.index);
    const { lastIndex, commitIndex } = this.#dependencies.driver.status();
    this.#isOverloaded =
      // What is left of the device is for what gives locks back.
      this.#dependencies.driver.condition() === 'disk-full' ||
      lastIndex - commitIndex > GATEWAY_LIMITS.maxUncommittedEntries ||
      this.#route.waitingBytes > GATEWAY_LIMITS.overloadedBytes;
    this.#isInTurn = false;
    this.flush();
  }

  onPeerUp(): void {
    this.#route.onPeerUp();
    this.#reads.onPeerUp();
    this.#renewals.onPeerUp();
    // It may be the leader's, or a member's, client address that is known only now.
    this.#leaderShown = '';
    this.#showLeader();
  }

  onPeerDown(peer: NodeId): void {
    this.#route.onPeerDown(peer);
    this.#reads.onPeerDown(peer);
  }

  onPayload(from: NodeId, payload: AppPayload): void {
    switch (payload.type) {
      case 'forward':
        this.#route.onForward(from, payload);
        break;
      case 'forward-refused':
        this.#route.onForwardRefused();
        break;
      case 'renew':
        this.#renewals.onForwarded(from, payload.renewals);
        break;
      case 'renewed':
        for (let i = 0; i < payload.renewals.length; i += 2) {
          this.#onRenewed(payload.renewals[i] as number, payload.renewals[i + 1] as number);
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

  /** The table's state has jumped to that of a snapshot: what happened in between was told to nobody here. */
  stateReplaced(): void {
    const { table } = this.#dependencies;
    for (const local of [...this.#attached.values()]) {
      const epoch = table.epochOf(local.session);
      if (epoch === undefined) this.sessionEnded(local.session, 'ended while this node was behind');
      else if (epoch > local.epoch) this.#letGo(local);
      else this.#pushReattach(local);
    }
    this.#tellWhatMayBeLost();
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
        this.#onOpen(connection, message);
        break;
      case 'attach':
        this.#onAttach(connection, message[1], message[2], message[3], message[4]);
        break;
      case 'ask':
        this.#onAsk(connection, message[1], message[2]);
        break;
      case 'inspect':
      case 'list':
        this.#onRead(connection, message);
        break;
      case 'status':
        connection.send(['result', message[1], this.#dependencies.nodeStatus(this.members())]);
        break;
      case 'admin':
        this.#onAdmin(connection, message[1], message[2], message[3]);
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
    const leader = this.#leader();
    const isLeader = leader?.name === self;
    const isAttaching = hello.onlyLeader !== true || isLeader || leader === null;
    const welcome: Welcome = {
      version: PROTOCOL_VERSION,
      clusterId: clusterId ?? '',
      node: self,
      leader,
      isLeader: isLeader && this.#status.isReady,
      members: this.members(),
      index: table.index,
      attaching: isAttaching,
      limits: { maxFrameBytes: LIMITS.maxFrameBytes, maxNameBytes: LIMITS.maxNameBytes, window: LIMITS.window },
    };
    connection.send(['welcome', welcome]);
    if (!isAttaching) return;
    for (const [session, nonce, epoch] of hello.sessions ?? []) this.#onAttach(connection, 0, session, nonce, epoch);
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
    if (seq > session.sentSeq) session.sentSeq = seq;
    this.#route.add(encodeCommand(command), session, seq);
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

  #onOpen(connection: Connection, message: Extract<ClientMessage, readonly ['open', ...unknown[]]>): void {
    const [, id, nonce, ttlMs] = message;
    if (connection.sessions.size + connection.requestCount >= LIMITS.maxSessionsPerConnection) {
      const text = `at most ${LIMITS.maxSessionsPerConnection} sessions on a connection`;
      connection.sendError(0, id, 'LOCKD_LIMIT', text, 'not-applied', false);
      return;
    }
    const lowestMs = Math.max(LIMITS.minTtlMs, 4 * this.#dependencies.electionTimeoutMs);
    const bounded = Math.min(Math.max(ttlMs, lowestMs), LIMITS.maxTtlMs);
    const command = toCommand(['open', id, nonce, bounded, message[4], message[5]], 1);
    if (isProblem(command)) {
      connection.sendError(0, id, command.code, command.message, 'not-applied', false);
      return;
    }
    // The same secret from another connection: that one has taken over.
    this.#forgetOpening(nonce);
    const pending = new PendingOpen(id, nonce, connection, (open) => this.#forgetOpening(open.nonce));
    this.#opening.set(nonce, pending);
    connection.requestCount++;
    this.#route.add(encodeCommand(command), pending, 0);
  }

  #forgetOpening(nonce: string): PendingOpen | undefined {
    const pending = this.#opening.get(nonce);
    if (pending !== undefined) {
      this.#opening.delete(nonce);
      pending.connection.requestCount--;
    }
    return pending;
  }

  #onAttach(connection: Connection, id: number, session: number, nonce: string, epoch: number): void {
    if (connection.sessions.size >= LIMITS.maxSessionsPerConnection && !connection.sessions.has(session)) {
      const text = `at most ${LIMITS.maxSessionsPerConnection} sessions on a connection`;
      connection.sendError(id === 0 ? session : 0, id, 'LOCKD_LIMIT', text, 'not-applied', false);
      return;
    }
    const command = toCommand(['attach', id, session, nonce, epoch], epoch);
    if (isProblem(command)) {
      connection.sendError(id === 0 ? session : 0, id, command.code, command.message, 'not-applied', false);
      return;
    }
    if (connection.attachCount >= GATEWAY_LIMITS.maxRequestsPerConnection) {
      const text = 'too many attaches without an answer';
      connection.sendError(id === 0 ? session : 0, id, 'LOCKD_LIMIT', text, 'not-applied', false);
      return;
    }
    connection.attachCount++;
    const local = new LocalSession(session, epoch, connection, id, this.#sessionOwner);
    connection.sessions.set(session, local);
    const others = this.#attaching.get(session);
    if (others === undefined) this.#attaching.set(session, [local]);
    else others.push(local);
    this.#route.add(encodeCommand(command), local, ATTACH_TAG);
  }

  /** The attach will not be answered by the table any more. */
  #forgetAttaching(local: LocalSession): void {
    const { session, connection } = local;
    const before = this.#attaching.get(session);
    const others = before?.filter((other) => other !== local) ?? [];
    if (before !== undefined && others.length < before.length) connection.attachCount--;
    if (others.length === 0) this.#attaching.delete(session);
    else this.#attaching.set(session, others);
    if (connection.sessions.get(session) !== local || local.isAttached) return;
    // An attach that comes to nothing takes nothing from the attachment that this connection has.
    const attached = this.#attached.get(session);
    if (attached?.connection === connection) connection.sessions.set(session, attached);
    else connection.sessions.delete(session);
  }

  #onAsk(connection: Connection, session: number, handles: readonly number[]): void {
    if (connection.sessions.get(session)?.isAttached !== true) return;
    const { table } = this.#dependencies;
    connection.send(['requests', session, handles.map((handle) => table.askRequest(session, handle))]);
  }

  #onRead(connection: Connection, message: Extract<ClientMessage, readonly ['inspect' | 'list', ...unknown[]]>): void {
    const id = message[1];
    if (connection.requestCount >= GATEWAY_LIMITS.maxRequestsPerConnection) {
      connection.sendError(0, id, 'LOCKD_OVERLOADED', 'too many requests without an answer', 'not-applied', true);
      return;
    }
    const { table } = this.#dependencies;
    connection.requestCount++;
    this.#reads.add({
      answer: () => {
        if (message[0] === 'list') {
          this.#listLater(connection, message);
          return;
        }
        connection.requestCount--;
        const value = table.inspect(escapeLoneSurrogates(message[2])) ?? nothingOn(message[2], table.index);
        connection.send(['result', id, value]);
      },
      fail: (reason) => {
        connection.requestCount--;
        if (reason === 'no-leader') connection.sendError(0, id, 'LOCKD_NO_QUORUM', NO_LEADER, 'not-applied', true);
        else connection.sendError(0, id, 'LOCKD_OVERLOADED', 'too many reads wait', 'not-applied', true);
      },
    });
  }

  #onAdmin(connection: Connection, id: number, op: string, args: Readonly<Record<string, unknown>>): void {
    if (connection.requestCount >= GATEWAY_LIMITS.maxRequestsPerConnection) {
      connection.sendError(0, id, 'LOCKD_OVERLOADED', 'too many requests without an answer', 'not-applied', true);
      return;
    }
    connection.requestCount++;
    this.#dependencies.operate(op, args, (value) => {
      connection.requestCount--;
      connection.send(['result', id, value]);
    });
  }

  /** A list looks at every name: one a turn, so that whoever asks for many holds up nobody's heartbeats. */
  #listLater(connection: Connection, message: Extract<ClientMessage, readonly ['list', ...unknown[]]>): void {
    this.#lists.push({ connection, message });
    if (this.#lists.length === 1) this.#dependencies.clock.endOfTurn(this.#listOne);
  }

  readonly #listOne = (): void => {
    const next = this.#lists.shift();
    if (next === undefined) return;
    if (this.#lists.length > 0) this.#dependencies.clock.endOfTurn(this.#listOne);
    const { connection, message } = next;
    connection.requestCount--;
    if (isClosed(connection)) return;
    const [, id, prefix, limit, after] = message;
    const rows = this.#dependencies.table.list(
      escapeLoneSurrogates(prefix),
      Math.min(limit, LIMITS.maxRowsPerList),
      after === null ? undefined : escapeLoneSurrogates(after),
    );
    connection.send(['result', id, rows]);
  };

  #onClosed(connection: Connection): void {
    this.#connections.delete(connection);
    this.counters.connections = this.#connections.size;
    for (const local of connection.sessions.values()) {
      const attached = this.#attached.get(local.session);
      if (attached?.connection === connection) {
        this.#attached.delete(local.session);
        // The attach that is on its way may come to nothing.
        if (attached !== local) this.#detach(attached.session, attached.epoch);
      }
      if (!local.isAttached) this.#forgetAttaching(local);
      this.#detach(local.session, local.epoch);
    }
    for (const pending of this.#opening.values())
      if (pending.connection === connection) this.#forgetOpening(pending.nonce);
  }

  /** The log is to know that nobody listens for this session any more. */
  #detach(session: number, epoch: number): void {
    this.#detaching.set(session, epoch);
    this.#proposeDetach(session, epoch);
  }

  #proposeDetach(session: number, epoch: number): void {
    if (this.#detaching.size > GATEWAY_LIMITS.maxConnections * 4) this.#detaching.clear();
    this.#route.add(encodeCommand([OP.detach, session, epoch]), undefined, 0);
  }

  // From the table, in log order (see TableSink) -----------------------------------------------------------------------

  sessionOpened(session: number, nonce: string, ttlMs: number): void {
    const pending = this.#forgetOpening(nonce);
    if (pending === undefined) return;
    const local = new LocalSession(session, 1, pending.connection, pending.id, this.#sessionOwner);
    local.isAttached = true;
    // An earlier connection of it may have closed here, and may still wait to be told of.
    this.#detaching.delete(session);
    pending.connection.sessions.set(session, local);
    this.#attached.set(session, local);
    pending.connection.send(['opened', pending.id, session, ttlMs]);
  }

  openRefused(nonce: string, code: ErrorCode, message: string): void {
    const pending = this.#forgetOpening(nonce);
    pending?.connection.sendError(0, pending.id, code, message, 'not-applied', false);
  }

  sessionAttached(session: number, epoch: number, ttlMs: number): void {
    const detachedEpoch = this.#detaching.get(session);
    if (detachedEpoch !== undefined && detachedEpoch < epoch) this.#detaching.delete(session);
    const local = this.#attaching.get(session)?.find((candidate) => candidate.epoch === epoch);
    const former = this.#attached.get(session);
    if (former !== undefined && former !== local) this.#letGo(former);
    if (local === undefined) return;
    local.isAttached = true;
    this.#forgetAttaching(local);
    this.#attached.set(session, local);
    local.connection.sessions.set(session, local);
    local.connection.send(['attached', local.attachId, session, epoch, ttlMs]);
  }

  attachRefused(session: number, epoch: number, code: ErrorCode, message: string): void {
    if (this.#detaching.get(session) === epoch) this.#detaching.delete(session);
    const local = this.#attaching.get(session)?.find((candidate) => candidate.epoch === epoch);
    if (local === undefined) return;
    this.#forgetAttaching(local);
    const { attachId, connection } = local;
    connection.sendError(attachId === 0 ? session : 0, attachId, code, message, 'not-applied', false);
  }

  sessionDetached(session: number): void {
    this.#detaching.delete(session);
    // Its client is here: it opened the session again, and a connection that it had left before that was meant.
    const local = this.#attached.get(session);
    if (local !== undefined) this.#pushReattach(local);
  }

  sessionEnded(session: number, reason: string): void {
    this.#detaching.delete(session);
    const local = this.#attached.get(session);
    if (local === undefined) return;
    this.#letGo(local);
    local.connection.send(['session-ended', session, reason]);
  }

  /** The session is over, or speaks through another connection, here or elsewhere. */
  #letGo(local: LocalSession): void {
    this.#attached.delete(local.session);
    if (local.connection.sessions.get(local.session) === local) local.connection.sessions.delete(local.session);
  }

  answered(session: number, seq: number, value: unknown): void {
    const local = this.#attached.get(session);
    if (local === undefined) return;
    if (seq > local.answeredSeq) local.answeredSeq = seq;
    local.connection.send(['ok', session, seq, value]);
  }

  refused(session: number, seq: number, code: ErrorCode, message: string, detail: ErrorDetail | null): void {
    const local = this.#attached.get(session);
    if (local === undefined) return;
    if (seq > local.answeredSeq) local.answeredSeq = seq;
    local.connection.send(['error', session, seq, code, message, 'not-applied', false, detail]);
  }

  granted(session: number, handle: number, token: number, detail: GrantDetail | null): void {
    const local = this.#attached.get(session);
    if (local === undefined) return;
    if (handle > local.answeredSeq) local.answeredSeq = handle;
    local.connection.send(['granted', session, handle, token, detail]);
  }

  waiting(session: number, handle: number, position: number): void {
    const local = this.#attached.get(session);
    if (local === undefined) return;
    if (handle > local.answeredSeq) local.answeredSeq = handle;
    local.connection.send(['waiting', session, handle, position]);
  }

  ended(session: number, handle: number, reason: EndReason): void {
    const local = this.#attached.get(session);
    if (local === undefined) return;
    if (handle > local.answeredSeq) local.answeredSeq = handle;
    local.connection.send(['ended', session, handle, reason]);
  }

  #onRenewed(session: number, stamp: number): void {
    const local = this.#attached.get(session);
    if (local === undefined) return;
    if (local.renewStamp === stamp) local.renewStamp = undefined;
    local.connection.send(['renewed', session, stamp]);
  }

  // What clients are told of the cluster -------------------------------------------------------------------------------

  members(): Member[] {
    const { voters, outgoing, learners } = this.#status.configuration;
    const client = (name: NodeId): string | null => this.#dependencies.clientAddressOf(name) ?? null;
    const voting = [...new Set([...voters, ...outgoing])].sort();
    return [
      ...voting.map((name): Member => ({ name, client: client(name), role: 'voter' })),
      ...learners.map((name): Member => ({ name, client: client(name), role: 'learner' })),
    ];
  }

  #leader(): { readonly name: string; readonly client: string | null } | null {
    const name = this.#route.leader;
    return name === undefined ? null : { name, client: this.#dependencies.clientAddressOf(name) ?? null };
  }

  #showLeader(): void {
    const leader = this.#leader();
    const members = this.members();
    const leaderText = JSON.stringify(leader);
    const membersText = JSON.stringify(members);
    if (leaderText !== this.#leaderShown) {
      this.#leaderShown = leaderText;
      for (const connection of this.#connections) if (connection.state === 'open') connection.send(['leader', leader]);
    }
    if (membersText !== this.#membersShown) {
      this.#membersShown = membersText;
      for (const connection of this.#connections)
        if (connection.state === 'open') connection.send(['members', members]);
    }
  }

  /** What was proposed or forwarded may never be applied: sessions that wait for an answer attach again, and ask. */
  #tellWhatMayBeLost(): void {
    for (const local of this.#attached.values()) if (local.hasUnanswered) this.#pushReattach(local);
    for (const others of [...this.#attaching.values()]) {
      for (const local of others) {
        this.#forgetAttaching(local);
        this.#pushReattach(local);
      }
    }
    for (const pending of [...this.#opening.values()]) {
      this.#forgetOpening(pending.nonce);
      pending.isStale = true;
      const text = 'the leader changed meanwhile: open again with the same nonce';
      pending.connection.sendError(0, pending.id, 'LOCKD_NO_QUORUM', text, 'unknown', true);
    }
  }

  #pushReattach(local: LocalSession): void {
    if (local.isStale) return;
    local.isStale = true;
    this.counters.reattachesPushed++;
    local.connection.send(['reattach', local.session]);
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

function nothingOn(name: string, index: number): NameInfo {
  return { name, kind: 'lock', limit: null, holders: [], waiters: [], index };
}

/** Keeps the compiler from believing that a state it has just read cannot have changed. */
function isClosed(connection: Connection): boolean {
  return connection.state === 'closed';
}
