import type { Instant } from './clock.ts';
import type { Deadline, DeadlineHeap } from './deadline-heap.ts';
import { LockdError, LockLost, type LossReason, type Refusal, refusalError } from './errors.ts';
import { Cancellation, Discard, Release } from './give-back.ts';
import { HeldLock } from './held-lock.ts';
import { Confirmation } from './hold-operations.ts';
import { elapsedMs, laterOf, usableMs } from './lease-clock.ts';
import { Deferred, Operation } from './operation.ts';
import type { ClientMessage, EndReason, GrantDetail } from './protocol/index.ts';
import { endError, type RequestResult, type RequestSpec } from './request-spec.ts';
import type { Session } from './session.ts';
import { shownHolder } from './shown.ts';

/** What a request needs of the client it belongs to. */
export interface RequestHost {
  now(): Instant;
  /** When held locks are lost. */
  readonly leases: DeadlineHeap;
  /** When patience ends. */
  readonly waits: DeadlineHeap;
  /** Aborts whatever is overdue: called before anything else settles. */
  enforceLeases(now: Instant): void;
  /** What has been submitted leaves at the end of this turn. */
  flushSoon(): void;
  /** The timer fires at this time of the monotonic clock, or before. */
  wakeAt(dueMs: number): void;
  /** Settles when the lock is released or that has taken too long; failures go to the hook. Never rejects. */
  releaseQuietly(request: LockRequest): Promise<unknown>;
}

/**
 * - `pending`: not answered yet, or not sent.
 * - `waiting`: in the queue of the name.
 * - `confirming`: granted by push with its own lease, which is restarted before the caller hears of it.
 * - `held`; `over`: released, lost, refused or cancelled.
 */
type State = 'pending' | 'waiting' | 'confirming' | 'held' | 'over';

/** One request for a lock for its whole life: waiter, then grant. Also the operation that asks for it, and its own deadline. */
export class LockRequest extends Operation implements Deadline {
  dueMs = 0;
  heapIndex = -1;

  override readonly isAcquire: boolean = true;
  readonly spec: RequestSpec;
  readonly deferred: Deferred<RequestResult> = new Deferred<RequestResult>();
  token = 0;
  slot: number | undefined;
  position: number | undefined;
  /** The request that really holds, where this one re-entered; else itself. */
  root: LockRequest = this;
  holdCount = 0;
  lossReason: LossReason | undefined;
  isReleased = false;

  readonly #host: RequestHost;
  #session: Session;
  #state: State = 'pending';
  #isCancelled = false;
  #isDiscarded = false;
  #leaseMs: number | undefined;
  #leaseSince: Instant | undefined;
  /** Of the last extension that was answered. */
  #leaseSeq = 0;
  #maxHoldSince: Instant | undefined;
  #sharers: Set<LockRequest> | undefined;
  #controller: AbortController | undefined;

  constructor(host: RequestHost, session: Session, spec: RequestSpec) {
    super();
    this.#host = host;
    this.#session = session;
    this.spec = spec;
  }

  get session(): Session {
    return this.#session;
  }

  get handle(): number {
    return this.seq;
  }

  /** What the server says about it after a reconnect matters. */
  get wantsNews(): boolean {
    return !this.#isCancelled && !this.isReleased && this.#state !== 'over' && this.#state !== 'pending';
  }

  /** Starts waiting at `now`: from here the wait deadline and the user's signal count. */
  begin(now: Instant, patienceMs: number): void {
    this.#host.waits.add(this, now.monotonicMs + patienceMs);
    this.#host.wakeAt(this.dueMs);
    this.spec.signal?.addEventListener('abort', this);
  }

  /**
   * The session is lost and was never told of it: it goes on in the next one, unless it names grants, which are lost;
   * their numbers would mean others there. Returns whether it does.
   */
  moveTo(session: Session, error: LockdError): boolean {
    const { options } = this.spec;
    if (options?.reenter !== undefined || options?.holding !== undefined) {
      this.abandoned(error);
      return false;
    }
    this.#session = session;
    return true;
  }

  /** The user's AbortSignal, which calls this as its listener. */
  handleEvent(): void {
    this.#host.enforceLeases(this.#host.now());
    this.cancel(this.spec.signal?.reason);
  }

  override message(session: number, seq: number, acked: number): ClientMessage {
    const { wireNames, waitMs, options } = this.spec;
    const leaseMs = this.spec.leaseMs ?? null;
    return typeof wireNames === 'string'
      ? ['acquire', session, seq, acked, wireNames, waitMs, leaseMs, options]
      : ['acquire-all', session, seq, acked, wireNames, waitMs, leaseMs, options];
  }

  // What the server says.

