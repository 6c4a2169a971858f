import type { EntryRun } from '../core/entry-run.ts';
import type { LogIndex } from '../core/ids.ts';

/** Committed entries on their way to the state machine, handed out in pieces of bounded size. */
export class ApplyQueue {
  readonly #pieceBytes: number;
  #runs: EntryRun[] = [];

  constructor(pieceBytes: number) {
    this.#pieceBytes = pieceBytes;
  }

  get isEmpty(): boolean {
    return this.#runs.length === 0;
  }

  push(runs: readonly EntryRun[]): void {
    this.#runs.push(...runs);
  }

  clear(): void {
    this.#runs = [];
  }

  /** The next entries, about `pieceBytes` of them but at least one. */
  take(): EntryRun | undefined {
    const run = this.#runs[0];
    if (run === undefined) return undefined;
    if (run.byteLength <= this.#pieceBytes) {
      this.#runs.shift();
      return run;
    }
    // The last entry that ends within the piece, by halving.
    const limit = run.start + this.#pieceBytes;
    let low = 0;
    let high = run.count - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((run.ends[middle] as number) <= limit) low = middle;
      else high = middle - 1;
    }
    const last = (run.firstIndex + low) as LogIndex;
    if (last === run.lastIndex) this.#runs.shift();
    else this.#runs[0] = run.slice((last + 1) as LogIndex, run.lastIndex);
    return run.slice(run.firstIndex, last);
  }
}
