import type { Clock, Instant } from './clock.ts';
import { Connector } from './connector.ts';
import type { DeadlineHeap } from './deadline-heap.ts';
import { closedError, LockdError, overloadedError, type Refusal, refusalError, unacknowledgedError } from './errors.ts';
import { Emitter } from './events.ts';
import { LeaderRouting } from './leader-routing.ts';
import type { Link } from './link.ts';
import { LockRequest, type RequestHost } from './lock-request.ts';
import { Deferred, PlainOperation } from './operation.ts';
import { type ClientMessage, isErrorCode, type OpenOptions, type ServerMessage } from './protocol/index.ts';
import { Queries } from './queries.ts';
import type { Random } from './random.ts';
import type { RequestResult, RequestSpec } from './request-spec.ts';
import type { Session } from './session.ts';
import { SessionKeeper, STALL_MS } from './session-keeper.ts';
import { Timetable } from './timetable.ts';
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

/**
 * What all calls of a client come together in: the connector finds the node, the keeper has the sessions, the timetable the
 * deadlines. Here what the user wants becomes operations, one frame a turn, and what the node says finds its way.
 */
export class ClientCore implements RequestHost {
  readonly events: Emitter;
  readonly timetable: Timetable;
  readonly leases: DeadlineHeap;
  readonly waits: DeadlineHeap;

  readonly #options: CoreOptions;
  readonly #clock: Clock;
  readonly #routing: LeaderRouting;
  readonly #connector: Connector;
  readonly #keeper: SessionKeeper;
  readonly #queries: Queries;
  /** Messages that belong to the connection, in front of the sessions' operations. */
  readonly #control: ClientMessage[] = [];
  #nextId = 1;
  #isFlushScheduled = false;

  /** Until the first session is open. */
  #opening: Deferred<void> | undefined;
  #closed: Promise<void> | undefined;
  #isClosing = false;
  #isStopped = false;

