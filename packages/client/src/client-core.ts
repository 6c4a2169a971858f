import type { Clock, Instant } from './clock.ts';
import { Alarm, DeadlineHeap } from './deadline-heap.ts';
import { LockdError, type LossReason, type Refusal, refusalError } from './errors.ts';
import { Emitter } from './events.ts';
import { LeaderRouting } from './leader-routing.ts';
import { Link, type LinkOwner } from './link.ts';
import { LockRequest, type RequestHost, type RequestSpec } from './lock-request.ts';
import { Deferred, type Operation, PlainOperation } from './operation.ts';
import {
  type ClientMessage,
  isErrorCode,
  type OpenOptions,
  PROTOCOL_VERSION,
  type ServerMessage,
  type Welcome,
} from './protocol/index.ts';
import type { Random } from './random.ts';
import { Session } from './session.ts';
import type { Transport } from './transport.ts';

/** What a client is built from; every default filled in. */
export interface CoreOptions {
  readonly endpoints: readonly string[];
  readonly ttlMs: number;
  readonly openOptions: OpenOptions | null;
  readonly credentials: string | null;
  readonly clientName: string;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly releaseTimeoutMs: number;
  readonly maxPending: number;
  readonly onReleaseError: (error: unknown) => void;
  readonly onListenerError: (error: unknown) => void;
}

export interface CoreParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly transport: Transport;
}

/** A node that accepts a connection but says no welcome is given up after this. */
const DIAL_TIMEOUT_MS = 2000;
/** A node that answers nothing at all for a sixth of the TTL, within these bounds, is taken for dead. */
const MIN_SILENCE_MS = 500;
const MAX_SILENCE_MS = 5000;
/** An operation without an answer on a connection that is otherwise alive is sent again after this. */
const STALL_MS = 5000;
/** Refused for now (no leader, overload): when to send again. */
const RETRY_BASE_MS = 50;
const RETRY_MAX_MS = 1000;
/** Hops from node to node that name each other as leader. */
const MAX_HOPS = 4;
/** Old sessions that are still being ended; beyond that the oldest is left to its deadline. */
const MAX_CLOSING = 16;
/** Difference of the two clocks' pace that makes the wall clock's view of every deadline worth a look. */
const SKEW_TOLERANCE_MS = 20;

/** A request of the connection, repeated on the next one: reads only. */
interface Query {
  readonly build: (id: number) => ClientMessage;
  readonly deferred: Deferred<unknown>;
  readonly bound: Alarm;
}

/**
 * The driver: it alone touches transport and timer, and tells the state machines (routing, sessions, requests) what
 * happened and when. One timer, one frame a turn.
 */
export class ClientCore implements RequestHost, LinkOwner {
  readonly leases: DeadlineHeap = new DeadlineHeap();
  readonly waits: DeadlineHeap = new DeadlineHeap();
  readonly events: Emitter;

  readonly #options: CoreOptions;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #transport: Transport;
  readonly #routing: LeaderRouting;

  #session: Session;
  /** Lost sessions that the service may not know to be over. */
  #closing: Session[] = [];
  /** Carries the sessions. */
  #link: Link | undefined;
  /** Being dialled. With `#link`: a move to a new leader. */
  #candidate: Link | undefined;
  /** A follower that answered, kept while its leader is tried. */
  #fallback: Link | undefined;
  #hops = 0;
  #dialAtMs: number | undefined;
  #clusterId: string | null = null;

  #queries = new Map<number, Query>();
  #nextId = 1;
  #retries = 0;

  #cancelTimer: (() => void) | undefined;
  #timerDueMs = Number.POSITIVE_INFINITY;
  #timerKeepsAlive = false;
  #isFlushScheduled = false;
  #skewMs: number;
  #isSuspect = false;
  #isFirstOpen = true;

  #opening: Deferred<void> | undefined;
  #lastFailure = 'no endpoint has answered yet';
  #closed: Promise<void> | undefined;
  #isClosing = false;
  #isStopped = false;
  /** Refused for now, in the order of the refusals: sent again together, so that requests for a name keep their order. */
  #retrying: { readonly session: Session; readonly operation: Operation }[] = [];

  constructor(options: CoreOptions, parts: CoreParts) {
    this.#options = options;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#transport = parts.transport;
    this.#routing = new LeaderRouting(options.endpoints, () => parts.random.next());
    this.events = new Emitter(options.onListenerError);
    this.#session = new Session(parts.random.secret(), options.ttlMs);
    const now = this.#clock.now();
    this.#skewMs = now.wallMs - now.monotonicMs;
  }

  get session(): Session {
    return this.#session;
  }

