import type { Clock } from './clock.ts';

/** One timer for a node's next deadline. One that is too early is left to fire, and set again then. */
export class TickTimer {
  readonly #clock: Clock;
  readonly #onDue: () => void;
  #timer: { readonly dueMs: number; readonly cancel: () => void } | undefined;
  #isTickDue = false;

  constructor(clock: Clock, onDue: () => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  arm(dueMs: number, nowMs: number): void {
    if (dueMs === Number.POSITIVE_INFINITY) return;
    if (this.#timer !== undefined) {
      if (this.#timer.dueMs <= dueMs) return;
      this.#timer.cancel();
    }
    const cancel = this.#clock.after(Math.max(0, dueMs - nowMs), () => {
      this.#timer = undefined;
      // Timers run before the event loop has read what waits in the sockets: after a stall, heartbeats that arrived in
      // time would be read too late. One poll phase first; then the turn reads the time again.
      this.#isTickDue = true;
      this.#onDue();
    });
    this.#timer = { dueMs, cancel };
  }

  /** True once after the timer has fired. */
  takeTick(): boolean {
    const isDue = this.#isTickDue;
    this.#isTickDue = false;
    return isDue;
  }

  clear(): void {
    this.#isTickDue = false;
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
