import type { Instant } from './clock.ts';
import { elapsedMs, usableMs } from './lease-clock.ts';

/** Renewals on their way whose sending is remembered; older ones cannot matter any more. */
const MAX_UNANSWERED = 64;

export type LeaseState = 'held' | 'suspect' | 'lost';

/**
 * When a session must be renewed and how long it can be relied on: a state machine over (now, acknowledgement).
 * `lost` is final; the caller stops asking then.
 */
export class LeaseRenewer {
  readonly #usableMs: number;
  readonly #suspectAfterMs: number;
  #intervalMs: number;
  /** Sending of the last message known to have (re)started the session's lease. */
  #since: Instant;
  #lastSentMs: number;
  #isAnswered = true;
  #stamp = 0;
  readonly #sent = new Map<number, Instant>();

  /** `since`: sending of the `open`, which starts the lease like a renewal. */
  constructor(ttlMs: number, since: Instant) {
    this.#usableMs = usableMs(ttlMs);
    this.#suspectAfterMs = Math.min(ttlMs / 2, this.#usableMs);
    this.#intervalMs = ttlMs / 3;
    this.#since = since;
    this.#lastSentMs = since.monotonicMs;
  }

  /** Sending of the last acknowledged renewal. */
  get since(): Instant {
    return this.#since;
  }

  /** Renew at least this often: a `maxHold` is counted from a renewal, which should therefore be recent. */
  hurry(intervalMs: number): void {
    this.#intervalMs = Math.min(this.#intervalMs, Math.max(intervalMs, 50));
  }

  /** On the monotonic clock. A renewal without an answer is repeated sooner: its frame may be lost with a connection. */
  get dueMs(): number {
    return this.#lastSentMs + (this.#isAnswered ? this.#intervalMs : this.#intervalMs / 3);
  }

  /** A renewal is sent now; returns its stamp. */
  renew(now: Instant): number {
    const stamp = ++this.#stamp;
    this.#lastSentMs = now.monotonicMs;
    this.#isAnswered = false;
    this.#sent.set(stamp, now);
    if (this.#sent.size > MAX_UNANSWERED) {
      for (const oldest of this.#sent.keys()) {
        this.#sent.delete(oldest);
        break;
      }
    }
    return stamp;
  }

  /** The renewal with this stamp is acknowledged; an older or unknown one changes nothing. */
  acknowledged(stamp: number): void {
    const sentAt = this.#sent.get(stamp);
    if (sentAt === undefined) return;
    this.#since = sentAt;
    for (const known of this.#sent.keys()) {
      if (known > stamp) break;
      this.#sent.delete(known);
    }
    if (stamp === this.#stamp) this.#isAnswered = true;
  }

  state(now: Instant): LeaseState {
    const elapsed = elapsedMs(this.#since, now);
    if (elapsed >= this.#usableMs) return 'lost';
    return elapsed >= this.#suspectAfterMs ? 'suspect' : 'held';
  }

  /** Milliseconds until `lost`; never negative. */
  remainingMs(now: Instant): number {
    return Math.max(0, this.#usableMs - elapsedMs(this.#since, now));
  }

  /** Milliseconds until `state` changes, if no acknowledgement comes. */
  changesInMs(now: Instant): number {
    const elapsed = elapsedMs(this.#since, now);
    return (elapsed >= this.#suspectAfterMs ? this.#usableMs : this.#suspectAfterMs) - elapsed;
  }
}
