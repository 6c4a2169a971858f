import type { Instant } from './clock.ts';
import { closedError, expiredError, type LossReason, type Refusal } from './errors.ts';
import type { Emitter } from './events.ts';
import { LockRequest } from './lock-request.ts';
import { Deferred, type Operation, PlainOperation } from './operation.ts';
import type { ClientMessage, OpenOptions } from './protocol/index.ts';
import type { Random } from './random.ts';
import { Session } from './session.ts';
import type { Timetable } from './timetable.ts';

/** What the keeper needs of the client it belongs to. */
export interface KeeperHost {
  readonly timetable: Timetable;
  readonly events: Emitter;
  /** There is a connection. */
  readonly isLinked: boolean;
  /** The index of its welcome. */
  readonly welcomeIndex: number;
  readonly isClosing: boolean;
  /** Number of the next request of the connection. */
  nextId(): number;
  /** Says this in front of the sessions' operations, at the end of the turn. Only where there is a connection. */
  say(message: ClientMessage): void;
  flushSoon(): void;
  arm(now: Instant): void;
  /** No session was opened. Returns true where that is the end of the client. */
  onOpenRefused(refusal: Refusal): boolean;
  /** For people: will be tried again. */
  noteFailure(text: string): void;
}

export interface KeeperOptions {
  readonly ttlMs: number;
  readonly openOptions: OpenOptions | null;
}

/** An operation, or an attach, without an answer on a connection that is otherwise alive is sent again after this. */
export const STALL_MS = 5000;
/** Refused for now (no leader, overload): when to send again. */
const RETRY_BASE_MS = 50;
const RETRY_MAX_MS = 1000;
/** Without a refusal for this long, the next one is the first again. */
const RETRY_CALM_MS = 5000;
/** Old sessions that are still being ended; beyond that the oldest is left to its deadline. */
const MAX_CLOSING = 16;

/**
 * The life of a client's sessions: opened, attached to each new connection, renewed, lost, ended. There is one that the
 * client works with, and those before it that the service may not know to be over.
 */
export class SessionKeeper {
  readonly #host: KeeperHost;
  readonly #options: KeeperOptions;
  readonly #random: Random;
  #current: Session;
  /** Lost sessions that the service may not know to be over. */
  #closing: Session[] = [];
  #isSuspect = false;
  /** Settles when the present session has given back everything that it can. */
  #givenBack: Deferred<void> | undefined;

  /** Refused for now, in the order of the refusals: sent again together, so that requests for a name keep their order. */
  #retrying: { readonly session: Session; readonly operation: Operation }[] = [];
  #retries = 0;
  #lastRefusalMs = 0;

  constructor(host: KeeperHost, options: KeeperOptions, random: Random) {
    this.#host = host;
    this.#options = options;
    this.#random = random;
    this.#current = new Session(random.secret(), options.ttlMs);
  }

  /** The one that the client works with. */
  get current(): Session {
    return this.#current;
  }

  *all(): Generator<Session> {
    yield this.#current;
    yield* this.#closing;
  }

