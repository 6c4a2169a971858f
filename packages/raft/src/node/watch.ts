import type { Clock } from './clock.ts';
import type { Epoch } from './epoch.ts';

/** How often a node looks whether it could listen and whether the disk answers, in milliseconds. */
const WATCH_INTERVAL_MS = 50;
/** A gap between two looks from this length on is a stall. */
const STALL_MIN_MS = 100;

/** Looks regularly after what no message and no deadline reports, and notes when the event loop stood still. */
export class Watch {
  readonly #clock: Clock;
  readonly #epoch: Epoch;
  readonly #onLook: (nowMs: number) => void;
  #cancel: (() => void) | undefined;
  #lastListenedMs: number;
  #lastStall: { readonly lengthMs: number; readonly endedAtMs: number } | undefined;

  constructor(clock: Clock, epoch: Epoch, onLook: (nowMs: number) => void) {
    this.#clock = clock;
    this.#epoch = epoch;
    this.#onLook = onLook;
    this.#lastListenedMs = clock.nowMs();
  }

  /** The last interval in which this node could not listen, in milliseconds, and when it ended. */
  get lastStall(): { readonly lengthMs: number; readonly endedAtMs: number } | undefined {
    return this.#lastStall;
  }

  /** Looks now and from then on, until `stop` or the end of the epoch. */
  start(): void {
    this.#cancel?.();
    const begun = this.#epoch.current;
    const look = (): void => {
      if (begun !== this.#epoch.current) return;
      const nowMs = this.#clock.nowMs();
      this.listened(nowMs);
      this.#onLook(nowMs);
      this.#cancel = this.#clock.after(WATCH_INTERVAL_MS, look);
    };
    look();
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** Everything that had arrived by now is read. */
  listened(nowMs: number): void {
    const lengthMs = nowMs - this.#lastListenedMs;
    this.#lastListenedMs = nowMs;
    if (lengthMs >= STALL_MIN_MS) this.#lastStall = { lengthMs, endedAtMs: nowMs };
  }
}
