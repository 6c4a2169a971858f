import type { Clock, Instant, Random } from '@lockd/client';

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
  readonly keepsAlive: boolean;
}

/** Time that moves only when told. The wall clock can be moved on its own. */
export class VirtualClock implements Clock {
  #monotonicMs = 1000;
  #wallMs = 1_700_000_000_000;
  #order = 0;
  readonly timers = new Set<Timer>();
  turns: (() => void)[] = [];

  now(): Instant {
    return { monotonicMs: this.#monotonicMs, wallMs: this.#wallMs };
  }

  get nowMs(): number {
    return this.#monotonicMs;
  }

  after(delayMs: number, callback: () => void, keepsAlive = false): () => void {
    const timer = { dueMs: this.#monotonicMs + delayMs, order: this.#order++, callback, keepsAlive };
    this.timers.add(timer);
    return () => void this.timers.delete(timer);
  }

  endOfTurn(callback: () => void): void {
    this.turns.push(callback);
  }

  /** Both clocks move and nothing runs: what a blocked event loop sees afterwards. */
  freeze(ms: number): void {
    this.#monotonicMs += ms;
    this.#wallMs += ms;
  }

  /** The host was suspended: the monotonic clock did not see it. */
  suspend(ms: number): void {
    this.#wallMs += ms;
  }

  /** The earliest timer, once it is due by `limitMs`. */
  takeTimer(limitMs: number): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.timers) {
      if (timer.dueMs > limitMs) continue;
      if (
        first === undefined ||
        timer.dueMs < first.dueMs ||
        (timer.dueMs === first.dueMs && timer.order < first.order)
      )
        first = timer;
    }
    if (first !== undefined) this.timers.delete(first);
    return first;
  }
}

/** Chance that repeats itself. */
export function fixedRandom(seed = 1): Random {
  let state = seed;
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 4294967296;
  };
  return {
    next,
    secret: () =>
      Array.from({ length: 4 }, () =>
        Math.floor(next() * 4294967296)
          .toString(16)
          .padStart(8, '0'),
      ).join(''),
  };
}

/** Runs clients and fake nodes turn by turn: microtasks, then ends of turns, then frames on the wire, until nothing is left. */
export class World {
  readonly clock = new VirtualClock();
  readonly wire: (() => void)[] = [];
  /** Messages stay on the wire for this long; 0 delivers in the next turn. */
  delayMs = 0;

  post(deliver: () => void): void {
    if (this.delayMs === 0) this.wire.push(deliver);
    else this.clock.after(this.delayMs, deliver);
  }

  async settle(): Promise<void> {
    for (let turn = 0; turn < 10_000; turn++) {
      // A real turn: every microtask of the virtual one has run after it.
      await new Promise((resolve) => setImmediate(resolve));
      const turns = this.clock.turns.splice(0);
      for (const callback of turns) callback();
      if (turns.length > 0) continue;
      const deliveries = this.wire.splice(0);
      for (const deliver of deliveries) deliver();
      if (deliveries.length === 0) return;
    }
    throw new Error('the world does not come to rest');
  }

  /** Lets time pass, timer by timer. */
  async advance(ms: number): Promise<void> {
    await this.settle();
    const limitMs = this.clock.nowMs + ms;
    for (let timer = this.clock.takeTimer(limitMs); timer !== undefined; timer = this.clock.takeTimer(limitMs)) {
      this.clock.freeze(Math.max(0, timer.dueMs - this.clock.nowMs));
      timer.callback();
      await this.settle();
    }
    this.clock.freeze(limitMs - this.clock.nowMs);
    await this.settle();
  }
}
