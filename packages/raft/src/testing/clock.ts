import type { Clock } from '../node/clock.ts';

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
}

/**
 * A clock that moves when told to. Timers run in the order of their time, then of their making; after each, and
 * after each turn's end, everything that promises have to do is done first.
 */
export class ManualClock implements Clock {
  #nowMs = 0;
  #order = 0;
  #timers: Timer[] = [];
  #turnEnds: (() => void)[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { dueMs: this.#nowMs + Math.max(0, Math.ceil(delayMs)), order: this.#order++, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  endOfTurn(callback: () => void): void {
    this.#turnEnds.push(callback);
  }

  /** Resolves when nothing is left to do at this time. */
  async settle(): Promise<void> {
    do {
      const turnEnds = this.#turnEnds;
      this.#turnEnds = [];
      for (const callback of turnEnds) callback();
      await drainPromises();
    } while (this.#turnEnds.length > 0);
  }

  /** Lets so much time pass, running on the way what falls due. */
  async advance(milliseconds: number): Promise<void> {
    const untilMs = this.#nowMs + milliseconds;
    await this.settle();
    for (let timer = this.#next(untilMs); timer !== undefined; timer = this.#next(untilMs)) {
      this.#nowMs = Math.max(this.#nowMs, timer.dueMs);
      timer.callback();
      await this.settle();
    }
    this.#nowMs = untilMs;
    await this.settle();
  }

  /** Lets time pass until the condition holds. False if it does not within the given time. */
  async advanceUntil(condition: () => boolean, withinMs: number): Promise<boolean> {
    const untilMs = this.#nowMs + withinMs;
    await this.settle();
    while (!condition()) {
      const timer = this.#next(untilMs);
      if (timer === undefined) return false;
      this.#nowMs = Math.max(this.#nowMs, timer.dueMs);
      timer.callback();
      await this.settle();
    }
    return true;
  }

  /** Lets time pass in which nothing runs: a stalled event loop. */
  stall(milliseconds: number): void {
    this.#nowMs += milliseconds;
  }

  #next(untilMs: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs > untilMs) continue;
      const isEarlier =
        next === undefined || timer.dueMs < next.dueMs || (timer.dueMs === next.dueMs && timer.order < next.order);
      if (isEarlier) next = timer;
    }
    if (next !== undefined) this.#timers = this.#timers.filter((other) => other !== next);
    return next;
  }
}

/** Resolves when no promise has anything left to do; what waits for real IO is not waited for. */
export function drainPromises(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