  find(id: number): Session | undefined {
    if (this.#current.id === id) return this.#current;
    return this.#closing.find((session) => session.id === id);
  }

  // Time.

  enforce(now: Instant): void {
    const session = this.#current;
    if (!session.isOver && session.renewer?.state(now) === 'lost') this.#lose('session-expired', now, false);
  }

  /** When `watch` should be called next. */
  dueMs(now: Instant): number {
    let due = Number.POSITIVE_INFINITY;
    const { renewer } = this.#current;
    if (renewer !== undefined && !this.#current.isOver) {
      if (this.#current.isAttached) due = renewer.dueMs;
      due = Math.min(due, now.monotonicMs + renewer.changesInMs(now));
    }
    if (!this.#host.isLinked) return due;
    due = Math.min(due, stallsAtMs(this.#current, now));
    for (const session of this.#closing) due = Math.min(due, stallsAtMs(session, now));
    return due;
  }

  /** Renewals, what the user should know about them, and what has been without an answer for too long. */
  watch(now: Instant): void {
    const session = this.#current;
    this.#watchLease(now);
    if (
      session.isAttached &&
      !session.isOver &&
      (session.renewer?.dueMs ?? Number.POSITIVE_INFINITY) <= now.monotonicMs
    )
      this.#host.flushSoon();
    for (const each of this.all()) {
      if (each.isAttached && each.stalledMs(now) >= STALL_MS) this.attach(each, now);
    }
  }

  /** The connection has had an attach or an open without an answer for too long. */
  isAttachStalled(now: Instant): boolean {
    for (const session of this.all()) {
      if (session.attachSentMs !== undefined && now.monotonicMs - session.attachSentMs >= STALL_MS) return true;
    }
    return false;
  }

  #watchLease(now: Instant): void {
    const session = this.#current;
    const { renewer } = session;
    if (renewer === undefined || session.isOver) return;
    const isSuspect = renewer.state(now) === 'suspect';
    if (isSuspect === this.#isSuspect) return;
    this.#isSuspect = isSuspect;
    const { events } = this.#host;
    if (isSuspect) events.emit('suspect', { session: session.id, remainingMs: renewer.remainingMs(now) });
    else events.emit('recovered', { session: session.id });
  }

  // The connection.

  /** For a hello: what is open, each under its next epoch. */
  claim(): [session: number, nonce: string, epoch: number][] {
    const claimed: [number, string, number][] = [];
    for (const session of this.all()) {
      if (session.id !== 0) claimed.push([session.id, session.nonce, ++session.epoch]);
    }
    return claimed;
  }

  /** There is a connection. `isAttaching`: its hello attaches what was open when it was sent. */
  linked(isAttaching: boolean, claimed: ReadonlySet<number>, now: Instant): void {
    for (const session of this.all()) {
      if (session.id === 0) this.#sendOpen(session, now);
      else if (isAttaching && claimed.has(session.id)) {
        session.attachSentMs = now.monotonicMs;
        session.attachId = 0;
      } else this.attach(session, now);
    }
  }

  unlinked(): void {
    for (const session of this.all()) session.detached();
  }

  /** Appends what may be sent now. */
  take(now: Instant, out: ClientMessage[]): void {
    const { renewer } = this.#current;
    // Renewals first: they must not wait behind bulk.
    if (this.#current.isAttached && renewer !== undefined && !this.#current.isOver && renewer.dueMs <= now.monotonicMs)
      out.push(['renew', this.#current.id, renewer.renew(now)]);
    if (this.#current.isAttached) this.#current.take(now, out);
    for (const session of this.#closing) if (session.isAttached) session.take(now, out);
  }

  get hasWork(): boolean {
    if (this.#current.isAttached && this.#current.hasWork) return true;
    return this.#closing.some((session) => session.isAttached && session.hasWork);
  }

  #sendOpen(session: Session, now: Instant): void {
    session.openedAfter ??= this.#host.welcomeIndex;
    session.openSentAt ??= now;
    session.attachSentMs = now.monotonicMs;
    session.attachId = this.#host.nextId();
    const { ttlMs, openOptions } = this.#options;
    this.#host.say(['open', session.attachId, session.nonce, ttlMs, session.openedAfter, openOptions]);
  }

  /** Attaches it to this connection under its next epoch; what has no answer is sent again after that. */
  attach(session: Session, now: Instant): void {
    session.detached();
    session.attachSentMs = now.monotonicMs;
    session.attachId = this.#host.nextId();
    this.#host.say(['attach', session.attachId, session.id, session.nonce, ++session.epoch]);
  }

  // What the service says.

  /** Returns whether it is the answer to the present `open`, and the session can be used. */
  opened(requestId: number, id: number, ttlMs: number, now: Instant): boolean {
    const session = this.#current;
    if (session.id !== 0 || session.attachSentMs === undefined || session.attachId !== requestId) return false;
    session.opened(id, ttlMs);
    this.#isSuspect = false;
    if (session.state(now) === 'lost') {
      this.#lose('session-expired', now, false);
      return false;
    }
    return true;
  }

  /** Returns whether it is the answer to the newest attach; an earlier one says nothing. */
  attached(id: number, epoch: number, now: Instant): boolean {
    const session = this.find(id);
    if (session === undefined || epoch !== session.epoch) return false;
    session.attached();
    this.#retries = 0;
    const { renewer } = session;
    // Whoever leads now has not heard of the old connection's renewals.
    if (session === this.#current && renewer !== undefined) this.#host.say(['renew', session.id, renewer.renew(now)]);
    return true;
  }

  renewed(id: number, stamp: number, now: () => Instant): void {
    if (this.#current.id !== id) return;
    this.#current.renewer?.acknowledged(stamp);
    if (this.#isSuspect) this.#watchLease(now());
  }

  /** The service says that it is over. */
  ended(id: number, now: Instant): void {
    const session = this.find(id);
    if (session === undefined) return;
    if (session === this.#current && !this.#host.isClosing) this.#lose('session-ended', now, true);
    else session.end('session-ended', closedError());
  }

  /** `number` 0: the attach that the hello asked for. */
  refused(id: number, number: number, refusal: Refusal, now: Instant): void {
    const session = this.find(id);
    if (session === undefined) return;
    if (number === 0) this.#attachRefused(session, refusal, now);
    else if (refusal.code === 'LOCKD_SESSION_EXPIRED') {
      // Over, or only not attached here: the answer to an attach tells, and what has no answer goes on after it.
      if (session.isAttached) this.attach(session, now);
    } else {
      const operation = session.refused(number, refusal);
      if (operation !== undefined) this.#retryLater(session, operation, now);
    }
  }

  /** An open, or an attach by itself. */
  requestRefused(requestId: number, refusal: Refusal, now: Instant): void {
    for (const session of this.all()) {
      if (session.attachSentMs === undefined || session.attachId !== requestId) continue;
      if (session.id === 0) this.#openRefused(session, refusal, now);
      else this.#attachRefused(session, refusal, now);
      return;
    }
  }

  #openRefused(session: Session, refusal: Refusal, now: Instant): void {
    session.attachSentMs = undefined;
    this.#host.noteFailure(refusal.message);
    if (this.#host.onOpenRefused(refusal)) return;
    if (refusal.code === 'LOCKD_SESSION_EXPIRED') {
      // Too old an `openedAfter`, or the session of this secret is over: begin again with a new one.
      const unsent = session.end('session-ended', expiredError());
      this.#current = new Session(this.#random.secret(), this.#options.ttlMs);
      this.#carryOver(unsent);
    }
    this.#afterRetryDelay(now, (later) => {
      const current = this.#current;
      if (this.#host.isLinked && current.id === 0 && current.attachSentMs === undefined) this.#sendOpen(current, later);
    });
  }

  #attachRefused(session: Session, refusal: Refusal, now: Instant): void {
    session.attachSentMs = undefined;
    if (refusal.code === 'LOCKD_SESSION_EXPIRED') {
      this.ended(session.id, now);
      return;
    }
    this.#host.noteFailure(refusal.message);
    this.#afterRetryDelay(now, (later) => {
      if (this.#host.isLinked && !session.isOver && !session.isAttached && session.attachSentMs === undefined)
        this.attach(session, later);
    });
  }

  // Sending again.

  #retryLater(session: Session, operation: Operation, now: Instant): void {
    if (now.monotonicMs - this.#lastRefusalMs > RETRY_CALM_MS) this.#retries = 0;
    this.#lastRefusalMs = now.monotonicMs;
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
    this.#host.flushSoon();
  }

  #afterRetryDelay(now: Instant, action: (now: Instant) => void): void {
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_BASE_MS * 2 ** Math.min(this.#retries++, 10));
    const delayMs = ceiling / 2 + (this.#random.next() * ceiling) / 2;
    this.#host.timetable.alarmIn(delayMs, now, action);
  }

  // The end of a session.

  /** Final: all it held is lost. The service is told to end it, unless it said so itself or a lock-delay is to begin, and a new one is opened. */
  #lose(reason: LossReason, now: Instant, isKnownEnded: boolean): void {
    const lost = this.#current;
    if (lost.isOver) return;
    const wasAttached = lost.isAttached;
    const isDelayed = lost.holdsWithDelay;
    const unsent = lost.end(reason, expiredError());
    this.#isSuspect = false;
    // Closed by us its locks would count as released, and no lock-delay begin: then its deadline ends it, in a moment.
    if (!isKnownEnded && lost.id !== 0 && !isDelayed) this.#endRemotely(lost, wasAttached);
    this.#current = new Session(this.#random.secret(), this.#options.ttlMs);
    this.#carryOver(unsent);
    this.#host.events.emit('lost', { session: lost.id, reason });
    if (this.#host.isLinked) this.#sendOpen(this.#current, now);
  }

  /** Repeats `close` until it is acknowledged or the session is known to be over. */
  #endRemotely(session: Session, isAttached: boolean): void {
    session.isAttached = isAttached;
    this.#closing.push(session);
    if (this.#closing.length > MAX_CLOSING) this.#closing.shift();
    void this.close(session).then(() => {
      const index = this.#closing.indexOf(session);
      if (index >= 0) this.#closing.splice(index, 1);
    });
  }

  /** Ends it; settles when that is acknowledged, or the session known to be over. Never rejects. */
  close(session: Session): Promise<void> {
    const close = new PlainOperation((id, seq, acked) => ['close', id, seq, acked]);
    session.closing = close;
    session.submitUrgent(close);
    this.#host.flushSoon();
    return close.deferred.promise.then(ignore, ignore);
  }

  /** What the old session never sent goes on in the present one. */
  #carryOver(unsent: readonly Operation[]): void {
    for (const operation of unsent) {
      if (operation instanceof LockRequest && !operation.moveTo(this.#current, expiredError())) continue;
      this.#current.submit(operation);
    }
  }

  // The end of the client.

  /** Its locks are lost, and nothing new is taken. What gives back goes on. */
  dropRequests(): void {
    const error = closedError();
    if (this.#current.isEndingWithDelay) this.#current.giveBackRequests('client-closed', error);
    else this.#current.dropRequests('client-closed', error);
    for (const operation of this.#current.takeUnsent()) operation.abandoned(error);
    this.#retrying = this.#retrying.filter(({ operation }) => {
      if (operation.isAcquire) operation.abandoned(error);
      return !operation.isAcquire;
    });
  }

  /** After `dropRequests`: settles when everything is given back, as far as that is ours to do. Never rejects. */
  finish(): Promise<void> {
    const session = this.#current;
    if (!session.isEndingWithDelay) return this.close(session);
    // A `close` would count as a release of what was lost, and no lock-delay begin: the session is left to its deadline.
    this.#givenBack = new Deferred<void>();
    this.noticeGivenBack();
    return this.#givenBack.promise;
  }

  /** Called after each frame of answers. */
  noticeGivenBack(): void {
    if (this.#current.isIdle && this.#retrying.length === 0) this.#givenBack?.resolve();
  }

  stop(error: ReturnType<typeof closedError>): void {
    for (const operation of this.#current.end('client-closed', error)) operation.abandoned(error);
    for (const { operation } of this.#retrying) operation.abandoned(error);
  }
}

/** When its attach, or its oldest operation, has been without an answer for too long. */
function stallsAtMs(session: Session, now: Instant): number {
  const attachMs = session.attachSentMs === undefined ? Number.POSITIVE_INFINITY : session.attachSentMs + STALL_MS;
  if (!session.isAttached || session.unansweredCount === 0) return attachMs;
  return Math.min(attachMs, now.monotonicMs + Math.max(1, STALL_MS - session.stalledMs(now)));
}

function ignore(): void {}
