import type { StateRecord } from './records.ts';
import { encodeBlock, SNAPSHOT_NAME, SNAPSHOT_VERSION, TRAILER, weightOf } from './snapshot-format.ts';
import type { SaveAside, TableState } from './state.ts';
import { walk } from './walk.ts';

/** A slice ends after so many bytes, about, or so many records looked at: some 2 ms. */
const SLICE_BYTES = 64 * 1024;
const SLICE_RECORDS = 2000;

/**
 * Writes the state as it was when it was made, in slices, while the table goes on: a record is saved aside before its
 * first change. Has the shape of `SnapshotReader` in @lockd/raft. One at a time for each table.
 */
export class TableSnapshotReader {
  readonly #state: TableState;
  readonly #aside: SavedRecords;
  readonly #walk: Generator<StateRecord | undefined, void, void>;
  readonly #sliceRecords: number;
  #recordCount = 0;
  #phase: 'header' | 'records' | 'done' = 'header';

  /** `sliceRecords`: for tests, to cut finer. */
  constructor(state: TableState, sliceRecords: number = SLICE_RECORDS) {
    this.#sliceRecords = sliceRecords;
    if (state.aside !== undefined) throw new Error('a snapshot of this table is being written already');
    this.#state = state;
    this.#aside = new SavedRecords(++state.snapshotCount, state.index);
    this.#walk = walk(state, this.#aside);
    state.aside = this.#aside;
    // The first step takes what must be of this very moment.
    this.#pending = this.#walk.next();
  }

  #pending: IteratorResult<StateRecord | undefined, void>;

  /** The next block, or undefined at the end. */
  next(): Uint8Array | undefined {
    switch (this.#phase) {
      case 'header':
        this.#phase = 'records';
        return encodeBlock([[SNAPSHOT_NAME, SNAPSHOT_VERSION]]);
      case 'records':
        return this.#nextBlock();
      default:
        return undefined;
    }
  }

  /** Forgets what was saved aside. Also fine at the end. */
  cancel(): void {
    this.#phase = 'done';
    this.#walk.return();
    if (this.#state.aside === this.#aside) this.#state.aside = undefined;
  }

  #nextBlock(): Uint8Array {
    const block: StateRecord[] = [];
    let weight = 0;
    const add = (record: StateRecord): void => {
      block.push(record);
      weight += weightOf(record);
    };
    for (let looked = 0; looked < this.#sliceRecords && weight < SLICE_BYTES; looked++) {
      const saved = this.#aside.takeSaved();
      if (saved !== undefined) {
        add(saved);
        continue;
      }
      if (this.#pending.done === true) {
        this.#recordCount += block.length;
        this.cancel();
        return encodeBlock([...block, [TRAILER, this.#recordCount]]);
      }
      if (this.#pending.value !== undefined) add(this.#pending.value);
      this.#pending = this.#walk.next();
    }
    this.#recordCount += block.length;
    return encodeBlock(block);
  }
}

class SavedRecords implements SaveAside {
  readonly id: number;
  readonly #index: number;
  #saved: StateRecord[] = [];
  #lastNonceAt = 0;

  constructor(id: number, index: number) {
    this.id = id;
    this.#index = index;
  }

  save(record: StateRecord): void {
    this.#saved.push(record);
  }

  takeSaved(): StateRecord | undefined {
    // The order in a snapshot means nothing, so the last one will do.
    return this.#saved.pop();
  }

  take(record: { stamp: number }): boolean {
    if (record.stamp === this.id) return false;
    record.stamp = this.id;
    return true;
  }

  wantsNonce(endedAt: number): boolean {
    return endedAt <= this.#index && endedAt > this.#lastNonceAt;
  }

  takeNonce(endedAt: number): boolean {
    if (!this.wantsNonce(endedAt)) return false;
    this.#lastNonceAt = endedAt;
    return true;
  }
}
