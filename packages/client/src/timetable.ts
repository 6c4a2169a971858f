import type { Clock, Instant } from './clock.ts';
import { Alarm, DeadlineHeap } from './deadline-heap.ts';

/** What a timetable needs of the client it belongs to. */
export interface TimetableOwner {
  /** Ends what is overdue and stands in no heap: the session itself. */
  enforce(now: Instant): void;
  /** A timer has fired, and what waited in the sockets has been read since: patience may end now. */
  onTime(now: Instant): void;
  /** No connection keeps the process alive. */
  readonly isAlone: boolean;
  /** Somebody waits for something that has no deadline of its own. Asked only where the other is true. */
  readonly isAwaited: boolean;
}

/** Difference of the two clocks' pace that makes the wall clock's view of every deadline worth a look. */
const SKEW_TOLERANCE_MS = 20;

/** Everything of a client that happens at a time, on one timer. */
export class Timetable {
  /** When held locks are lost. */
  readonly leases: DeadlineHeap = new DeadlineHeap();
  /** When patience ends. */
  readonly waits: DeadlineHeap = new DeadlineHeap();

  readonly #clock: Clock;
  readonly #owner: TimetableOwner;
  #skewMs: number;
  #cancelTimer: (() => void) | undefined;
  #timerDueMs = Number.POSITIVE_INFINITY;
  #timerKeepsAlive = false;
  #isStopped = false;

  constructor(clock: Clock, owner: TimetableOwner) {
    this.#clock = clock;
    this.#owner = owner;
    const now = clock.now();
    this.#skewMs = now.wallMs - now.monotonicMs;
  }

  /** Aborts whatever is overdue: called before anything else settles. */
  enforce(now: Instant): void {
    if (this.#isStopped) return;
    this.#owner.enforce(now);
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

  /** The timer fires at this time of the monotonic clock, or before. */
  wakeAt(dueMs: number): void {
    if (this.#isStopped) return;
    // A connection keeps the process alive by itself. Without one, whoever awaits something must get an answer.
    const keepsAlive = this.#owner.isAlone && (this.waits.size > 0 || this.#owner.isAwaited);
    if (dueMs >= this.#timerDueMs && (this.#timerKeepsAlive || !keepsAlive)) return;
    this.#cancelTimer?.();
    this.#timerDueMs = Math.min(dueMs, this.#timerDueMs);
    this.#timerKeepsAlive = keepsAlive;
    const delayMs = Math.max(0, Math.ceil(this.#timerDueMs - this.#clock.now().monotonicMs));
    this.#cancelTimer = this.#clock.after(delayMs, this.#onTimer, keepsAlive);
  }

  /** Calls `callback` after `delayMs`, unless what is returned is removed from `waits` before. */
  alarmIn(delayMs: number, now: Instant, callback: (now: Instant) => void): Alarm {
    const alarm = new Alarm(callback);
    this.waits.add(alarm, now.monotonicMs + delayMs);
    this.wakeAt(alarm.dueMs);
    return alarm;
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  readonly #onTimer = (): void => {
    this.#timerDueMs = Number.POSITIVE_INFINITY;
    this.#cancelTimer = undefined;
    if (this.#isStopped) return;
    this.enforce(this.#clock.now());
    // After a stall the timer comes first and the answers wait in the socket: whoever loses patience listens before.
    this.#clock.endOfTurn(this.#afterTimer);
  };

  readonly #afterTimer = (): void => {
    if (this.#isStopped) return;
    const now = this.#clock.now();
    this.enforce(now);
    runDue(this.waits, now);
    this.#owner.onTime(now);
    for (const first of [this.leases.first, this.waits.first]) if (first !== undefined) this.wakeAt(first.dueMs);
  };
}

function runDue(deadlines: DeadlineHeap, now: Instant): void {
  for (let due = deadlines.takeDue(now.monotonicMs); due !== undefined; due = deadlines.takeDue(now.monotonicMs)) {
    due.onDue(now);
  }
}
