import type { Configuration } from '../core/configuration.ts';
import { type LogIndex, type Term, ZERO_INDEX, ZERO_TERM } from '../core/ids.ts';
import { InvariantViolation, invariant } from '../core/invariant.ts';
import type { SnapshotMetadata } from '../core/message.ts';
import type { PersistDuty } from '../core/ready.ts';
import type { BlockList } from './block-list.ts';
import { bootstrapState } from './bootstrap.ts';
import type { Clock } from './clock.ts';
import { ContentHash } from './digest.ts';
import type { DatabaseOperation, Disk, FileSink, FileSource, LogDatabase } from './disk.ts';
import { encodeHardState, encodeNamedSnapshot, encodeText, KEYS, type NamedSnapshot } from './log-records.ts';
import { MarkerWriter, STARTS_KEPT } from './marker.ts';
import { FILES, openDirectory, rememberDamage, snapshotFileName, sweepLeftovers } from './recovery.ts';
import type { Damage, LogStorage, Recovered, SnapshotSink, SnapshotSource } from './storage.ts';
import { StorageError, toStorageError } from './storage-error.ts';

export interface LogStoreOptions {
  /** A random text without spaces, of at most 40 characters; called when a directory is first used, and for each start. */
  readonly newInstanceId: () => string;
  /** Record size at which a write is cut into several. Default 1 MiB. */
  readonly maxBlockBytes?: number;
  /** How long the marker may lag behind acknowledged entries. Default 10 ms. */
  readonly markerLagMs?: number;
}

const DEFAULT_MAX_BLOCK_BYTES = 1024 * 1024;
const DEFAULT_MARKER_LAG_MS = 10;
/** Blocks dropped in one batch by compaction: about 2 ms of work. */
const COMPACTION_STEP_BLOCKS = 256;

/** What exists while the directory is open. */
interface OpenStore {
  readonly database: LogDatabase;
  readonly marker: MarkerWriter;
  readonly list: BlockList;
  readonly incarnation: number;
  snapshot: NamedSnapshot | undefined;
}

/** The log, hard state and snapshots of one node on a {@link Disk}; see block-codec.ts and recovery.ts for the layout. */
export class LogStore implements LogStorage {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #newInstanceId: () => string;
  readonly #maxBlockBytes: number;
  readonly #markerLagMs: number;
  #open: OpenStore | undefined;
  #failure: StorageError | undefined;
  /** Resolves when the last change to the database that was begun is done: one at a time. */
  #lastChange: Promise<unknown> = Promise.resolve();
  #snapshotAttempts = 0;

  constructor(disk: Disk, clock: Clock, options: LogStoreOptions) {
    this.#disk = disk;
    this.#clock = clock;
    this.#newInstanceId = options.newInstanceId;
    this.#maxBlockBytes = options.maxBlockBytes ?? DEFAULT_MAX_BLOCK_BYTES;
    this.#markerLagMs = options.markerLagMs ?? DEFAULT_MARKER_LAG_MS;
  }

