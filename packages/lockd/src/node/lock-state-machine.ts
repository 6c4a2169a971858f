import { ENTRY_KIND, type EntryRun } from '@lockd/raft';
import type { SnapshotReader, SnapshotWriter, StateMachine } from '@lockd/raft/node';
import type { LockTable } from '../lock-table/lock-table.ts';
import type { TableSink } from '../lock-table/sink.ts';

/** The lock table as Raft's state machine: each entry's bytes decoded once, applied in order. */
export class LockStateMachine implements StateMachine {
  readonly #table: LockTable;
  readonly #sink: TableSink;
  readonly #beforeApply: () => void;
  /** For metrics. */
  appliedCommands = 0;

  /** `beforeApply` is called once for each run. */
  constructor(table: LockTable, sink: TableSink, beforeApply: () => void) {
    this.#table = table;
    this.#sink = sink;
    this.#beforeApply = beforeApply;
  }

  apply(run: EntryRun): void {
    this.#beforeApply();
    const { bytes, term, firstIndex, lastIndex, ends } = run;
    let start = run.start;
    for (let index: number = firstIndex; index <= lastIndex; index++) {
      const end = ends[index - firstIndex] as number;
      if (bytes[start] === ENTRY_KIND.command)
        this.#table.applyEntry(bytes.subarray(start + 1, end), index, term, this.#sink);
      else this.#table.skip(index, term);
      start = end;
    }
    this.appliedCommands += run.count;
  }

  beginSnapshot(): SnapshotReader {
    return this.#table.beginSnapshot();
  }

  beginRestore(): SnapshotWriter {
    return this.#table.beginRestore();
  }

  reset(): void {}
}