  get clusterId(): string | null {
    return this.#clusterId;
  }

  get endpoints(): readonly string[] {
    return this.#routing.endpoints;
  }

  now(): Instant {
    return this.#clock.now();
  }

  /** Resolves when the first session is open. */
  connect(): Promise<void> {
    const opening = new Deferred<void>();
    this.#opening = opening;
    const now = this.now();
    const timeout = new Alarm(() =>
      this.#failOpening(
        new LockdError(
          'LOCKD_NO_QUORUM',
          `no session within ${this.#options.connectTimeoutMs} ms at ${this.#options.endpoints.join(', ')}: ${this.#lastFailure}`,
          { retryable: true, outcome: 'not-applied' },
        ),
      ),
    );
    this.#alarmIn(timeout, this.#options.connectTimeoutMs, now);
    this.#dial(now);
    const done = (): void => this.waits.remove(timeout);
    opening.promise.then(done, done);
    return opening.promise;
  }

  /** Sends an acquire. Rejects with LOCKD_CLOSED, LOCKD_OVERLOADED or the signal's reason without sending. */
  request(spec: RequestSpec): LockRequest['deferred']['promise'] {
    const now = this.now();
    this.enforceLeases(now);
    if (this.#isClosing) return Promise.reject(closedError());
    if (spec.signal?.aborted === true) return Promise.reject(spec.signal.reason as Error);
    if (this.#session.queuedCount >= this.#options.maxPending) {
      return Promise.reject(
        new LockdError(
          'LOCKD_OVERLOADED',
          `${this.#options.maxPending} operations of this client wait to be sent: slow down, or wait for earlier ones`,
          {
            retryable: true,
            outcome: 'not-applied',
          },
        ),
      );
    }
    const request = new LockRequest(this, this.#session, spec);
    // Trying once still needs a bound on the answer.
    request.begin(now, spec.waitMs === 0 ? this.#options.requestTimeoutMs : spec.waitMs);
    this.#session.submit(request);
    this.flushSoon();
    return request.deferred.promise;
  }

  /** An operation of the session without a request of its own. */
  operate(build: (session: number, seq: number, acked: number) => ClientMessage): Promise<unknown> {
    this.enforceLeases(this.now());
    if (this.#isClosing) return Promise.reject(closedError());
    const operation = new PlainOperation(build);
    this.#session.submitUrgent(operation);
    this.flushSoon();
    return operation.deferred.promise;
  }

  /** A read: repeated on the next connection; rejects with LOCKD_NO_QUORUM after `requestTimeoutMs`. */
  query(build: (id: number) => ClientMessage): Promise<unknown> {
    const now = this.now();
    this.enforceLeases(now);
    if (this.#isClosing) return Promise.reject(closedError());
    if (this.#queries.size >= this.#options.maxPending) {
      return Promise.reject(
        new LockdError('LOCKD_OVERLOADED', 'too many reads wait for their answer', {
          retryable: true,
          outcome: 'not-applied',
        }),
      );
    }
    const id = this.#nextId++;
    const deferred = new Deferred<unknown>();
    const bound = new Alarm(() => {
      this.#queries.delete(id);
      deferred.reject(
        new LockdError(
          'LOCKD_NO_QUORUM',
          `no answer within ${this.#options.requestTimeoutMs} ms: ${this.#lastFailure}`,
          {
            retryable: true,
            outcome: 'not-applied',
          },
        ),
      );
    });
    const query: Query = { build, deferred, bound };
    this.#queries.set(id, query);
    this.#alarmIn(bound, this.#options.requestTimeoutMs, now);
    if (this.#link !== undefined) this.#control.push(build(id));
    this.flushSoon();
    return deferred.promise;
  }

  releaseQuietly(request: LockRequest): Promise<unknown> {
    const now = this.now();
    this.enforceLeases(now);
    if (request.isReleased || request.loss(now) !== undefined) return Promise.resolve();
    return this.#bounded(
      request.release(),
      now,
      `the release of ${JSON.stringify(request.spec.name)} was not acknowledged`,
      'it goes on in the background',
    );
  }

  /** Releases everything, ends the session, closes the connection. Takes at most `releaseTimeoutMs`; never rejects. */
  close(): Promise<void> {
    this.#closed ??= this.#isStopped ? Promise.resolve() : this.#close();
    return this.#closed;
  }

  // Deadlines.

  enforceLeases(now: Instant): void {
    if (this.#isStopped) return;
    if (!this.#session.isOver && this.#session.renewer?.state(now) === 'lost') {
      this.#loseSession('session-expired', now, false);
    }
    const skewMs = now.wallMs - now.monotonicMs;
    if (Math.abs(skewMs - this.#skewMs) > SKEW_TOLERANCE_MS) {
      // Suspended, or the wall clock stepped: the heap's order is by the monotonic clock, so look at all of them.
      this.#skewMs = skewMs;
      for (const deadline of this.leases.overdue(now)) {
        this.leases.remove(deadline);
        deadline.onDue(now);
      }
    }
    runDue(this.leases, now);
  }

  wakeAt(dueMs: number): void {
    if (this.#isStopped) return;
    // A connection keeps the process alive by itself. Without one, whoever awaits something must get an answer.
    const keepsAlive = this.#link === undefined && this.waits.size > 0;
    if (dueMs >= this.#timerDueMs && (this.#timerKeepsAlive || !keepsAlive)) return;
    this.#cancelTimer?.();
    this.#timerDueMs = Math.min(dueMs, this.#timerDueMs);
    this.#timerKeepsAlive = keepsAlive;
    const delayMs = Math.max(0, Math.ceil(this.#timerDueMs - this.#clock.now().monotonicMs));
    this.#cancelTimer = this.#clock.after(delayMs, this.#onTimer, keepsAlive);
  }

  readonly #onTimer = (): void => {
    this.#timerDueMs = Number.POSITIVE_INFINITY;
    this.#cancelTimer = undefined;
    if (this.#isStopped) return;
    this.enforceLeases(this.now());
    // After a stall the timer comes first and the answers wait in the socket: whoever loses patience listens before.
    this.#clock.endOfTurn(this.#afterTimer);
  };

  readonly #afterTimer = (): void => {
    if (this.#isStopped) return;
    const now = this.now();
    this.enforceLeases(now);
    runDue(this.waits, now);
    this.#watchSession(now);
    this.#watchLinks(now);
    this.#arm(now);
  };

  /** Sets the timer for whatever comes first. */
  #arm(now: Instant): void {
    if (this.#isStopped) return;
    for (const first of [this.leases.first, this.waits.first]) if (first !== undefined) this.wakeAt(first.dueMs);
    const { renewer } = this.#session;
    if (renewer !== undefined && !this.#session.isOver) {
      if (this.#session.isAttached) this.wakeAt(renewer.dueMs);
      this.wakeAt(now.monotonicMs + renewer.changesInMs(now));
    }
    if (this.#dialAtMs !== undefined) this.wakeAt(this.#dialAtMs);
    if (this.#candidate !== undefined) this.wakeAt(this.#candidate.startedMs + DIAL_TIMEOUT_MS);
    const link = this.#link;
    if (link !== undefined) {
      if (link.silentSinceMs !== undefined) this.wakeAt(link.silentSinceMs + this.#silenceMs);
      for (const session of this.#sessions()) {
        if (session.attachSentMs !== undefined) this.wakeAt(session.attachSentMs + STALL_MS);
        if (session.unansweredCount > 0) this.wakeAt(now.monotonicMs + Math.max(1, STALL_MS - session.stalledMs(now)));
      }
    }
  }

  /** Renewals, and what the user should know about them. */
  #watchSession(now: Instant): void {
    const session = this.#session;
    const { renewer } = session;
    if (renewer === undefined || session.isOver) return;
    const isSuspect = renewer.state(now) === 'suspect';
    if (isSuspect !== this.#isSuspect) {
      this.#isSuspect = isSuspect;
      if (isSuspect) this.events.emit('suspect', { session: session.id, remainingMs: renewer.remainingMs(now) });
      else this.events.emit('recovered', { session: session.id });
    }
    if (session.isAttached && renewer.dueMs <= now.monotonicMs) this.flushSoon();
  }

  #watchLinks(now: Instant): void {
    const candidate = this.#candidate;
    if (candidate !== undefined && now.monotonicMs - candidate.startedMs >= DIAL_TIMEOUT_MS) {
      candidate.fail(`${candidate.endpoint} did not answer within ${DIAL_TIMEOUT_MS} ms`);
    }
    const link = this.#link;
    if (link !== undefined) {
      if (link.silentSinceMs !== undefined && now.monotonicMs - link.silentSinceMs >= this.#silenceMs) {
        this.#routing.failed(link.endpoint, now.monotonicMs);
        link.fail(`${link.endpoint} has answered nothing for ${Math.round(this.#silenceMs)} ms`);
      } else {
        for (const session of this.#sessions()) {
          if (session.attachSentMs !== undefined && now.monotonicMs - session.attachSentMs >= STALL_MS) {
            this.#routing.failed(link.endpoint, now.monotonicMs);
            link.fail(`${link.endpoint} did not attach the session within ${STALL_MS} ms`);
            break;
          }
          if (session.isAttached && session.stalledMs(now) >= STALL_MS) this.#attach(session, now);
        }
      }
    }
    if (this.#dialAtMs !== undefined && this.#dialAtMs <= now.monotonicMs) {
      this.#dialAtMs = undefined;
      this.#dial(now);
    }
  }

  get #silenceMs(): number {
    return Math.min(MAX_SILENCE_MS, Math.max(MIN_SILENCE_MS, this.#session.ttlMs / 6));
  }

  // Sending.

  /** Messages that belong to the connection, in front of the sessions' operations. */
  readonly #control: ClientMessage[] = [];

  flushSoon(): void {
    if (this.#isFlushScheduled || this.#link === undefined) return;
    this.#isFlushScheduled = true;
    this.#clock.endOfTurn(this.#flush);
  }

  readonly #flush = (): void => {
    this.#isFlushScheduled = false;
    const link = this.#link;
    if (link === undefined || this.#isStopped) return;
    const now = this.now();
    this.enforceLeases(now);
    if (this.#link !== link) return;
    const out = this.#control.splice(0);
    for (const session of this.#sessions()) {
      if (!session.isAttached) continue;
      // Renewals first: they must not wait behind bulk.
      if (
        session === this.#session &&
        session.renewer !== undefined &&
        !session.isOver &&
        session.renewer.dueMs <= now.monotonicMs
      ) {
        out.push(['renew', session.id, session.renewer.renew(now)]);
      }
      session.take(now, out);
    }
    if (out.length === 0) return;
    link.silentSinceMs ??= now.monotonicMs;
    link.send(out);
    this.#arm(now);
  };

  *#sessions(): Generator<Session> {
    yield this.#session;
    yield* this.#closing;
  }

  // Finding a node.

  #dial(now: Instant): void {
    if (this.#isStopped || this.#candidate !== undefined || this.#link !== undefined) return;
    this.#hops = 0;
    this.#open(this.#routing.next(now.monotonicMs), now, true);
  }

  #open(endpoint: string, now: Instant, resumes: boolean): void {
    const sessions: [number, string, number][] = [];
    if (resumes) {
      for (const session of this.#sessions())
        if (session.id !== 0) sessions.push([session.id, session.nonce, ++session.epoch]);
    }
    this.#candidate = new Link(
      this.#transport,
      endpoint,
      {
        version: PROTOCOL_VERSION,
        client: this.#options.clientName,
        credentials: this.#options.credentials,
        clusterId: this.#clusterId,
        sessions,
        onlyLeader: true,
      },
      this,
      now.monotonicMs,
    );
    this.#arm(now);
  }

  onWelcome(link: Link, welcome: Welcome): void {
    const now = this.now();
    this.#routing.learnMembers(welcome.members);
    if (link !== this.#candidate) return;
    if (welcome.version !== PROTOCOL_VERSION) {
      link.fail(`${link.endpoint} speaks version ${welcome.version} of the protocol, this client ${PROTOCOL_VERSION}`);
      return;
    }
    // A node that has not learnt it from the log yet says nothing.
    if (welcome.clusterId !== '') {
      if (this.#clusterId !== null && this.#clusterId !== welcome.clusterId) {
        link.fail(`${link.endpoint} belongs to another cluster (${welcome.clusterId}, not ${this.#clusterId})`);
        return;
      }
      this.#clusterId = welcome.clusterId;
    }
    this.#candidate = undefined;
    // It may lead and not serve yet; its answers come then.
    const leadsHere = welcome.isLeader || welcome.leader?.name === welcome.node;
    const leadsElsewhere = !leadsHere && welcome.leader !== null;
    link.welcome = { ...welcome, isLeader: leadsHere };
    const isAttaching = welcome.attaching && (link.hello.sessions ?? []).length > 0;
    if (leadsHere) this.#routing.learnLeader(link.endpoint);
    else this.#routing.learnLeader(leadsElsewhere ? (welcome.leader?.client ?? undefined) : undefined);
    const leader = leadsElsewhere && !isAttaching ? this.#routing.leaderToTry(now.monotonicMs) : undefined;
    if (leader !== undefined && leader !== link.endpoint && this.#hops < MAX_HOPS) {
      this.#hops++;
      if (this.#link === undefined) {
        this.#fallback?.leave();
        this.#fallback = link;
      } else {
        link.leave();
      }
      this.#open(leader, now, this.#link === undefined);
      return;
    }
    // A move is worth it only to the leader itself.
    if (this.#link !== undefined && !leadsHere) {
      link.leave();
      return;
    }
    this.#adopt(link, isAttaching, now);
  }

  /** From now on this link carries the sessions. */
  #adopt(link: Link, isAttaching: boolean, now: Instant): void {
    if (this.#link !== undefined) this.#drop(this.#link, 'moved to the leader');
    this.#fallback?.leave();
    this.#fallback = undefined;
    this.#link = link;
    this.#dialAtMs = undefined;
    // Queries are read again here; `close` and operations are the sessions' own.
    this.#control.length = 0;
    const named = new Set(isAttaching ? (link.hello.sessions ?? []).map(([session]) => session) : []);
    for (const session of this.#sessions()) {
      if (session.id === 0) this.#sendOpen(session, now);
      else if (named.has(session.id)) {
        session.attachSentMs = now.monotonicMs;
        session.attachId = 0;
      } else this.#attach(session, now);
    }
    for (const [id, query] of this.#queries) this.#control.push(query.build(id));
    this.flushSoon();
    this.#arm(now);
  }

  #sendOpen(session: Session, now: Instant): void {
    session.openedAfter ??= this.#link?.welcome?.index ?? 0;
    session.openSentAt ??= now;
    session.attachSentMs = now.monotonicMs;
    session.attachId = this.#nextId++;
    this.#control.push([
      'open',
      session.attachId,
      session.nonce,
      this.#options.ttlMs,
      session.openedAfter,
      this.#options.openOptions,
    ]);
    this.flushSoon();
  }

  #attach(session: Session, now: Instant): void {
    session.detached();
    session.attachSentMs = now.monotonicMs;
    session.attachId = this.#nextId++;
    this.#control.push(['attach', session.attachId, session.id, session.nonce, ++session.epoch]);
    this.flushSoon();
  }

  onLinkClosed(link: Link, reason: string): void {
    const now = this.now();
    this.enforceLeases(now);
    this.#lastFailure = `${link.endpoint}: ${reason}`;
    if (link === this.#fallback) {
      this.#fallback = undefined;
      return;
    }
    if (link === this.#candidate) {
      this.#candidate = undefined;
      this.#routing.failed(link.endpoint, now.monotonicMs);
      const fallback = this.#fallback;
      if (fallback !== undefined) {
        // The leader cannot be reached from here: the follower forwards.
        this.#fallback = undefined;
        this.#adopt(fallback, false, now);
      } else if (this.#link === undefined) {
        this.#dialLater(now);
      }
      return;
    }
    if (link !== this.#link) return;
    this.#routing.lost(link.endpoint);
    this.#drop(link, reason);
    if (this.#candidate === undefined) this.#dial(now);
  }

  #dialLater(now: Instant): void {
    this.#dialAtMs = now.monotonicMs + this.#routing.backoffMs();
    this.#arm(now);
  }

  /** The link carries the sessions no more. */
  #drop(link: Link, reason: string): void {
    link.leave();
    this.#link = undefined;
    this.#control.length = 0;
    for (const session of this.#sessions()) session.detached();
    this.events.emit('disconnected', { endpoint: link.endpoint, reason });
  }

  // Receiving.

  onFrameBegin(): void {
    this.enforceLeases(this.now());
  }

  onFrameEnd(): void {
    // Answers make room in the window, and repeats may be due.
    for (const session of this.#sessions()) if (session.isAttached && session.hasWork) this.flushSoon();
  }

  onMessage(link: Link, message: ServerMessage): void {
    if (message[0] === 'error' && message[1] === 0 && message[2] === 0) {
      this.#refusedByNode(link, message[3], message[4]);
      return;
    }
    if (link !== this.#link) return;
    const isLeader = link.welcome?.isLeader === true;
    switch (message[0]) {
      case 'granted':
        this.#find(message[1])?.granted(message[2], message[3], message[4], isLeader);
        return;
      case 'ok':
        this.#find(message[1])?.ok(message[2], message[3]);
        return;
      case 'waiting':
        this.#find(message[1])?.waiting(message[2], message[3]);
        return;
      case 'ended':
        this.#find(message[1])?.ended(message[2], message[3]);
        return;
      case 'renewed':
        this.#renewed(message[1], message[2]);
        return;
      case 'requests': {
        const session = this.#find(message[1]);
        if (session !== undefined) for (const state of message[2]) session.told(state);
        return;
      }
      case 'opened':
        this.#opened(link, message[1], message[2], message[3]);
        return;
      case 'attached':
        this.#attached(link, message[2], message[3]);
        return;
      case 'session-ended':
        this.#sessionEnded(message[1]);
        return;
      case 'reattach': {
        const session = this.#find(message[1]);
        if (session !== undefined) this.#attach(session, this.now());
        return;
      }
      case 'result': {
        const query = this.#takeQuery(message[1]);
        query?.deferred.resolve(message[2]);
        return;
      }
      case 'error':
        this.#refused(message);
        return;
      case 'leader':
        this.#leaderChanged(link, message[1]);
        return;
      case 'members':
        this.#routing.learnMembers(message[1]);
        return;
      case 'goodbye':
        link.fail(`the node is stopping${message[1] === '' ? '' : ` (${message[1]})`}`);
        return;
      case 'welcome':
        return;
    }
  }

  #find(id: number): Session | undefined {
    if (this.#session.id === id) return this.#session;
    return this.#closing.find((session) => session.id === id);
  }

  #renewed(id: number, stamp: number): void {
    if (this.#session.id !== id) return;
    this.#session.renewer?.acknowledged(stamp);
    if (this.#isSuspect) this.#watchSession(this.now());
  }

  #opened(link: Link, requestId: number, id: number, ttlMs: number): void {
    const session = this.#session;
    if (session.id !== 0 || session.attachSentMs === undefined || session.attachId !== requestId) return;
    session.opened(id, ttlMs);
    this.#routing.succeeded(link.endpoint);
    this.#isSuspect = false;
    const now = this.now();
    if (session.state(now) === 'lost') {
      this.#loseSession('session-expired', now, false);
      return;
    }
    this.#emitConnected(link);
    this.events.emit('opened', { session: id });
    this.#opening?.resolve();
    this.#opening = undefined;
    this.#isFirstOpen = false;
    this.flushSoon();
    this.#arm(now);
  }

  #attached(link: Link, id: number, epoch: number): void {
    const session = this.#find(id);
    // An answer to an earlier attach: the present one's follows.
    if (session === undefined || epoch !== session.epoch) return;
    session.attached();
    this.#retries = 0;
    this.#routing.succeeded(link.endpoint);
    const now = this.now();
    if (session === this.#session) {
      // Whoever leads now has not heard of the old connection's renewals.
      if (session.renewer !== undefined) this.#control.push(['renew', session.id, session.renewer.renew(now)]);
      this.#emitConnected(link);
    }
    this.flushSoon();
    this.#arm(now);
  }

  #emitConnected(link: Link): void {
    this.events.emit('connected', {
      endpoint: link.endpoint,
      node: link.welcome?.node ?? '',
      isLeader: link.welcome?.isLeader === true,
    });
  }

  #refused(message: Extract<ServerMessage, readonly ['error', ...unknown[]]>): void {
    const [, id, number, code, text, outcome, retryable, detail] = message;
    const refusal: Refusal = {
      code: isErrorCode(code) ? code : 'LOCKD_PROTOCOL',
      message: text,
      outcome,
      retryable,
      detail,
    };
    const now = this.now();
    if (id === 0) {
      const query = this.#takeQuery(number);
      if (query !== undefined) query.deferred.reject(refusalError(refusal));
      else this.#openOrAttachRefused(number, refusal, now);
      return;
    }
    const session = this.#find(id);
    if (session === undefined) return;
    if (number === 0) {
      this.#attachRefused(session, refusal, now);
      return;
    }
    if (code === 'LOCKD_SESSION_EXPIRED') {
      // Over, or only not attached here: the answer to an attach tells, and what has no answer goes on after it.
      if (session.isAttached) this.#attach(session, now);
      return;
    }
    const operation = session.refused(number, refusal);
    if (operation !== undefined) this.#retryLater(session, operation, now);
  }

  #openOrAttachRefused(id: number, refusal: Refusal, now: Instant): void {
    for (const session of this.#sessions()) {
      if (session.attachSentMs === undefined || session.attachId !== id) continue;
      if (session.id === 0) this.#openRefused(session, refusal, now);
      else this.#attachRefused(session, refusal, now);
      return;
    }
  }

  #openRefused(session: Session, refusal: Refusal, now: Instant): void {
    session.attachSentMs = undefined;
    this.#lastFailure = `${this.#link?.endpoint ?? ''}: ${refusal.message}`;
    if (refusal.code === 'LOCKD_UNAUTHORIZED' || refusal.code === 'LOCKD_INVALID') {
      if (this.#isFirstOpen) {
        this.#failOpening(refusalError(refusal));
        return;
      }
    }
    if (refusal.code === 'LOCKD_SESSION_EXPIRED') {
      // Too old an `openedAfter`, or the session of this secret is over: begin again with a new one.
      const successor = new Session(this.#random.secret(), this.#options.ttlMs);
      this.#replaceSession(successor, session.end('session-ended', expiredError()));
      // Only the welcome of another connection has a newer index.
      this.#link?.fail(refusal.message);
    }
    this.#afterRetryDelay(now, () => {
      if (this.#link !== undefined && this.#session.id === 0 && this.#session.attachSentMs === undefined)
        this.#sendOpen(this.#session, this.now());
    });
  }

  #attachRefused(session: Session, refusal: Refusal, now: Instant): void {
    session.attachSentMs = undefined;
    if (refusal.code === 'LOCKD_SESSION_EXPIRED') {
      this.#sessionEnded(session.id);
      return;
    }
    this.#lastFailure = `${this.#link?.endpoint ?? ''}: ${refusal.message}`;
    this.#afterRetryDelay(now, () => {
      if (this.#link !== undefined && !session.isOver && !session.isAttached && session.attachSentMs === undefined)
        this.#attach(session, this.now());
    });
  }

  #retryLater(session: Session, operation: Operation, now: Instant): void {
    this.#retrying.push({ session, operation });
    if (this.#retrying.length === 1) this.#afterRetryDelay(now, () => this.#retry());
  }

  #retry(): void {
    for (const { session, operation } of this.#retrying.splice(0)) {
      if (operation.seq !== 0) session.repeat(operation);
      else if (operation.isAcquire && session.isOver) this.#carryOver([operation]);
      else if (operation.isAcquire) session.submit(operation);
      else if (!session.isOver || session.closing === operation) session.submitUrgent(operation);
      else operation.abandoned(expiredError());
    }
    this.flushSoon();
  }

  #afterRetryDelay(now: Instant, action: () => void): void {
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_BASE_MS * 2 ** Math.min(this.#retries++, 10));
    this.#alarmIn(new Alarm(action), ceiling / 2 + (this.#random.next() * ceiling) / 2, now);
  }

  #takeQuery(id: number): Query | undefined {
    const query = this.#queries.get(id);
    if (query === undefined) return undefined;
    this.#queries.delete(id);
    this.waits.remove(query.bound);
    return query;
  }

  #refusedByNode(link: Link, code: string, text: string): void {
    if (
      this.#opening !== undefined &&
      this.#isFirstOpen &&
      (code === 'LOCKD_UNAUTHORIZED' || code === 'LOCKD_PROTOCOL')
    ) {
      this.#failOpening(
        new LockdError(code, `${link.endpoint}: ${text}`, { retryable: false, outcome: 'not-applied' }),
      );
      return;
    }
    link.fail(text);
  }

  #leaderChanged(link: Link, leader: { readonly name: string; readonly client: string | null } | null): void {
    const welcome = link.welcome;
    if (welcome !== undefined) link.welcome = { ...welcome, leader, isLeader: leader?.name === welcome.node };
    if (leader === null || leader.name === welcome?.node) {
      this.#routing.learnLeader(leader === null ? undefined : link.endpoint);
      return;
    }
    this.#routing.learnLeader(leader.client ?? undefined);
    const now = this.now();
    const endpoint = this.#routing.leaderToTry(now.monotonicMs);
    if (endpoint === undefined || endpoint === link.endpoint || this.#candidate !== undefined) return;
    this.#hops = 0;
    // Without the sessions: they stay here until the new leader has answered, and are attached there then.
    this.#open(endpoint, now, false);
  }

  // The end of a session.

  #sessionEnded(id: number): void {
    const session = this.#find(id);
    if (session === undefined) return;
    if (session === this.#session && !this.#isClosing) this.#loseSession('session-ended', this.now(), true);
    else session.end('session-ended', closedError());
  }

  /** Final: all it held is lost. The service is told to end it, unless it said so itself, and a new one is opened. */
  #loseSession(reason: LossReason, now: Instant, isKnownEnded: boolean): void {
    const lost = this.#session;
    if (lost.isOver) return;
    const wasAttached = lost.isAttached;
    const unsent = lost.end(reason, expiredError());
    this.#isSuspect = false;
    if (!isKnownEnded && lost.id !== 0) this.#endRemotely(lost, wasAttached);
    this.#replaceSession(new Session(this.#random.secret(), this.#options.ttlMs), unsent);
    this.events.emit('lost', { session: lost.id, reason });
    if (this.#link !== undefined && !this.#isStopped) this.#sendOpen(this.#session, now);
  }

  /** Repeats `close` until it is acknowledged or the session is known to be over. */
  #endRemotely(session: Session, isAttached: boolean): void {
    session.isAttached = isAttached;
    this.#closing.push(session);
    if (this.#closing.length > MAX_CLOSING) this.#closing.shift();
    void this.#submitClose(session).then(() => {
      const index = this.#closing.indexOf(session);
      if (index >= 0) this.#closing.splice(index, 1);
    });
  }

  #replaceSession(session: Session, unsent: readonly Operation[]): void {
    this.#session = session;
    this.#carryOver(unsent);
  }

  /** What the old session never sent goes on in the present one. */
  #carryOver(unsent: readonly Operation[]): void {
    for (const operation of unsent) {
      if (operation instanceof LockRequest && !operation.moveTo(this.#session, expiredError())) continue;
      this.#session.submit(operation);
    }
  }

  #failOpening(error: LockdError): void {
    const opening = this.#opening;
    this.#opening = undefined;
    this.#stop(true);
    opening?.reject(error);
  }

  async #close(): Promise<void> {
    this.#isClosing = true;
    const now = this.now();
    this.enforceLeases(now);
    const session = this.#session;
    session.dropRequests('client-closed', closedError());
    for (const operation of session.takeUnsent()) operation.abandoned(closedError());
    this.#retrying = this.#retrying.filter(({ operation }) => {
      if (operation.isAcquire) operation.abandoned(closedError());
      return !operation.isAcquire;
    });
    for (const [id, query] of this.#queries) {
      this.#takeQuery(id);
      query.deferred.reject(closedError());
    }
    let isClean = true;
    if (session.id !== 0 && !session.isOver) {
      // After the releases that are under way, so that those who await them hear the truth.
      const ended = this.#submitClose(session);
      isClean = await this.#bounded(
        ended,
        now,
        'the end of the session was not acknowledged',
        'the service ends it after its TTL',
      );
    }
    this.#stop(isClean);
  }

  /** Settles when `close` is acknowledged or the session is known to be over. */
  #submitClose(session: Session): Promise<void> {
    const close = new PlainOperation((id, seq, acked) => ['close', id, seq, acked]);
    session.closing = close;
    session.submitUrgent(close);
    this.flushSoon();
    return close.deferred.promise.then(ignore, ignore);
  }

  /** Waits for `action`, at most `releaseTimeoutMs`; whether it was done by then. What goes wrong is reported; never rejects. */
  #bounded(action: Promise<void>, now: Instant, what: string, butThen: string): Promise<boolean> {
    const timeoutMs = this.#options.releaseTimeoutMs;
    const settled = new Deferred<boolean>();
    const bound = new Alarm(() => {
      this.#report(
        new LockdError('LOCKD_OUTCOME_UNKNOWN', `${what} within ${timeoutMs} ms; ${butThen}`, {
          retryable: false,
          outcome: 'unknown',
        }),
      );
      settled.resolve(false);
    });
    this.#alarmIn(bound, timeoutMs, now);
    action.then(
      () => {
        this.waits.remove(bound);
        settled.resolve(true);
      },
      (error: unknown) => {
        if (bound.heapIndex >= 0) this.#report(error);
        this.waits.remove(bound);
        settled.resolve(false);
      },
    );
    return settled.promise;
  }

  #alarmIn(alarm: Alarm, delayMs: number, now: Instant): void {
    this.waits.add(alarm, now.monotonicMs + delayMs);
    this.wakeAt(alarm.dueMs);
  }

  #stop(isClean: boolean): void {
    this.#isClosing = true;
    const error = isClean ? closedError() : unacknowledgedError();
    for (const operation of this.#session.end('client-closed', error)) operation.abandoned(error);
    for (const { operation } of this.#retrying) operation.abandoned(error);
    this.#isStopped = true;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    for (const link of [this.#candidate, this.#fallback, this.#link]) link?.leave();
    this.#candidate = undefined;
    this.#fallback = undefined;
    this.#link = undefined;
  }

  #report(error: unknown): void {
    try {
      this.#options.onReleaseError(error);
    } catch (hookError) {
      this.#options.onListenerError(hookError);
    }
  }
}

function runDue(deadlines: DeadlineHeap, now: Instant): void {
  for (let due = deadlines.takeDue(now.monotonicMs); due !== undefined; due = deadlines.takeDue(now.monotonicMs)) {
    due.onDue(now);
  }
}

function ignore(): void {}

function closedError(): LockdError {
  return new LockdError('LOCKD_CLOSED', 'the client is closed', { retryable: false, outcome: 'unknown' });
}

function unacknowledgedError(): LockdError {
  const message = 'the client was closed before an answer came; what it held is free after the TTL of its session';
  return new LockdError('LOCKD_OUTCOME_UNKNOWN', message, { retryable: false, outcome: 'unknown' });
}

function expiredError(): LockdError {
  return new LockdError(
    'LOCKD_SESSION_EXPIRED',
    'the session ended before an answer came: everything it held is lost; a new session is opened, so try again',
    {
      retryable: true,
      outcome: 'unknown',
    },
  );
}
