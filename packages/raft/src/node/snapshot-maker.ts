import type { EntryRun } from '../core/entry-run.ts';
import { type LogIndex, type Term, ZERO_INDEX, ZERO_TERM } from '../core/ids.ts';
import type { SnapshotMetadata } from '../core/message.ts';
import type { SnapshotReader } from './state-machine.ts';
import type { LogStorage, SnapshotSink } from './storage.ts';

interface LogPoint {
  readonly index: LogIndex;
  readonly term: Term;
}

/** Where the log was after so many bytes: one point for each of these many, to find where to cut the log. */
const POINT_BYTES = 64 * 1024;
/** One slice reads for so long at most, up to the end of the chunk it is at. */
const SLICE_MS = 3;

interface Making {
  readonly metadata: SnapshotMetadata;
  readonly compactTo: LogPoint | undefined;
  readonly reader: SnapshotReader;
  readonly sink: Promise<SnapshotSink>;
  readonly bytesAtStart: number;
  byteLength: number;
  /** A chunk is being written: the next slice waits for it. */
  isWriting: boolean;
  /** The reader has come to its end. */
  isRead: boolean;
}

/**
 * Decides when a snapshot is due, and writes it slice by slice: one slice a turn, the next when the disk has taken the
 * last. Due means: as much log since the last snapshot as `minBytes`, and as `ratio` times that snapshot.
 */
export class SnapshotMaker {
  readonly #storage: LogStorage;
  readonly #minBytes: number;
  readonly #ratio: number;
  readonly #sliceBytes: number;
  readonly #keepLogBytes: number;
  readonly #nowMs: () => number;
  readonly #wake: () => void;
  readonly #onCreated: (metadata: SnapshotMetadata, compactTo: LogPoint) => void;
  readonly #onError: (error: unknown) => void;
  #lastSnapshotBytes: number;
  #snapshotIndex: LogIndex = ZERO_INDEX;
  #compactedTo: LogIndex = ZERO_INDEX;
  /** Bytes applied in all, and as of the last snapshot. */
  #appliedBytes = 0;
  #snapshotAtBytes = 0;
  /** Applied positions with the bytes up to them, ascending; those before the last cut are dropped. */
  #points: (LogPoint & { readonly bytes: number })[] = [];
  #making: Making | undefined;
  #isStopped = false;

  constructor(options: {
    readonly storage: LogStorage;
    readonly minBytes: number;
    readonly ratio: number;
    /** … and so many bytes at most. */
    readonly sliceBytes: number;
    readonly keepLogBytes: number;
    /** Size of the snapshot there is; 0 without one. */
    readonly lastSnapshotBytes: number;
    readonly nowMs: () => number;
    /** Asks for a turn, in which `slice` is called. */
    readonly wake: () => void;
    readonly onCreated: (metadata: SnapshotMetadata, compactTo: LogPoint) => void;
    readonly onError: (error: unknown) => void;
  }) {
    this.#storage = options.storage;
    this.#minBytes = options.minBytes;
    this.#ratio = options.ratio;
    this.#sliceBytes = options.sliceBytes;
    this.#keepLogBytes = options.keepLogBytes;
    this.#lastSnapshotBytes = options.lastSnapshotBytes;
    this.#nowMs = options.nowMs;
    this.#wake = options.wake;
    this.#onCreated = options.onCreated;
    this.#onError = options.onError;
  }

  get isBusy(): boolean {
    return this.#making !== undefined;
  }

  get lastSnapshotBytes(): number {
    return this.#lastSnapshotBytes;
  }

  /** Of the newest snapshot on the disk; 0 without one. */
  get snapshotIndex(): LogIndex {
    return this.#snapshotIndex;
  }

  /** There is a snapshot, and nothing after it is applied yet. */
  restored(point: LogPoint): void {
    this.#snapshotIndex = point.index;
    this.#compactedTo = point.index;
  }