  constructor(options: CoreOptions, parts: CoreParts) {
    this.#options = options;
    this.#clock = parts.clock;
    this.events = new Emitter(options.onListenerError);
    const random = (): number => parts.random.next();
    this.#routing = new LeaderRouting(options.endpoints, random);
    this.#connector = new Connector(this, options, this.#routing, {
      clock: parts.clock,
      transport: parts.transport,
      random,
    });
    this.#connector.ttlMs = options.ttlMs;
    this.timetable = new Timetable(parts.clock, this);
    this.leases = this.timetable.leases;
    this.waits = this.timetable.waits;
    this.#keeper = new SessionKeeper(this, options, parts.random);
    this.#queries = new Queries(options, this.timetable);
  }

  get session(): Session {
    return this.#keeper.current;
  }

  get clusterId(): string | null {
    return this.#connector.clusterId;
  }

  get endpoints(): readonly string[] {
    return this.#routing.endpoints;
  }

  now(): Instant {
    return this.#clock.now();
  }

  // What the user wants.

  /** Resolves when the first session is open. */
  connect(): Promise<void> {
    const opening = new Deferred<void>();
    this.#opening = opening;
    const now = this.now();
    const { connectTimeoutMs, endpoints } = this.#options;
    const timeout = this.timetable.alarmIn(connectTimeoutMs, now, () => {
      const message = `no session within ${connectTimeoutMs} ms at ${endpoints.join(', ')}: ${this.#connector.lastFailure}`;
      this.#failOpening(new LockdError('LOCKD_NO_QUORUM', message, { retryable: true, outcome: 'not-applied' }));
    });
    this.#connector.start(now);
    const done = (): void => this.waits.remove(timeout);
    opening.promise.then(done, done);
    return opening.promise;
  }

  /** Sends an acquire. Rejects with LOCKD_CLOSED, LOCKD_OVERLOADED or the signal's reason without sending. */
  request(spec: RequestSpec): Promise<RequestResult> {
    const now = this.now();
    this.enforceLeases(now);
    if (this.#isClosing) return Promise.reject(closedError());
    if (spec.signal?.aborted === true) return Promise.reject(spec.signal.reason as Error);
    const { session } = this;
    const { maxPending, requestTimeoutMs } = this.#options;
    if (session.queuedCount >= maxPending) {
      const message = `${maxPending} operations of this client wait to be sent: slow down, or wait for earlier ones`;
      return Promise.reject(overloadedError(message));
    }
    const request = new LockRequest(this, session, spec);
    // Trying once still needs a bound on the answer.
    request.begin(now, spec.waitMs === 0 ? requestTimeoutMs : spec.waitMs);
    session.submit(request);
    this.flushSoon();
    return request.deferred.promise;
  }

  /** An operation of the session without a request of its own. */
  operate(build: (session: number, seq: number, acked: number) => ClientMessage): Promise<unknown> {
    this.enforceLeases(this.now());
    if (this.#isClosing) return Promise.reject(closedError());
    const operation = new PlainOperation(build);
    this.session.submitUrgent(operation);
    this.flushSoon();
    return operation.deferred.promise;
  }

  /** A read: repeated on the next connection; rejects with LOCKD_NO_QUORUM after `requestTimeoutMs`. */
  query(build: (id: number) => ClientMessage): Promise<unknown> {
    const now = this.now();
    this.enforceLeases(now);
    if (this.#isClosing) return Promise.reject(closedError());
    if (this.#queries.isFull) return Promise.reject(overloadedError('too many reads wait for their answer'));
    const id = this.nextId();
    const answer = this.#queries.add(id, build, now, () => this.#connector.lastFailure);
    if (this.isLinked) this.say(build(id));
    return answer;
  }

  releaseQuietly(request: LockRequest): Promise<unknown> {
    const now = this.now();
    this.enforceLeases(now);
    if (request.isReleased || request.loss(now) !== undefined) return Promise.resolve();
    const what = `the release of ${JSON.stringify(request.spec.name)} was not acknowledged`;
    return this.#bounded(request.release(), now, what, 'it goes on in the background');
  }

  /** Releases everything, ends the session, closes the connection. Takes at most `releaseTimeoutMs`; never rejects. */
  close(): Promise<void> {
    this.#closed ??= this.#isStopped ? Promise.resolve() : this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#isClosing = true;
    const now = this.now();
    this.enforceLeases(now);
    const { session } = this;
    this.#keeper.dropRequests();
    this.#queries.failAll(closedError());
    let isClean = true;
    if (session.id !== 0 && !session.isOver) {
      // After the releases that are under way, so that those who await them hear the truth.
      const ended = this.#keeper.finish();
      const what = 'the end of the session was not acknowledged';
      isClean = await this.#bounded(ended, now, what, 'the service ends it after its TTL');
    }
    this.#stop(isClean);
  }

  /** Waits for `action`, at most `releaseTimeoutMs`; whether it was done by then. What goes wrong is reported; never rejects. */
  #bounded(action: Promise<void>, now: Instant, what: string, butThen: string): Promise<boolean> {
    const timeoutMs = this.#options.releaseTimeoutMs;
    const settled = new Deferred<boolean>();
    const bound = this.timetable.alarmIn(timeoutMs, now, () => {
      const message = `${what} within ${timeoutMs} ms; ${butThen}`;
      this.#report(new LockdError('LOCKD_OUTCOME_UNKNOWN', message, { retryable: false, outcome: 'unknown' }));
      settled.resolve(false);
    });
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

  #report(error: unknown): void {
    try {
      this.#options.onReleaseError(error);
    } catch (hookError) {
      this.#options.onListenerError(hookError);
    }
  }

  #failOpening(error: LockdError): void {
    const opening = this.#opening;
    this.#opening = undefined;
    this.#stop(true);
    opening?.reject(error);
  }

  #stop(isClean: boolean): void {
    this.#isClosing = true;
    this.#keeper.stop(isClean ? closedError() : unacknowledgedError());
    this.#isStopped = true;
    this.timetable.stop();
    this.#connector.stop();
  }

  // Time.

  enforceLeases(now: Instant): void {
    this.timetable.enforce(now);
  }

  enforce(now: Instant): void {
    this.#keeper.enforce(now);
  }

  wakeAt(dueMs: number): void {
    this.timetable.wakeAt(dueMs);
  }

  get isAlone(): boolean {
    return this.#connector.link === undefined;
  }

  get isAwaited(): boolean {
    return this.session.isAwaited;
  }

  onTime(now: Instant): void {
    this.#keeper.watch(now);
    const { link } = this.#connector;
    if (link !== undefined && this.#keeper.isAttachStalled(now)) {
      this.#connector.giveUp(link, `${link.endpoint} did not attach the session within ${STALL_MS} ms`, now);
    }
    this.#connector.onTime(now);
    this.arm(now);
  }

  arm(now: Instant): void {
    const dueMs = Math.min(this.#keeper.dueMs(now), this.#connector.dueMs(now));
    if (dueMs !== Number.POSITIVE_INFINITY) this.wakeAt(dueMs);
  }

  // Sending.

  nextId(): number {
    return this.#nextId++;
  }

  say(message: ClientMessage): void {
    this.#control.push(message);
    this.flushSoon();
  }

  flushSoon(): void {
    if (this.#isFlushScheduled) return;
    if (this.#connector.link === undefined) {
      // Nobody to send it to: at least the process shall not end before whoever awaits it has heard.
      this.arm(this.now());
      return;
    }
    this.#isFlushScheduled = true;
    this.#clock.endOfTurn(this.#flush);
  }

  readonly #flush = (): void => {
    this.#isFlushScheduled = false;
    const { link } = this.#connector;
    if (link === undefined || this.#isStopped) return;
    const now = this.now();
    this.enforceLeases(now);
    if (this.#connector.link !== link) return;
    const out = this.#control.splice(0);
    this.#keeper.take(now, out);
    if (out.length === 0) return;
    link.silentSinceMs ??= now.monotonicMs;
    link.send(out);
    this.arm(now);
  };

  // From the connector.

  claimSessions(): readonly (readonly [session: number, nonce: string, epoch: number])[] {
    return this.#keeper.claim();
  }

  get isLinked(): boolean {
    return this.#connector.link !== undefined;
  }

  get welcomeIndex(): number {
    return this.#connector.link?.welcome?.index ?? 0;
  }

  onLink(link: Link, isAttaching: boolean, now: Instant): void {
    this.#control.length = 0;
    this.#keeper.linked(isAttaching, new Set(link.hello?.sessions?.map(([session]) => session)), now);
    this.#queries.repeat(this.#control);
    this.flushSoon();
    this.arm(now);
  }

  onUnlinked(link: Link, reason: string): void {
    this.#control.length = 0;
    this.#keeper.unlinked();
    this.events.emit('disconnected', { endpoint: link.endpoint, reason });
  }

  onFrameEnd(): void {
    // Answers make room in the window, and repeats may be due.
    if (this.#keeper.hasWork) this.flushSoon();
    if (this.#isClosing) this.#keeper.noticeGivenBack();
  }

  onMessage(link: Link, message: ServerMessage): void {
    // What the sessions are told counts only on their own connection.
    if (link !== this.#connector.link) {
      this.#onNodeMessage(link, message);
      return;
    }
    const keeper = this.#keeper;
    switch (message[0]) {
      case 'granted':
        keeper.find(message[1])?.granted(message[2], message[3], message[4], link.welcome?.isLeader === true);
        return;
      case 'ok':
        keeper.find(message[1])?.ok(message[2], message[3]);
        return;
      case 'waiting':
        keeper.find(message[1])?.waiting(message[2], message[3]);
        return;
      case 'ended':
        keeper.find(message[1])?.ended(message[2], message[3]);
        return;
      case 'renewed':
        keeper.renewed(message[1], message[2], this.#now);
        return;
      case 'requests': {
        const session = keeper.find(message[1]);
        if (session === undefined) return;
        for (const state of message[2]) session.told(state);
        session.askAnswered();
        if (session.hasWork) this.flushSoon();
        return;
      }
      case 'opened':
        this.#opened(link, message[1], message[2], message[3]);
        return;
      case 'attached':
        this.#attached(link, message[2], message[3]);
        return;
      case 'session-ended':
        keeper.ended(message[1], this.now());
        return;
      case 'reattach': {
        const session = keeper.find(message[1]);
        if (session !== undefined) keeper.attach(session, this.now());
        return;
      }
      case 'result':
        this.#queries.answered(message[1], message[2]);
        return;
      case 'error':
        if (message[1] !== 0 || message[2] !== 0) this.#refused(message);
        else this.#onNodeMessage(link, message);
        return;
      default:
        this.#onNodeMessage(link, message);
    }
  }

  /** What a node says of itself and the cluster. */
  #onNodeMessage(link: Link, message: ServerMessage): void {
    switch (message[0]) {
      case 'error':
        if (message[1] === 0 && message[2] === 0) this.#refusedByNode(link, message[3], message[4]);
        return;
      case 'leader':
        this.#connector.leaderChanged(link, message[1]);
        return;
      case 'members':
        this.#connector.membersChanged(message[1]);
        return;
      case 'goodbye':
        link.fail(`the node is stopping${message[1] === '' ? '' : ` (${message[1]})`}`);
        return;
      default:
    }
  }

  readonly #now = (): Instant => this.#clock.now();

  #opened(link: Link, requestId: number, id: number, ttlMs: number): void {
    const now = this.now();
    if (!this.#keeper.opened(requestId, id, ttlMs, now)) return;
    this.#connector.ttlMs = ttlMs;
    this.#connector.succeeded(link);
    this.#emitConnected(link);
    this.events.emit('opened', { session: id });
    this.#opening?.resolve();
    this.#opening = undefined;
    this.flushSoon();
    this.arm(now);
  }

  #attached(link: Link, id: number, epoch: number): void {
    const now = this.now();
    if (!this.#keeper.attached(id, epoch, now)) return;
    this.#connector.succeeded(link);
    if (id === this.session.id) this.#emitConnected(link);
    this.flushSoon();
    this.arm(now);
  }

  #emitConnected(link: Link): void {
    this.events.emit('connected', {
      endpoint: link.endpoint,
      node: link.welcome?.node ?? '',
      isLeader: link.welcome?.isLeader === true,
    });
  }

  #refused(message: Extract<ServerMessage, readonly ['error', ...unknown[]]>): void {
    const [, session, number, code, text, outcome, retryable, detail] = message;
    const refusal: Refusal = {
      code: isErrorCode(code) ? code : 'LOCKD_PROTOCOL',
      message: text,
      outcome,
      retryable,
      detail,
    };
    const now = this.now();
    if (session !== 0) this.#keeper.refused(session, number, refusal, now);
    else if (!this.#queries.failed(number, refusalError(refusal))) this.#keeper.requestRefused(number, refusal, now);
  }

  // From the keeper.

  get isClosing(): boolean {
    return this.#isClosing;
  }

  noteFailure(text: string): void {
    this.#connector.noteFailure(text);
  }

  /** What no other try will change ends `connect`; later the client goes on trying. */
  onOpenRefused(refusal: Refusal): boolean {
    // Too old an `openedAfter`: only the welcome of another connection has a newer index.
    if (refusal.code === 'LOCKD_SESSION_EXPIRED') this.#connector.link?.fail(refusal.message);
    const isFinal = refusal.code === 'LOCKD_UNAUTHORIZED' || refusal.code === 'LOCKD_INVALID';
    if (!isFinal || this.#opening === undefined) return false;
    this.#failOpening(refusalError(refusal));
    return true;
  }

  #refusedByNode(link: Link, code: string, text: string): void {
    const isFinal = code === 'LOCKD_UNAUTHORIZED' || code === 'LOCKD_PROTOCOL';
    if (isFinal && this.#opening !== undefined) {
      const message = `${link.endpoint}: ${text}`;
      this.#failOpening(new LockdError(code, message, { retryable: false, outcome: 'not-applied' }));
    } else {
      link.fail(text);
    }
  }
}
