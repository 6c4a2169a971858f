import type { Clock } from './clock.ts';
import type { Epoch } from './epoch.ts';
import type { LogStorage } from './storage.ts';

const MIB = 1024 * 1024;
/** Below this share of `minFreeBytes` nothing at all is proposed. */
const HARD_RESERVE_SHARE = 0.25;

/** Measures what is left on the device, and says when it is too little and when there is room again. */
export class DiskSpace {
  readonly #storage: LogStorage;
  readonly #clock: Clock;
  readonly #epoch: Epoch;
  readonly #minFreeBytes: number;
  readonly #intervalMs: number;
  readonly #onMeasured: (isEnough: boolean, inWords: string) => void;
  #lastMeasuredMs = Number.NEGATIVE_INFINITY;
  #freeBytes = Number.POSITIVE_INFINITY;

  constructor(options: {
    readonly storage: LogStorage;
    readonly clock: Clock;
    readonly epoch: Epoch;
    /** 0: nothing is measured. */
    readonly minFreeBytes: number;
    readonly intervalMs: number;
    readonly onMeasured: (isEnough: boolean, inWords: string) => void;
  }) {
    this.#storage = options.storage;
    this.#clock = options.clock;
    this.#epoch = options.epoch;
    this.#minFreeBytes = options.minFreeBytes;
    this.#intervalMs = options.intervalMs;
    this.#onMeasured = options.onMeasured;
  }

  /** What is left is for what other nodes send and for the node's own bookkeeping. */
  get isReserveOnly(): boolean {
    return this.#freeBytes < this.#minFreeBytes * HARD_RESERVE_SHARE;
  }

  /** Measures if it is time. */
  measure(nowMs: number): void {
    if (this.#minFreeBytes === 0 || nowMs - this.#lastMeasuredMs < this.#intervalMs) return;
    this.#lastMeasuredMs = nowMs;
    const begun = this.#epoch.current;
    this.#storage.freeBytes().then(
      (freeBytes) => {
        if (begun !== this.#epoch.current) return;
        this.#freeBytes = freeBytes;
        const inWords = `${Math.floor(freeBytes / MIB)} MiB are left on the device, less than ${Math.floor(this.#minFreeBytes / MIB)} MiB`;
        this.#onMeasured(freeBytes >= this.#minFreeBytes, inWords);
      },
      // Not being able to measure is no reason to stop; a write will tell.
      () => undefined,
    );
  }

  /** Calls once when there is room again; never after the end of this epoch. */
  waitForRoom(onRoom: () => Promise<void>, onError: (error: unknown) => void): void {
    const begun = this.#epoch.current;
    this.#clock.after(this.#intervalMs, () => {
      if (begun !== this.#epoch.current) return;
      this.#storage
        .freeBytes()
        .then(async (freeBytes) => {
          if (begun !== this.#epoch.current) return;
          if (freeBytes <= this.#minFreeBytes) {
            this.waitForRoom(onRoom, onError);
            return;
          }
          this.#freeBytes = freeBytes;
          await onRoom();
        })
        .catch(onError);
    });
  }
}