  async recover(): Promise<Recovered | { readonly damage: Damage }> {
    invariant(this.#open === undefined, 'the storage is open');
    this.#failure = undefined;
    const directory = await openDirectory(this.#disk, this.#newInstanceId);
    if ('damage' in directory) return directory;
    const { database, instanceId, clusterId, hardState, list, runs, snapshot } = directory;
    try {
      await sweepLeftovers(this.#disk, snapshot);
      const incarnation = directory.marker.incarnation + 1;
      const starts = [this.#newInstanceId(), ...directory.marker.starts].slice(0, STARTS_KEPT);
      const marker = new MarkerWriter({
        file: await this.#disk.openSlots(FILES.marker),
        clock: this.#clock,
        lagMs: this.#markerLagMs,
        sequence: directory.markerSequence,
        current: { ...directory.marker, incarnation, starts },
        onFailure: (error) => this.#fail(error, 'writing the marker'),
      });
      // From here on this start is one that peers may have seen. What the log holds beyond the old marker is claimed too.
      marker.claim(list.lastIndex, list.lastTerm, hardState);
      await marker.flush();
      this.#open = { database, marker, list, incarnation, snapshot };
      const isEmpty = list.lastIndex === 0 && hardState.term === 0;
      return { hardState, runs, snapshot: snapshot?.metadata, instanceId, incarnation, starts, isEmpty, clusterId };
    } catch (error) {
      await database.close().catch(() => undefined);
      throw toStorageError(error, 'recovering');
    }
  }

  async bootstrap(configuration: Configuration): Promise<void> {
    const { list } = this.#opened();
    invariant(list.lastIndex === 0, 'only an empty log is bootstrapped');
    const { run, hardState } = bootstrapState(configuration);
    await this.persist({ write: 0, hardState, runs: [run], term: run.term, lastIndex: run.lastIndex });
  }

  async persist(duty: PersistDuty): Promise<void> {
    await this.#change('writing the log', async ({ database, marker, list, snapshot }) => {
      let operations: DatabaseOperation[] = [];
      const [first] = duty.runs;
      if (first !== undefined) {
        const { firstIndex } = first;
        invariant(firstIndex <= list.lastIndex + 1, `a write at ${firstIndex} leaves a gap after ${list.lastIndex}`);
        const before = (firstIndex - 1) as LogIndex;
        const termBefore = termBeforeWrite(list, snapshot, before);
        if (marker.current.lastIndex > before) {
          // The marker claims entries that this write replaces. Lower it first: at every moment the claim must be true
          // of the log as it was and as it will be, whichever of the two a crash leaves behind.
          marker.claim(before, termBefore);
          await marker.flush();
        }
        operations = list.write(duty.runs, termBefore, this.#maxBlockBytes);
      }
      if (duty.hardState !== undefined) {
        operations.push({ type: 'put', key: KEYS.hardState, value: encodeHardState(duty.hardState) });
      }
      if (operations.length === 0) return;
      await database.batch(operations, { sync: true });
      const { lastIndex, lastTerm } = list;
      marker.claim(lastIndex, lastTerm, duty.hardState);
      if (duty.hardState !== undefined) await marker.flush();
    });
  }

  async compact(index: LogIndex, _term: Term): Promise<void> {
    for (let isDone = false; !isDone; ) {
      // In steps: a write of entries must not wait for thousands of deletions.
      await this.#change('compacting the log', async ({ database, list, snapshot }) => {
        const upTo = Math.min(index, snapshot?.metadata.index ?? 0) as LogIndex;
        const operations = list.dropBefore(upTo, COMPACTION_STEP_BLOCKS);
        isDone = operations.length < COMPACTION_STEP_BLOCKS;
        // Oldest first and unsynced: a crash brings back a tail of them, which still is contiguous.
        if (operations.length > 0) await database.batch(operations, { sync: false });
      });
    }
  }

  async createSnapshot(metadata: SnapshotMetadata): Promise<SnapshotSink> {
    const { incarnation } = this.#opened();
    this.#snapshotAttempts += 1;
    const name = snapshotFileName(metadata.index, metadata.term, incarnation, this.#snapshotAttempts);
    const file = await this.#disk.createStream(name);
    return new StoredSnapshotSink(file, (byteLength, contentHash, replaceLog) =>
      this.#nameSnapshot({ metadata, file: name, byteLength, contentHash }, replaceLog),
    );
  }

  async openSnapshot(): Promise<SnapshotSource | undefined> {
    const { snapshot } = this.#opened();
    if (snapshot === undefined) return undefined;
    const file = await this.#disk.openStream(snapshot.file);
    if (file === undefined) throw new StorageError('STORAGE_DAMAGED', `the snapshot file ${snapshot.file} is missing`);
    return new StoredSnapshotSource(snapshot, file);
  }

  async rememberClusterId(clusterId: string): Promise<void> {
    await this.#change('writing the log', ({ database }) =>
      database.batch([{ type: 'put', key: KEYS.clusterId, value: encodeText(clusterId) }], { sync: false }),
    );
  }

  async markDamaged(reason: string): Promise<void> {
    await rememberDamage(this.#disk, reason);
    await this.close().catch(() => undefined);
  }

  async freeBytes(): Promise<number> {
    return this.#disk.freeBytes();
  }

  async close(): Promise<void> {
    const open = this.#open;
    if (open === undefined) return;
    this.#open = undefined;
    await this.#lastChange.catch(() => undefined);
    const failure = this.#failure;
    let markerFailure: unknown;
    try {
      // After a failure nothing more is claimed.
      if (failure === undefined) await open.marker.close();
      else await open.marker.discard();
    } catch (error) {
      markerFailure = error;
    }
    await open.database.close();
    if (markerFailure !== undefined) throw toStorageError(markerFailure, 'writing the marker');
  }

  async #nameSnapshot(next: NamedSnapshot, replaceLog: boolean): Promise<void> {
    const previous = await this.#change('naming the snapshot', async (open) => {
      const { database, marker, list, snapshot } = open;
      const { index, term } = next.metadata;
      invariant(index > (snapshot?.metadata.index ?? 0), 'snapshots are named in order');
      const naming: DatabaseOperation = { type: 'put', key: KEYS.snapshot, value: encodeNamedSnapshot(next) };
      if (replaceLog) {
        // As with a write that replaces entries: claim only what holds before and after.
        marker.claim(snapshot?.metadata.index ?? ZERO_INDEX, snapshot?.metadata.term ?? ZERO_TERM);
        await marker.flush();
        await database.largeBatch(followedBy(list.clear(index, term), naming), () => this.#pause());
      } else {
        invariant(index <= list.lastIndex, `the log ends at ${list.lastIndex}, before the snapshot at ${index}`);
        await database.batch([naming], { sync: true });
      }
      open.snapshot = next;
      if (replaceLog) {
        marker.claim(index, term);
        await marker.flush();
      }
      return snapshot;
    });
    // No batch names it any more; if this fails the next start sweeps it.
    if (previous !== undefined) await this.#disk.removeFile(previous.file).catch(() => undefined);
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => this.#clock.endOfTurn(resolve));
  }

