import type { Instant } from './clock.ts';
import { invalid, LockdError } from './errors.ts';
import { Downgrade, Extension, Upgrade } from './hold-operations.ts';
import { MIN_LEASE_MS } from './lease-clock.ts';
import type { LockRequest } from './lock-request.ts';
import { type Duration, durationMs, LIMITS } from './protocol/index.ts';

export type LockState = 'held' | 'suspect' | 'lost' | 'released';

/**
 * A lock that was granted. Owned by whoever has this object: two acquires of one client exclude each other.
 *
 * Everything that says whether it is held is computed when asked, from when the last acknowledged renewal was sent.
 * No lock service can promise that only one process runs the critical section: give `token` to what you write to, and
 * let it refuse smaller ones.
 */
export class HeldLock implements AsyncDisposable {
  readonly #request: LockRequest;
  #disposal: Promise<void> | undefined;

  /** @internal */
  constructor(request: LockRequest) {
    this.#request = request;
  }

  /** The name it was acquired under; of several, the first. */
  get name(): string {
    return this.#request.spec.name;
  }

  /** Fencing token: for a name, a later grant has a larger one, for ever. Below 2^53. */
  get token(): number {
    return this.#request.root.token;
  }

  /** A permit's slot, 1 to limit; undefined for a lock. A permit's token orders the grants of its slot. */
  get slot(): number | undefined {
    return this.#request.slot;
  }

  /** Names this grant within its session, as `inspect` shows it. */
  get handle(): number {
    return this.#request.handle;
  }

  /** The session it hangs on, as `inspect` shows it. */
  get session(): number {
    return this.#request.session.id;
  }

  /** Neither released nor lost, now. */
  get held(): boolean {
    return this.#request.isHeld(this.#request.host.now());
  }

  /** Milliseconds for which it can be relied on if no renewal is acknowledged; 0 when not held. */
  get remaining(): number {
    return this.#request.remainingMs(this.#request.host.now());
  }

  /** How many unreleased acquires share it; more than 1 after a re-entrant one. */
  get holdCount(): number {
    return this.held ? this.#request.root.holdCount : 0;
  }

  /** `suspect`: half of the session TTL has passed without an acknowledged renewal; still held. */
  get state(): LockState {
    const now = this.#request.host.now();
    if (this.#request.isReleased) return 'released';
    if (!this.#request.isHeld(now)) return 'lost';
    return this.#request.isSuspect(now) ? 'suspect' : 'held';
  }

  /** Aborts with a `LockLost` when the lock is lost; not on release. Made on first use. */
  get signal(): AbortSignal {
    return this.#request.signal;
  }

  /** Throws unless held: `LockLost` with the reason, or LOCKD_NOT_HELD after a release. */
  assertHeld(): void {
    const now = this.#request.host.now();
    if (this.#request.isHeld(now)) return;
    throw this.#request.loss(now) ?? this.#notHeld();
  }

  /**
   * Resolves when the release is acknowledged. Rejects with LOCKD_LOST where the lock was lost before, LOCKD_NOT_HELD where it
   * was released before, and LOCKD_SESSION_EXPIRED (outcome `unknown`) where the session ended first; it is free in each case.
   */
  release(): Promise<void> {
    return this.#request.release();
  }

  /** Restarts the lock's own lease with this length; it counts from now. Rejects with LOCKD_LOST when it was too late. */
  extend(lease: Duration): Promise<void> {
    const leaseMs = durationMs(lease);
    if (leaseMs === undefined || leaseMs < MIN_LEASE_MS || leaseMs > LIMITS.maxDurationMs) {
      return Promise.reject(
        invalid(`a lease is a duration from ${MIN_LEASE_MS} ms to ${LIMITS.maxDurationMs} ms, like 5000 or '5s'`),
      );
    }
    return this.#whileHeld((now) => {
      this.#request.extending(leaseMs, now);
      return new Extension(this.#request, leaseMs);
    });
  }

  /** From shared to exclusive, with a new token. Rejects with LOCKD_CONFLICT while others share it, and stays shared. */
  upgrade(): Promise<void> {
    return this.#whileHeld(() => new Upgrade(this.#request));
  }

  /** From exclusive to shared, with the same token and without a moment in between. */
  downgrade(): Promise<void> {
    return this.#whileHeld(() => new Downgrade(this.#request));
  }

  /**
   * Releases, for `await using`. Never rejects and takes a bounded time: what fails goes to the client's `onReleaseError`, so
   * that it cannot hide an error of the block. Does nothing after a release or a loss.
   */
  [Symbol.asyncDispose](): Promise<void> {
    this.#disposal ??= this.#request.releaseQuietly().then(() => {});
    return this.#disposal;
  }

  /** @internal */
  static requestOf(lock: HeldLock): LockRequest {
    return lock.#request;
  }

  #whileHeld(operation: (now: Instant) => Extension | Upgrade | Downgrade): Promise<void> {
    const { host, session } = this.#request;
    const now = host.now();
    host.enforceLeases(now);
    if (!this.#request.isHeld(now)) return Promise.reject(this.#request.loss(now) ?? this.#notHeld());
    const submitted = operation(now);
    session.submitUrgent(submitted);
    host.flushSoon();
    return submitted.deferred.promise;
  }

  #notHeld(): LockdError {
    return new LockdError('LOCKD_NOT_HELD', `lock ${JSON.stringify(this.name)} has been released already`, {
      retryable: false,
      outcome: 'not-applied',
    });
  }
}
