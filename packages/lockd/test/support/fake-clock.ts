import type { Clock } from '../../src/clock.ts';

/** Time that passes when a test says so. */
export class FakeClock implements Clock {
  #nowMs = 0;
  #timers: { readonly dueMs: number; readonly callback: () => void }[] = [];
  #endOfTurn: (() => void)[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { dueMs: this.#nowMs + delayMs, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  endOfTurn(callback: () => void): void {
    this.#endOfTurn.push(callback);
  }

  /** Runs what waits for the end of this turn, and nothing that that leads to. */
  endOneTurn(): void {
    for (const callback of this.#endOfTurn.splice(0)) callback();
  }

  /** Runs what waits for the end of the turn, and what that leads to. */
  endTurn(): void {
    while (this.#endOfTurn.length > 0) for (const callback of this.#endOfTurn.splice(0)) callback();
  }

  /** Lets time pass, timer by timer. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const next = this.#timers.filter((timer) => timer.dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.callback();
      this.endTurn();
    }
    this.#nowMs = endMs;
  }
}