  applied(run: EntryRun): void {
    this.#appliedBytes += run.byteLength;
    const last = this.#points[this.#points.length - 1];
    const point = { index: run.lastIndex, term: run.term, bytes: this.#appliedBytes };
    // A point moves along until it is far enough from the one before it.
    const before = this.#points[this.#points.length - 2];
    if (last !== undefined && last.bytes - (before?.bytes ?? 0) < POINT_BYTES)
      this.#points[this.#points.length - 1] = point;
    else this.#points.push(point);
  }

  isDue(isWanted: boolean): boolean {
    const last = this.#points[this.#points.length - 1];
    if (last === undefined || last.index <= this.#snapshotIndex) return false;
    const bytes = this.#appliedBytes - this.#snapshotAtBytes;
    return isWanted || (bytes >= this.#minBytes && bytes >= this.#ratio * this.#lastSnapshotBytes);
  }

  /** `metadata` describes the state that `reader` reads, and `preamble` goes before it. */
  start(metadata: SnapshotMetadata, preamble: Uint8Array, reader: SnapshotReader): void {
    const making: Making = {
      metadata,
      compactTo: this.#cut(),
      reader,
      sink: this.#storage.createSnapshot(metadata),
      bytesAtStart: this.#appliedBytes,
      byteLength: 0,
      isWriting: false,
      isRead: false,
    };
    this.#making = making;
    this.#write(making, preamble);
  }

  /** Reads for a short time if what was read before is written. Stops between chunks only, so these must be small. */
  slice(): void {
    const making = this.#making;
    if (making === undefined || making.isWriting) return;
    const startedMs = this.#nowMs();
    const chunks: Uint8Array[] = [];
    let byteLength = 0;
    while (
      !making.isRead &&
      byteLength < this.#sliceBytes &&
      (byteLength === 0 || this.#nowMs() - startedMs < SLICE_MS)
    ) {
      const chunk = making.reader.next();
      if (chunk === undefined) {
        making.isRead = true;
        break;
      }
      chunks.push(chunk);
      byteLength += chunk.length;
    }
    if (byteLength > 0) this.#write(making, chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks));
    else this.#finish(making);
  }

  /** Gives up what is being made. Nothing calls back afterwards. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    const making = this.#making;
    this.#making = undefined;
    if (making === undefined) return;
    making.reader.cancel();
    const sink = await making.sink.catch(() => undefined);
    await sink?.abort().catch(() => undefined);
  }

  /** How far the log may be dropped after this snapshot, keeping a tail for slow followers. */
  #cut(): LogPoint | undefined {
    const limit = this.#appliedBytes - this.#keepLogBytes;
    let found: LogPoint | undefined;
    for (const point of this.#points) {
      if (point.bytes > limit) break;
      found = point;
    }
    return found;
  }

  #write(making: Making, chunk: Uint8Array): void {
    making.isWriting = true;
    making.byteLength += chunk.length;
    making.sink
      .then((sink) => sink.write(chunk))
      .then(
        () => {
          making.isWriting = false;
          if (this.#making === making) this.#wake();
        },
        (error: unknown) => this.#failed(making, error),
      );
  }

  #finish(making: Making): void {
    making.isWriting = true;
    making.sink
      .then((sink) => sink.commit({ replaceLog: false }))
      .then(
        () => {
          if (this.#making !== making) return;
          this.#making = undefined;
          this.#snapshotIndex = making.metadata.index;
          this.#snapshotAtBytes = making.bytesAtStart;
          this.#lastSnapshotBytes = making.byteLength;
          const cut = making.compactTo ?? { index: this.#compactedTo, term: ZERO_TERM };
          this.#compactedTo = cut.index;
          this.#points = this.#points.filter((point) => point.index > cut.index);
          this.#onCreated(making.metadata, cut);
          this.#wake();
        },
        (error: unknown) => this.#failed(making, error),
      );
  }

  #failed(making: Making, error: unknown): void {
    if (this.#making !== making || this.#isStopped) return;
    this.#making = undefined;
    making.reader.cancel();
    this.#onError(error);
  }
}
