import type { Connection, ConnectionHandler, Transport } from '@lockd/client';
import {
  type AcquireOptions,
  type ClientMessage,
  type Codec,
  type ErrorCode,
  type GrantDetail,
  type Hello,
  msgpackCodec,
  parseClientMessage,
  type RequestState,
  type ServerMessage,
} from '@lockd/client/protocol';
import type { World } from './world.ts';

interface FakeRequest {
  readonly session: FakeSession;
  readonly handle: number;
  readonly names: readonly string[];
  readonly leaseMs: number | null;
  readonly options: AcquireOptions | null;
  token: number;
  state: 'waiting' | 'granted';
}

export class FakeSession {
  readonly id: number;
  readonly nonce: string;
  readonly ttlMs: number;
  epoch = 1;
  connection: FakeConnection | undefined;
  /** What took effect: each seq once. */
  readonly applied = new Map<number, ClientMessage>();
  readonly answers = new Map<number, ServerMessage>();
  highestSeq = 0;

  constructor(id: number, nonce: string, ttlMs: number) {
    this.id = id;
    this.nonce = nonce;
    this.ttlMs = ttlMs;
  }
}

export class FakeConnection implements Connection {
  readonly endpoint: string;
  readonly handler: ConnectionHandler;
  readonly #cluster: FakeCluster;
  isOpen = true;
  saidGoodbye = false;
  hello: Hello | undefined;

  constructor(cluster: FakeCluster, endpoint: string, handler: ConnectionHandler) {
    this.#cluster = cluster;
    this.endpoint = endpoint;
    this.handler = handler;
  }

  // The client's side.

  send(frame: Uint8Array | string): void {
    if (!this.isOpen) return;
    const messages = this.#cluster.codec.decode(frame).map((raw) => parseClientMessage(raw) as ClientMessage);
    this.#cluster.frames.push({ endpoint: this.endpoint, messages });
    for (const message of messages) {
      if (message[0] === 'attach') this.#cluster.attachesAsked.push([message[2], message[4]]);
      if (message[0] === 'hello')
        for (const [session, , epoch] of message[1].sessions ?? []) this.#cluster.attachesAsked.push([session, epoch]);
    }
    this.#cluster.deliver(this.endpoint, () => this.#cluster.receive(this, messages));
  }

  close(): void {
    if (!this.isOpen) return;
    this.#cluster.deliver(this.endpoint, () => this.break('closed by the client'));
  }

  // The node's side.

  push(...messages: ServerMessage[]): void {
    if (!this.isOpen || messages.length === 0) return;
    const frame = this.#cluster.codec.encode(messages);
    this.#cluster.deliver(this.endpoint, () => {
      if (this.isOpen) this.handler.onFrame(frame);
    });
  }

  break(reason = 'reset'): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#cluster.disconnected(this);
    this.handler.onClose(reason);
  }
}

/**
 * Enough of a cluster to test a client against: sessions, epochs, at most once, FIFO names, in one place. Nodes are only
 * addresses. `intercept` and the switches make it misbehave.
 */
export class FakeCluster {
  readonly world: World;
  codec: Codec = msgpackCodec;
  readonly nodes: Map<string, { readonly name: string; isUp: boolean }> = new Map();
  leader: string | undefined;
  /** Tells clients that the leader's address is not known. */
  hidesLeader = false;
  readonly frames: { readonly endpoint: string; readonly messages: readonly ClientMessage[] }[] = [];
  readonly connections = new Set<FakeConnection>();
  readonly sessions = new Map<number, FakeSession>();
  readonly dials: string[] = [];
  /** What clients have asked for in hellos and by itself, in the order sent. */
  readonly attachesAsked: [session: number, epoch: number][] = [];
  /** Applies, but answers get lost. */
  isMute = false;
  /** Stopped like a process by SIGSTOP: what is sent to them waits, they say nothing, and dials never open. */
  readonly #stopped = new Map<string, (() => void)[]>();
  /** Nodes that believe something else than the rest about who leads. */
  readonly beliefs = new Map<string, string | undefined>();
  readonly #unserved: { readonly connection: FakeConnection; readonly message: ClientMessage }[] = [];
  /** Neither applies nor answers. */
  isDeaf = false;
  acknowledgesRenewals = true;
  /** Takes nothing but hellos while nobody leads, or the leader is stopped, or on a node with beliefs of its own. */
  requiresLeader = false;
  /** Returns true where it has dealt with the message. */
  intercept: ((connection: FakeConnection, message: ClientMessage) => boolean) | undefined;
  readonly grants: {
    readonly name: string;
    readonly token: number;
    readonly session: number;
    readonly handle: number;
  }[] = [];
  readonly completed = new Set<string>();
  index = 100;
  readonly #requests: FakeRequest[] = [];
  readonly #ended = new Set<string>();
  readonly #endedIds = new Set<number>();

