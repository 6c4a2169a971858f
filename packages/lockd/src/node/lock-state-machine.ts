import { ENTRY_KIND, type EntryRun } from '@lockd/raft';
import type { SnapshotReader, SnapshotWriter, StateMachine } from '@lockd/raft/node';
import type { LockTable } from '../lock-table/lock-table.ts';
import type { TableSink } from '../lock-table/sink.ts';

export interface StateMachineEvents {
  /** Before each run is applied. */
  onApply(): void;
  /** The state has jumped, over entries whose calls of the sink never come. */
  onReplaced(): void;
}

/** Before the compiler has warmed up a record takes some 10 µs: so many are 3 ms. The driver reads on while it has time. */
const SNAPSHOT_SLICE_RECORDS = 300;

/** The lock table as Raft's state machine: each entry's bytes decoded once, applied in order. */
export class LockStateMachine implements StateMachine {
  readonly #table: LockTable;
  readonly #sink: TableSink;
  readonly #events: StateMachineEvents;
  /** For metrics. */
  appliedCommands = 0;

  constructor(table: LockTable, sink: TableSink, events: StateMachineEvents) {
    this.#table = table;
    this.#sink = sink;
    this.#events = events;
  }

  apply(run: EntryRun): void {
    this.#events.onApply();
    const { bytes, term, firstIndex, lastIndex, ends } = run;
    let start = run.start;
    for (let index: number = firstIndex; index <= lastIndex; index++) {
      const end = ends[index - firstIndex] as number;
      if (bytes[start] === ENTRY_KIND.command) this.#table.applyEntry(bytes, index, term, this.#sink, start + 1, end);
      else this.#table.skip(index, term);
      start = end;
    }
    this.appliedCommands += run.count;
  }

  beginSnapshot(): SnapshotReader {
    return this.#table.beginSnapshot(SNAPSHOT_SLICE_RECORDS);
  }

  beginRestore(): SnapshotWriter {
    const writer = this.#table.beginRestore();
    return {
      write: (chunk) => writer.write(chunk),
      settle: () => writer.settle(),
      finish: () => {
        writer.finish();
        this.#events.onReplaced();
      },
    };
  }
  reset(): void {
    this.#table.reset();
    this.#events.onReplaced();
  }
}