  override granted(token: number, detail: GrantDetail | null, isImmediate: boolean, isLeadersPush: boolean): void {
    if (this.#isCancelled || this.#state === 'over') {
      this.discard();
      return;
    }
    if (this.#state === 'held' || this.#state === 'confirming') return;
    this.token = token;
    this.slot = detail?.slot;
    this.#session.requests.set(this.seq, this);
    if (detail?.shares !== undefined) this.#share(detail.shares);
    this.root.holdCount = detail?.holdCount ?? this.root.holdCount + 1;
    const firstSentAt = this.firstSentAt as Instant;
    const since = isImmediate ? firstSentAt : (this.#session.notBefore(detail?.after ?? this.seq, this) ?? firstSentAt);
    if (this.spec.options?.maxHoldMs !== undefined && this.root === this) {
      // On the leader's own connection a renewal acknowledged before this push was confirmed before the grant was made.
      this.#maxHoldSince = isLeadersPush ? laterOf(since, this.#session.renewer?.since) : since;
    }
    this.#leaseMs = this.root === this ? (detail?.leaseMs ?? this.spec.leaseMs) : undefined;
    if (this.#leaseMs !== undefined) {
      this.#leaseSince = since;
      if (!isImmediate) {
        // Made some time ago, so an unknown part of the lease is over: it is restarted, once, before the caller hears of it.
        this.#state = 'confirming';
        this.#session.submitUrgent(new Confirmation(this, this.#leaseMs));
        this.#host.flushSoon();
        return;
      }
    }
    this.#hold();
  }

  override isWaiting(position: number): void {
    if (this.#state === 'over') return;
    this.position = position;
    if (this.#state !== 'pending') return;
    this.#state = 'waiting';
    this.#session.requests.set(this.seq, this);
    const maxHoldMs = this.spec.options?.maxHoldMs;
    if (maxHoldMs !== undefined) this.#session.renewer?.hurry(maxHoldMs / 4);
  }

  override ended(reason: EndReason): void {
    if (this.#state === 'held') {
      this.lose(reason === 'wait-timeout' || reason === 'cancelled' || reason === 'deadlock' ? 'unknown' : reason);
      return;
    }
    if (this.#state === 'over') return;
    if (
      reason === 'unknown' &&
      this.#state === 'waiting' &&
      !this.#isCancelled &&
      this.spec.options?.onceKey !== undefined
    ) {
      // Its turn came while nobody listened, and found the work done: asking anew gets that answer.
      this.#session.requests.delete(this.seq);
      this.seq = 0;
      this.isRepeated = false;
      this.#state = 'pending';
      this.#session.submit(this);
      this.#host.flushSoon();
      return;
    }
    const wasConfirming = this.#state === 'confirming';
    this.#finish();
    if (!this.#isCancelled) this.deferred.reject(wasConfirming ? this.#endedEarly() : endError(reason, this.spec));
  }

  /** The answer `ok` to an acquire: `once` finds a completion record. */
  override succeeded(_value: unknown): void {
    if (this.#state === 'over' || this.#state === 'held') return;
    this.#finish();
    if (!this.#isCancelled) this.deferred.resolve(undefined);
  }

  override refused(refusal: Refusal): 'retry' | undefined {
    if (this.#state === 'over' || this.#state === 'held') return undefined;
    if (!this.#isCancelled && this.spec.waitMs > 0 && refusal.code === 'LOCKD_NO_QUORUM' && refusal.retryable) {
      this.#state = 'pending';
      return 'retry';
    }
    this.#finish();
    if (this.#isCancelled) return undefined;
    if (this.spec.isTry && refusal.code === 'LOCKD_BUSY') {
      const { holder, because, retryAfterMs } = refusal.detail ?? {};
      this.deferred.resolve({ ok: false, holder: holder && shownHolder(holder), because, retryAfterMs });
    } else {
      this.deferred.reject(refusalError(refusal));
    }
    return undefined;
  }

  override abandoned(error: LockdError): void {
    if (this.#state === 'over') return;
    this.#finish();
    if (!this.#isCancelled) this.deferred.reject(error);
  }

  /** The restarted lease of a pushed grant counts from this sending. */
  confirmed(since: Instant): void {
    if (this.#isCancelled) this.discard();
    if (this.#state !== 'confirming') return;
    this.#leaseSince = since;
    this.#hold();
  }

  /** The lease of a pushed grant had ended before it could be restarted. */
  notConfirmed(refusal: Refusal): void {
    if (this.#state !== 'confirming') return;
    this.discard();
    this.#finish();
    if (this.#isCancelled) return;
    this.deferred.reject(refusal.code === 'LOCKD_NOT_HELD' ? this.#endedEarly() : refusalError(refusal));
  }

  /**
   * The lease is about to be restarted with this length. A shorter one counts at once: once it is carried out the service
   * may end the grant, whether or not the answer arrives.
   */
  extending(leaseMs: number, now: Instant): void {
    const root = this.root;
    if (root.#state !== 'held' || root.#leaseMs === undefined || usableMs(leaseMs) >= root.#ownRemainingMs(now)) return;
    root.#leaseMs = leaseMs;
    root.#leaseSince = now;
    root.#watch();
  }

  /** The extension with number `seq` is answered. Of several the last one counts, in whatever order the answers come. */
  extended(leaseMs: number, since: Instant, seq: number): void {
    const root = this.root;
    if (root.#state !== 'held' || seq < root.#leaseSeq) return;
    root.#leaseSeq = seq;
    root.#leaseMs = leaseMs;
    root.#leaseSince = since;
    root.#watch();
  }

  upgraded(token: number): void {
    this.root.token = token;
  }

  // What the user does.

  /** Rejects with `reason` at once; what became of it on the server is taken back in the background. No effect once held. */
  cancel(reason: unknown): void {
    if (this.#isCancelled || this.#state === 'held' || this.#state === 'over') return;
    this.#host.waits.remove(this);
    this.spec.signal?.removeEventListener('abort', this);
    this.deferred.reject(reason);
    if (this.seq === 0) {
      this.#state = 'over';
      this.#session.withdraw(this);
      return;
    }
    this.#isCancelled = true;
    if (this.#state === 'confirming') this.discard();
    else this.#session.submitUrgent(new Cancellation(this));
    this.#host.flushSoon();
  }

  /** The cancel is acknowledged. */
  cancelled(value: unknown): void {
    if (value === 'granted') this.discard();
    if (this.#state !== 'pending') this.#finish();
  }

  /** The lock is given back; the promise tells when that is acknowledged. */
  release(): Promise<void> {
    const now = this.#host.now();
    this.#host.enforceLeases(now);
    const loss = this.loss(now);
    if (loss !== undefined) return Promise.reject(loss);
    if (this.isReleased) {
      return Promise.reject(
        new LockdError('LOCKD_NOT_HELD', `lock ${JSON.stringify(this.spec.name)} has been released already`, {
          retryable: false,
          outcome: 'not-applied',
        }),
      );
    }
    this.isReleased = true;
    const { root } = this;
    root.holdCount--;
    root.#sharers?.delete(this);
    if (root.holdCount <= 0) this.#host.leases.remove(root);
    const operation = new Release(this);
    this.#session.submitUrgent(operation);
    this.#host.flushSoon();
    return operation.deferred.promise;
  }

  released(): void {
    const { root } = this;
    // While others share its hold, a released root stays for their deadline.
    if (root !== this) this.#finish();
    if (root.isReleased && (root.#sharers?.size ?? 0) === 0) root.#finish();
  }

  /** Gives back what nobody wants any more, once; repeated until the server knows. */
  discard(): void {
    if (this.#isDiscarded || this.isReleased || this.#session.isOver) return;
    this.#isDiscarded = true;
    this.#session.submitUrgent(new Discard(this.seq));
    this.#host.flushSoon();
  }

  // What is known about it.

  isHeld(now: Instant): boolean {
    return this.#state === 'held' && !this.isReleased && this.remainingMs(now) > 0;
  }

  remainingMs(now: Instant): number {
    if (this.#state !== 'held' || this.isReleased) return 0;
    const session = this.#session;
    if (session.isOver || session.renewer === undefined) return 0;
    return Math.max(0, Math.min(session.renewer.remainingMs(now), this.root.#ownRemainingMs(now)));
  }

  /** Held, and the name is to rest if that ends without a release. */
  get wantsDelay(): boolean {
    return this.#state === 'held' && !this.isReleased && (this.root.spec.options?.lockDelayMs ?? 0) > 0;
  }

  isSuspect(now: Instant): boolean {
    return this.#session.state(now) === 'suspect';
  }

  /** undefined while held or after an orderly release. */
  loss(now: Instant): LockLost | undefined {
    if (this.isReleased) return undefined;
    if (this.lossReason === undefined && this.#state === 'held' && this.remainingMs(now) === 0) {
      this.#host.enforceLeases(now);
      // Overdue by the wall clock alone, by less than makes the client look at every deadline.
      if (this.lossReason === undefined && this.root.#ownRemainingMs(now) <= 0) this.root.#expire(now);
    }
    return this.lossReason === undefined ? undefined : new LockLost(this.lossReason, this.spec.name, this.root.token);
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      const loss = this.loss(this.#host.now());
      if (loss !== undefined) this.#controller.abort(loss);
    }
    return this.#controller.signal;
  }

  releaseQuietly(): Promise<unknown> {
    return this.#host.releaseQuietly(this);
  }

  get host(): RequestHost {
    return this.#host;
  }

  // Deadlines.

  isOverdue(now: Instant): boolean {
    return this.#state === 'held' && this.#ownRemainingMs(now) <= 0;
  }

  onDue(now: Instant): void {
    if (this.#state === 'held') {
      if (this.#ownRemainingMs(now) > 0) this.#watch();
      else this.#expire(now);
      return;
    }
    const connection =
      this.#state === 'pending' ? ' and no node has answered: is the cluster reachable, and has it a majority?' : '';
    this.cancel(
      this.#state === 'pending' && this.spec.waitMs === 0
        ? new LockdError('LOCKD_NO_QUORUM', `no answer about ${this.#quotedName}`, {
            retryable: true,
            outcome: this.#outcome,
          })
        : new LockdError(
            'LOCKD_WAIT_TIMEOUT',
            `${this.#quotedName} was not granted within ${this.spec.waitMs} ms${connection}`,
            { retryable: true, outcome: this.#outcome },
          ),
    );
  }

  /** Ends a held request whose own lease or `maxHold` has passed. */
  #expire(now: Instant): void {
    const isLease =
      this.#leaseSince !== undefined &&
      this.#leaseMs !== undefined &&
      elapsedMs(this.#leaseSince, now) >= usableMs(this.#leaseMs);
    const isDelayed = this.wantsDelay;
    this.lose(isLease ? 'lease-expired' : 'max-hold');
    // The service would take it for a release, after which no lock-delay begins: it ends the grant itself in a moment.
    if (isDelayed) this.#session.lostWithDelay(this.seq);
    else this.discard();
  }

  /** Final. The signal aborts before this returns. */
  lose(reason: LossReason): void {
    if (this.#state !== 'held') return;
    this.#finish();
    if (!this.isReleased) {
      this.lossReason = reason;
      this.#controller?.abort(new LockLost(reason, this.spec.name, this.root.token));
    }
    for (const sharer of this.#sharers ?? []) sharer.lose(reason);
  }

  get #quotedName(): string {
    return JSON.stringify(this.spec.name);
  }

  get #outcome(): 'not-applied' | 'unknown' {
    return this.seq === 0 ? 'not-applied' : 'unknown';
  }

  #ownRemainingMs(now: Instant): number {
    let remaining = Number.POSITIVE_INFINITY;
    if (this.#leaseMs !== undefined && this.#leaseSince !== undefined) {
      remaining = usableMs(this.#leaseMs) - elapsedMs(this.#leaseSince, now);
    }
    const maxHoldMs = this.spec.options?.maxHoldMs;
    if (maxHoldMs !== undefined && this.#maxHoldSince !== undefined) {
      remaining = Math.min(remaining, usableMs(maxHoldMs) - elapsedMs(this.#maxHoldSince, now));
    }
    return remaining;
  }

  #hold(): void {
    this.#state = 'held';
    this.spec.signal?.removeEventListener('abort', this);
    this.#host.waits.remove(this);
    if (this.#leaseMs !== undefined || this.#maxHoldSince !== undefined) {
      const now = this.#host.now();
      if (this.#ownRemainingMs(now) <= 0) {
        this.#expire(now);
        this.deferred.reject(this.#endedEarly());
        return;
      }
      this.#watch();
    }
    const lock = new HeldLock(this);
    this.deferred.resolve(this.spec.isTry ? { ok: true, lock } : lock);
  }

  #watch(): void {
    let due = Number.POSITIVE_INFINITY;
    if (this.#leaseMs !== undefined && this.#leaseSince !== undefined) {
      due = this.#leaseSince.monotonicMs + usableMs(this.#leaseMs);
    }
    const maxHoldMs = this.spec.options?.maxHoldMs;
    if (maxHoldMs !== undefined && this.#maxHoldSince !== undefined) {
      due = Math.min(due, this.#maxHoldSince.monotonicMs + usableMs(maxHoldMs));
    }
    this.#host.leases.add(this, due);
    this.#host.wakeAt(due);
  }

  #share(handle: number): void {
    const root = this.#session.requests.get(handle)?.root;
    if (root === undefined || root === this) return;
    this.root = root;
    root.#sharers ??= new Set();
    root.#sharers.add(this);
  }

  #finish(): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    this.#host.waits.remove(this);
    this.#host.leases.remove(this);
    this.spec.signal?.removeEventListener('abort', this);
    if (this.seq !== 0) this.#session.requests.delete(this.seq);
  }

  #endedEarly(): LockdError {
    return new LockdError(
      'LOCKD_LOST',
      `the grant of ${this.#quotedName} ended before this client could hear of it: try again, or ask for a longer lease`,
      {
        retryable: true,
        outcome: 'unknown',
      },
    );
  }
}