  constructor(world: World, names: readonly string[] = ['n1', 'n2', 'n3']) {
    this.world = world;
    for (const name of names) this.nodes.set(`fake://${name}`, { name, isUp: true });
    this.leader = this.endpoints[0];
  }

  get endpoints(): string[] {
    return [...this.nodes.keys()];
  }

  get transport(): Transport {
    return {
      open: (endpoint, handler) => {
        this.dials.push(endpoint);
        const connection = new FakeConnection(this, endpoint, handler);
        this.deliver(endpoint, () => {
          if (!connection.isOpen) return;
          if (this.nodes.get(endpoint)?.isUp !== true) {
            connection.isOpen = false;
            handler.onClose('ECONNREFUSED');
            return;
          }
          this.connections.add(connection);
          handler.onOpen(this.codec.subprotocol);
        });
        return connection;
      },
    };
  }

  /** Everything of a kind that clients have sent. */
  sent<Name extends ClientMessage[0]>(name: Name): Extract<ClientMessage, readonly [Name, ...unknown[]]>[] {
    return this.frames.flatMap((frame) => frame.messages.filter((message) => message[0] === name)) as never;
  }

  get session(): FakeSession {
    return [...this.sessions.values()].at(-1) as FakeSession;
  }

  /** Answers an operation with an error, as a node does that cannot hand it on: the number has been seen, nothing was done. */
  refuse(connection: FakeConnection, message: ClientMessage, code: ErrorCode, isRetryable: boolean): void {
    const session = message[1] as number;
    const seq = message[2] as number;
    const known = this.sessions.get(session) as FakeSession;
    known.highestSeq = Math.max(known.highestSeq, seq);
    connection.push(['error', session, seq, code, 'refused by the test', 'not-applied', isRetryable, null]);
  }

  holder(name: string): { readonly session: number; readonly handle: number; readonly token: number } | undefined {
    const request = this.#requests.find((candidate) => candidate.state === 'granted' && candidate.names.includes(name));
    return request && { session: request.session.id, handle: request.handle, token: request.token };
  }

  waiters(name: string): number {
    return this.#requests.filter((request) => request.state === 'waiting' && request.names.includes(name)).length;
  }

  breakConnections(): void {
    for (const connection of this.connections) connection.break();
  }

  kill(endpoint: string): void {
    (this.nodes.get(endpoint) as { isUp: boolean }).isUp = false;
    for (const connection of this.connections) if (connection.endpoint === endpoint) connection.break();
    if (this.leader === endpoint) this.leader = undefined;
  }

  revive(endpoint: string): void {
    (this.nodes.get(endpoint) as { isUp: boolean }).isUp = true;
  }

