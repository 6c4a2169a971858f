import type { Clock } from '@lockd/raft/node';
import type { Scheduled, World } from './world.ts';

/** How a process's clock differs from true time. */
export interface ClockShape {
  /** What it shows when the process starts, in milliseconds. */
  readonly originMs: number;
  /** Parts in a million that it runs fast. */
  readonly ratePpm: number;
}

interface DueTimer {
  readonly callback: () => void;
  isCancelled: boolean;
}

/**
 * One process and its event loop, as libuv has it: timers that are due, then what arrived from outside, then what
 * waits for the turn's end. A stalled process does none of it; afterwards its timers run before it reads what
 * arrived meanwhile. A dead one never does anything again.
 */
export class SimulatedProcess {
  readonly name: string;
  readonly clock: Clock;
  readonly #world: World;
  readonly #startUs: number;
  readonly #shape: ClockShape;
  #isAlive = true;
  #stalledUntilUs = 0;
  /** While its host is suspended, the monotonic clock stands still. */
  #sleep = { fromUs: 0, toUs: 0 };
  #sleptBeforeUs = 0;
  #planned: Scheduled | undefined;
  #dueTimers: DueTimer[] = [];
  #arrivals: (() => void)[] = [];
  #turnEnds: (() => void)[] = [];

  constructor(name: string, world: World, shape: ClockShape) {
    this.name = name;
    this.#world = world;
    this.#startUs = world.nowUs;
    this.#shape = shape;
    this.clock = {
      nowMs: () => this.nowMs(),
      after: (delayMs, callback) => this.#after(delayMs, callback),
      endOfTurn: (callback) => {
        this.#turnEnds.push(() => {
          callback();
          // What a turn begins may wait for nothing but promises.
          this.#world.touch();
        });
        this.#loop();
      },
    };
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  get isStalled(): boolean {
    return this.#stalledUntilUs > this.#world.nowUs;
  }

  /** Whole milliseconds of this process's clock. */
  nowMs(): number {
    const { originMs, ratePpm } = this.#shape;
    const elapsedUs = this.#world.nowUs - this.#startUs - this.#sleptUs();
    return originMs + Math.floor((elapsedUs * (1_000_000 + ratePpm)) / 1_000_000_000);
  }

  /** Something from outside: a message, the end of a write. */
  arrive(callback: () => void): void {
    if (!this.#isAlive) return;
    this.#arrivals.push(callback);
    this.#loop();
  }

  /** The loop stands still from now on, for so long. */
  stall(durationUs: number): void {
    this.#stalledUntilUs = Math.max(this.#stalledUntilUs, this.#world.nowUs + durationUs);
  }

  /** The host is suspended, for so long: the loop stands still, and the monotonic clock with it. */
  suspend(durationUs: number): void {
    const { nowUs } = this.#world;
    this.#sleptBeforeUs = this.#sleptUs();
    this.#sleep = { fromUs: nowUs, toUs: Math.max(this.#sleep.toUs, nowUs + durationUs) };
    this.stall(durationUs);
  }

  /** By how much its monotonic clock is behind because of that. */
  get sleptMs(): number {
    return Math.floor(this.#sleptUs() / 1000);
  }

  wakeUp(): void {
    this.#sleptBeforeUs = this.#sleptUs();
    this.#sleep = { fromUs: 0, toUs: 0 };
    this.#stalledUntilUs = 0;
    this.#planned?.cancel();
    this.#planned = undefined;
    this.#loop();
  }

  die(): void {
    this.#isAlive = false;
    this.#dueTimers = [];
    this.#arrivals = [];
    this.#turnEnds = [];
  }

  #after(delayMs: number, callback: () => void): () => void {
    const { originMs, ratePpm } = this.#shape;
    const dueMs = this.nowMs() + Math.max(0, Math.ceil(delayMs));
    const timer: DueTimer = { callback, isCancelled: false };
    let scheduled: Scheduled | undefined;
    const plan = (): void => {
      // The first microsecond at which `nowMs` shows the time, unless the host sleeps before that.
      const elapsedUs = Math.ceil(((dueMs - originMs) * 1_000_000_000) / (1_000_000 + ratePpm));
      const asleepUs = this.#sleptUs() + Math.max(0, this.#sleep.toUs - this.#world.nowUs);
      scheduled = this.#world.at(this.#startUs + elapsedUs + asleepUs, () => {
        if (!this.#isAlive) return;
        if (this.nowMs() < dueMs) {
          plan();
          return;
        }
        this.#dueTimers.push(timer);
        this.#loop();
      });
    };
    plan();
    return () => {
      timer.isCancelled = true;
      scheduled?.cancel();
    };
  }

  #sleptUs(): number {
    const { fromUs, toUs } = this.#sleep;
    return this.#sleptBeforeUs + Math.min(this.#world.nowUs, toUs) - Math.min(this.#world.nowUs, fromUs);
  }

  #loop(): void {
    if (this.#planned !== undefined || !this.#isAlive) return;
    this.#planned = this.#world.at(Math.max(this.#world.nowUs, this.#stalledUntilUs), () => {
      this.#planned = undefined;
      this.#iterate();
    });
  }

  #iterate(): void {
    if (!this.#isAlive) return;
    // Stalled meanwhile.
    if (this.isStalled) {
      this.#loop();
      return;
    }
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      next();
      if (!this.#isAlive) return;
      if (this.#world.isTouched || this.isStalled) {
        // Promises run between two callbacks.
        if (this.#dueTimers.length + this.#arrivals.length + this.#turnEnds.length > 0) this.#loop();
        return;
      }
    }
  }

  #next(): (() => void) | undefined {
    for (let timer = this.#dueTimers.shift(); timer !== undefined; timer = this.#dueTimers.shift())
      if (!timer.isCancelled) return timer.callback;
    return this.#arrivals.shift() ?? this.#turnEnds.shift();
  }
}
