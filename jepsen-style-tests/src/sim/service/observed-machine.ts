import type { EntryRun, LogIndex } from '@lockd/raft';
import type { SnapshotReader, SnapshotWriter, StateMachine } from '@lockd/raft/node';
import type { LockTable } from 'lockd/service';
import { fingerprint } from '../raft/list-machine.ts';

/** Replicas are compared at every index that this divides. */
const COMPARE_EVERY = 16;

export interface MachineEvents {
  /** An entry is about to be applied. `chain`: a running number of it and of everything before. */
  applies(index: number, term: number, entry: Uint8Array, chain: number): void;
  /** The state at `index`, where all replicas are compared. */
  compare(index: number, stateHash: string): void;
  /** The state was replaced by that of a snapshot; the chain at its index. Undefined: nobody's log leads there. */
  restored(index: number): number | undefined;
}

/** Stands between Raft and the lock table, and tells what passes. */
export class ObservedMachine implements StateMachine {
  readonly #inner: StateMachine;
  readonly #table: LockTable;
  readonly #events: MachineEvents;
  #chain = 0;

  constructor(inner: StateMachine, table: LockTable, events: MachineEvents) {
    this.#inner = inner;
    this.#table = table;
    this.#events = events;
  }

  apply(run: EntryRun): void {
    // In pieces that end where replicas are compared.
    for (let from: number = run.firstIndex; from <= run.lastIndex; ) {
      const to = Math.min(run.lastIndex, Math.ceil(from / COMPARE_EVERY) * COMPARE_EVERY);
      for (let index = from; index <= to; index += 1) {
        const entry = run.entry(index as LogIndex);
        this.#chain = (Math.imul(this.#chain ^ fingerprint(entry), 0x85ebca6b) ^ run.term) >>> 0;
        this.#events.applies(index, run.term, entry, this.#chain);
      }
      this.#inner.apply(run.slice(from as LogIndex, to as LogIndex));
      if (to % COMPARE_EVERY === 0) this.#events.compare(to, this.#table.stateHash());
      from = to + 1;
    }
  }

  beginSnapshot(): SnapshotReader {
    this.#events.compare(this.#table.index, this.#table.stateHash());
    return this.#inner.beginSnapshot();
  }

  beginRestore(): SnapshotWriter {
    const writer = this.#inner.beginRestore();
    return {
      write: (chunk) => writer.write(chunk),
      ...(writer.settle === undefined ? {} : { settle: () => writer.settle?.() ?? true }),
      finish: () => {
        writer.finish();
        this.#chain = this.#events.restored(this.#table.index) ?? 0;
        this.#events.compare(this.#table.index, this.#table.stateHash());
      },
    };
  }

  reset(): void {
    this.#inner.reset?.();
    this.#chain = this.#events.restored(0) ?? 0;
  }
}