  #opened(): OpenStore {
    if (this.#failure !== undefined) throw new StorageError('STORAGE_CLOSED', 'the storage has failed', this.#failure);
    if (this.#open === undefined) throw new StorageError('STORAGE_CLOSED', 'the storage is closed');
    return this.#open;
  }

  /** One change at a time. After an error the outcome is unknown, so no later one is tried. */
  async #change<Result>(what: string, action: (open: OpenStore) => Promise<Result>): Promise<Result> {
    const previous = this.#lastChange;
    const change = (async (): Promise<Result> => {
      await previous.catch(() => undefined);
      const open = this.#opened();
      try {
        return await action(open);
      } catch (error) {
        throw this.#fail(error, what);
      }
    })();
    this.#lastChange = change.catch(() => undefined);
    return change;
  }

  #fail(error: unknown, what: string): Error {
    const failure = toStorageError(error, what);
    this.#failure ??= failure;
    this.#open?.marker.abandon();
    return error instanceof InvariantViolation ? error : failure;
  }
}

function* followedBy<Item>(items: Iterable<Item>, last: Item): Generator<Item, void, void> {
  yield* items;
  yield last;
}

function termBeforeWrite(list: BlockList, snapshot: NamedSnapshot | undefined, before: LogIndex): Term {
  if (before === 0) return ZERO_TERM;
  if (before === snapshot?.metadata.index) return snapshot.metadata.term;
  const found = list.termAt(before);
  invariant(found !== undefined, `no entry before ${before + 1} in the log`);
  return found;
}

class StoredSnapshotSink implements SnapshotSink {
  readonly #file: FileSink;
  readonly #name: (byteLength: number, contentHash: string, replaceLog: boolean) => Promise<void>;
  readonly #hash = new ContentHash();
  #byteLength = 0;

  constructor(file: FileSink, name: (byteLength: number, contentHash: string, replaceLog: boolean) => Promise<void>) {
    this.#file = file;
    this.#name = name;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#hash.update(chunk);
    this.#byteLength += chunk.length;
    await this.#file.write(chunk);
  }

  contentHash(): string {
    return this.#hash.value();
  }

  async commit(options: { readonly replaceLog: boolean }): Promise<void> {
    await this.#file.commit();
    await this.#name(this.#byteLength, this.#hash.value(), options.replaceLog);
  }

  async abort(): Promise<void> {
    await this.#file.abort();
  }
}

class StoredSnapshotSource implements SnapshotSource {
  readonly metadata: SnapshotMetadata;
  readonly contentHash: string;
  readonly byteLength: number;
  readonly #file: FileSource;

  constructor(snapshot: NamedSnapshot, file: FileSource) {
    this.metadata = snapshot.metadata;
    this.contentHash = snapshot.contentHash;
    this.byteLength = snapshot.byteLength;
    this.#file = file;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    return this.#file.read(offset, length);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}
