import type { EntryRun } from '../core/entry-run.ts';

/**
 * What the log drives. All calls are synchronous, in log order, in the driver's turn. `apply` gets every committed
 * entry, whatever its kind (see ENTRY_KIND), and must not throw on any bytes.
 */
export interface StateMachine {
  apply(run: EntryRun): void;
  /** Starts a snapshot of the state as it is now; `next` yields slices of bounded work while `apply` goes on. */
  beginSnapshot(): SnapshotReader;
  /** Starts a replacement of the whole state by a snapshot's content, fed in order. */
  beginRestore(): SnapshotWriter;
  /**
   * Back to the state before the first entry: called when a node whose disk was full recovers in the same process and
   * reads its log again. Without it such a node waits for a restart of the process.
   */
  reset?(): void;
}

export interface SnapshotReader {
  /** The next chunk (at most about 256 KiB, at most a few milliseconds of work; better less), or undefined at the end. */
  next(): Uint8Array | undefined;
  /** No more calls to `next`: forget what was saved aside. */
  cancel(): void;
}

export interface SnapshotWriter {
  write(chunk: Uint8Array): void;
  /**
   * All of it is written: does a part of the work that is left before the switch, in at most a few milliseconds. True when
   * none is left. Without it, or where it was not called until then, `finish` does all of it at once.
   */
  settle?(): boolean;
  /** Switches to the restored state at once. Throws on content that is not a whole, valid snapshot. */
  finish(): void;
}