  elect(endpoint: string | undefined): void {
    this.leader = endpoint;
    for (const connection of this.connections) connection.push(['leader', this.#leader(connection.endpoint)]);
    // What was on its way to the old one is lost, and nothing more is taken before the session is attached anew.
    const lost = new Map<number, FakeConnection>();
    for (const { connection, message } of this.#unserved.splice(0)) {
      if (message[0] === 'attach') lost.set(message[2], connection);
      else if (message[0] !== 'open' && typeof message[1] === 'number') lost.set(message[1], connection);
    }
    for (const [id, connection] of lost) {
      const session = this.sessions.get(id);
      if (session?.connection === connection) session.connection = undefined;
      connection.push(['reattach', id]);
    }
  }

  /** SIGSTOP. A cluster whose leader is stopped takes no operations. */
  stop(endpoint: string): void {
    if (!this.#stopped.has(endpoint)) this.#stopped.set(endpoint, []);
  }

  /** SIGCONT: what was sent meanwhile arrives. */
  resume(endpoint: string): void {
    const waiting = this.#stopped.get(endpoint) ?? [];
    this.#stopped.delete(endpoint);
    if (endpoint === this.leader)
      for (const { connection, message } of this.#unserved.splice(0)) this.receive(connection, [message]);
    // At once: what is on the wire now was sent later.
    for (const deliver of waiting) deliver();
  }

  /** Over the wire, from or to a node that may be stopped by the time. */
  deliver(endpoint: string, action: () => void): void {
    this.world.post(() => {
      const waiting = this.#stopped.get(endpoint);
      if (waiting === undefined) action();
      else waiting.push(action);
    });
  }

  /** Somebody else's lock, taken and given back by the test. */
  occupy(name: string): () => void {
    const other = new FakeSession(++this.index, 'other', 1000);
    const request: FakeRequest = {
      session: other,
      handle: 1,
      names: [name],
      leaseMs: null,
      options: null,
      token: 0,
      state: 'waiting',
    };
    this.#requests.push(request);
    this.#grantWaiters();
    return () => this.#remove(request);
  }

  /** Ends a grant from outside. */
  take(name: string, reason: 'stolen' | 'forced'): void {
    const request = this.#requests.find(
      (candidate) => candidate.state === 'granted' && candidate.names.includes(name),
    ) as FakeRequest;
    this.#remove(request);
    this.#answer(request.session, ['ended', request.session.id, request.handle, reason]);
  }

  /** Forgets a waiter without a word. */
  drop(session: number, handle: number): void {
    const request = this.#requests.find((candidate) => candidate.session.id === session && candidate.handle === handle);
    if (request !== undefined) this.#remove(request);
  }

  endSession(id: number, tells: boolean): void {
    const session = this.sessions.get(id);
    if (session === undefined) return;
    this.sessions.delete(id);
    this.#ended.add(session.nonce);
    this.#endedIds.add(id);
    for (const request of this.#requests.filter((candidate) => candidate.session === session)) this.#remove(request);
    if (tells) session.connection?.push(['session-ended', id, 'expired']);
  }

  disconnected(connection: FakeConnection): void {
    this.connections.delete(connection);
    for (const session of this.sessions.values()) if (session.connection === connection) session.connection = undefined;
  }

  receive(connection: FakeConnection, messages: readonly ClientMessage[]): void {
    for (const message of messages) {
      if (!connection.isOpen || this.isDeaf) return;
      if (this.intercept?.(connection, message) === true) continue;
      // Whatever goes through the log goes through a leader that serves.
      const isServed =
        this.leader !== undefined &&
        !this.#stopped.has(this.leader) &&
        !this.beliefs.has(connection.endpoint) &&
        !this.#unserved.some((earlier) => earlier.connection === connection);
      if (this.requiresLeader && !isServed && message[0] !== 'hello' && message[0] !== 'goodbye') {
        this.#unserved.push({ connection, message });
        continue;
      }
      this.#handle(connection, message);
    }
  }

  #leaderOf(endpoint: string): string | undefined {
    return this.beliefs.has(endpoint) ? this.beliefs.get(endpoint) : this.leader;
  }

  #leader(believer: string): { name: string; client: string | null } | null {
    const leader = this.#leaderOf(believer);
    if (leader === undefined) return null;
    return {
      name: (this.nodes.get(leader) as { name: string }).name,
      client: this.hidesLeader ? null : leader,
    };
  }

  #handle(connection: FakeConnection, message: ClientMessage): void {
    switch (message[0]) {
      case 'hello': {
        connection.hello = message[1];
        const leader = this.#leaderOf(connection.endpoint);
        const isLeader = leader === connection.endpoint;
        const attaching =
          (message[1].sessions?.length ?? 0) > 0 &&
          (isLeader || leader === undefined || message[1].onlyLeader !== true);
        connection.push([
          'welcome',
          {
            version: 1,
            clusterId: 'fake',
            node: (this.nodes.get(connection.endpoint) as { name: string }).name,
            leader: this.#leader(connection.endpoint),
            isLeader,
            members: [...this.nodes].map(([client, node]) => ({ name: node.name, client, role: 'voter' })),
            index: this.index,
            attaching,
            limits: { maxFrameBytes: 4_194_304, maxNameBytes: 512, window: 1024 },
          },
        ]);
        if (attaching && (!this.requiresLeader || isLeader))
          for (const [id, nonce, epoch] of message[1].sessions ?? []) this.#attach(connection, 0, id, nonce, epoch);
        return;
      }
      case 'open': {
        const [, id, nonce, ttlMs] = message;
        if (this.#ended.has(nonce)) {
          connection.push([
            'error',
            0,
            id,
            'LOCKD_SESSION_EXPIRED',
            'that session is over',
            'not-applied',
            false,
            null,
          ]);
          return;
        }
        let session = [...this.sessions.values()].find((candidate) => candidate.nonce === nonce);
        if (session === undefined) {
          session = new FakeSession(++this.index, nonce, ttlMs);
          this.sessions.set(session.id, session);
        }
        session.connection = connection;
        this.#say(connection, ['opened', id, session.id, ttlMs]);
        return;
      }
      case 'attach':
        this.#attach(connection, message[1], message[2], message[3], message[4]);
        return;
      case 'renew':
        if (this.acknowledgesRenewals && this.sessions.has(message[1]))
          this.#say(connection, ['renewed', message[1], message[2]]);
        return;
      case 'goodbye':
        connection.saidGoodbye = true;
        return;
      case 'ask': {
        const session = this.sessions.get(message[1]);
        if (session === undefined) return;
        this.#say(connection, ['requests', session.id, message[2].map((handle) => this.#state(session, handle))]);
        return;
      }
      case 'inspect':
        this.#say(connection, ['result', message[1], this.#info(message[2])]);
        return;
      case 'list': {
        const [, id, prefix, limit, after] = message;
        const names = [...new Set(this.#requests.flatMap((request) => request.names))]
          .filter((name) => name.startsWith(prefix) && (after === null || name > after))
          .sort();
        this.#say(connection, ['result', id, names.slice(0, limit).map((name) => this.#info(name))]);
        return;
      }
      case 'status':
        this.#say(connection, ['result', message[1], { name: this.nodes.get(connection.endpoint)?.name }]);
        return;
      case 'admin':
        this.#say(connection, ['result', message[1], { ok: false, reason: 'unsupported', message: 'a fake' }]);
        return;
      default:
        this.#operation(connection, message);
    }
  }

  #operation(
    connection: FakeConnection,
    message: Exclude<
      ClientMessage,
      readonly [
        'hello' | 'open' | 'attach' | 'renew' | 'goodbye' | 'ask' | 'inspect' | 'list' | 'status' | 'admin',
        ...unknown[],
      ]
    >,
  ): void {
    const [, id, seq, acked] = message;
    const session = this.sessions.get(id);
    if (session === undefined) {
      connection.push(['session-ended', id, 'over']);
      return;
    }
    if (session.connection !== connection) return;
    if (seq > acked + 1024) throw new Error(`the client left its window: seq ${seq}, acked ${acked}`);
    if (seq > Math.max(session.highestSeq, acked) + 1)
      throw new Error(`the client skipped from seq ${session.highestSeq} to ${seq}`);
    const earlier = session.applied.get(seq);
    if (earlier !== undefined) {
      const withoutAcked = (fields: readonly unknown[]): string => JSON.stringify(fields.toSpliced(3, 1));
      if (withoutAcked(earlier) !== withoutAcked(message))
        throw new Error(`seq ${seq} came again with another content`);
      const request = this.#requests.find((candidate) => candidate.session === session && candidate.handle === seq);
      const answer = request === undefined ? session.answers.get(seq) : this.#stateAnswer(request);
      if (answer !== undefined) this.#say(connection, answer);
      return;
    }
    session.applied.set(seq, message);
    session.highestSeq = Math.max(session.highestSeq, seq);
    this.index++;
    switch (message[0]) {
      case 'acquire':
      case 'acquire-all': {
        const [, , , , name, waitMs, leaseMs, options] = message;
        const names = typeof name === 'string' ? [name] : name;
        const onceKey = options?.onceKey;
        if (onceKey !== undefined && this.completed.has(onceKey)) {
          this.#answer(session, ['ok', id, seq, 'done'], seq);
          return;
        }
        if (this.#isBlocked(names, undefined, options) && waitMs === 0) {
          const holder = this.#requests.find((request) => request.names.some((held) => names.includes(held)));
          this.#answer(
            session,
            [
              'error',
              id,
              seq,
              'LOCKD_BUSY',
              `${names[0]} is held`,
              'not-applied',
              true,
              holder === undefined
                ? null
                : {
                    because: 'holder',
                    holder: {
                      session: holder.session.id,
                      handle: holder.handle,
                      token: holder.token,
                      mode: 'exclusive',
                      ...(holder.options?.metadata === undefined ? undefined : { metadata: holder.options.metadata }),
                    },
                  },
            ],
            seq,
          );
          return;
        }
        const request: FakeRequest = { session, handle: seq, names, leaseMs, options, token: 0, state: 'waiting' };
        this.#requests.push(request);
        this.#grantWaiters();
        if (request.state === 'waiting')
          this.#answer(session, ['waiting', id, seq, this.waiters(names[0] as string)], seq);
        return;
      }
      case 'release':
      case 'cancel': {
        const request = this.#requests.find(
          (candidate) => candidate.session === session && candidate.handle === message[4],
        );
        if (request !== undefined) this.#remove(request);
        else if (message[0] === 'release') {
          this.#answer(session, ['error', id, seq, 'LOCKD_NOT_HELD', 'not held', 'not-applied', false, null], seq);
          return;
        }
        this.#answer(session, ['ok', id, seq, null], seq);
        return;
      }
      case 'extend': {
        const held = this.#requests.some(
          (candidate) =>
            candidate.session === session && candidate.handle === message[4] && candidate.state === 'granted',
        );
        this.#answer(
          session,
          held ? ['ok', id, seq, null] : ['error', id, seq, 'LOCKD_NOT_HELD', 'not held', 'not-applied', false, null],
          seq,
        );
        return;
      }
      case 'upgrade':
        this.#answer(session, ['ok', id, seq, { token: this.index }], seq);
        return;
      case 'complete':
        this.completed.add(message[5]);
        this.#answer(session, ['ok', id, seq, null], seq);
        return;
      case 'close':
        this.#answer(session, ['ok', id, seq, null], seq);
        this.endSession(id, false);
        return;
      default:
        this.#answer(session, ['ok', id, seq, null], seq);
    }
  }

  #attach(connection: FakeConnection, id: number, sessionId: number, nonce: string, epoch: number): void {
    const session = this.sessions.get(sessionId);
    const refuse = (code: 'LOCKD_SESSION_EXPIRED' | 'LOCKD_PROTOCOL', text: string): void => {
      connection.push(
        id === 0
          ? ['error', sessionId, 0, code, text, 'not-applied', false, null]
          : ['error', 0, id, code, text, 'not-applied', false, null],
      );
    };
    if (session === undefined || session.nonce !== nonce) {
      refuse('LOCKD_SESSION_EXPIRED', 'no such session');
      return;
    }
    if (epoch <= session.epoch) {
      refuse('LOCKD_PROTOCOL', `epoch ${epoch} is not above ${session.epoch}`);
      return;
    }
    session.epoch = epoch;
    session.connection = connection;
    this.index++;
    this.#say(connection, ['attached', id, sessionId, epoch, session.ttlMs]);
  }

  #say(connection: FakeConnection, message: ServerMessage): void {
    if (!this.isMute) connection.push(message);
  }

  #answer(session: FakeSession, message: ServerMessage, seq?: number): void {
    if (seq !== undefined) session.answers.set(seq, message);
    if (session.connection !== undefined) this.#say(session.connection, message);
  }

  #isBlocked(names: readonly string[], before: FakeRequest | undefined, options: AcquireOptions | null): boolean {
    for (const name of names) {
      let holders = 0;
      for (const request of this.#requests) {
        if (request === before) break;
        if (!request.names.includes(name)) continue;
        if (options?.reenter !== undefined) continue;
        if (options?.mode === 'shared' && request.options?.mode === 'shared') continue;
        holders++;
        if (holders >= (options?.permits ?? 1)) return true;
      }
    }
    return false;
  }

  #grantWaiters(): void {
    for (const request of this.#requests) {
      if (request.state !== 'waiting' || this.#isBlocked(request.names, request, request.options)) continue;
      request.state = 'granted';
      request.token = this.index;
      for (const name of request.names)
        this.grants.push({ name, token: request.token, session: request.session.id, handle: request.handle });
      const answer = this.#stateAnswer(request);
      if (request.session.nonce === 'other') continue;
      request.session.answers.set(request.handle, answer);
      this.#answer(request.session, answer);
    }
  }

  #detail(request: FakeRequest): GrantDetail | null {
    const slot = request.options?.permits === undefined ? undefined : { slot: 1 };
    const lease =
      request.leaseMs === null && request.options?.maxHoldMs === undefined
        ? undefined
        : {
            after: request.session.highestSeq,
            ...(request.leaseMs === null ? undefined : { leaseMs: request.leaseMs }),
          };
    const shares =
      request.options?.reenter?.[0] === undefined ? undefined : { shares: request.options.reenter[0], holdCount: 2 };
    return slot === undefined && lease === undefined && shares === undefined ? null : { ...slot, ...lease, ...shares };
  }

  #stateAnswer(request: FakeRequest): ServerMessage {
    return request.state === 'granted'
      ? ['granted', request.session.id, request.handle, request.token, this.#detail(request)]
      : ['waiting', request.session.id, request.handle, 1];
  }

  #state(session: FakeSession, handle: number): RequestState {
    const request = this.#requests.find((candidate) => candidate.session === session && candidate.handle === handle);
    if (request === undefined) return [handle, 'ended', 'unknown'];
    return request.state === 'granted'
      ? [handle, 'granted', request.token, this.#detail(request)]
      : [handle, 'waiting', 1];
  }

  #remove(request: FakeRequest): void {
    const index = this.#requests.indexOf(request);
    if (index >= 0) this.#requests.splice(index, 1);
    this.index++;
    this.#grantWaiters();
  }

  #info(name: string): unknown {
    const of = this.#requests.filter((request) => request.names.includes(name));
    return {
      name,
      kind: 'lock',
      limit: null,
      holders: of
        .filter((request) => request.state === 'granted')
        .map((request) => ({
          session: request.session.id,
          handle: request.handle,
          token: request.token,
          mode: 'exclusive',
          ...(request.options?.metadata === undefined ? undefined : { metadata: request.options.metadata }),
        })),
      waiters: of
        .filter((request) => request.state === 'waiting')
        .map((request, index) => ({
          session: request.session.id,
          handle: request.handle,
          mode: 'exclusive',
          position: index + 1,
        })),
      index: this.index,
    };
  }
}
