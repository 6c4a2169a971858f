import type { Configuration } from '../core/configuration.ts';
import type { EntryRun } from '../core/entry-run.ts';
import type { LogIndex, Term } from '../core/ids.ts';
import type { SnapshotMetadata } from '../core/message.ts';
import type { HardState, PersistDuty } from '../core/ready.ts';

/** Why a data directory must not be used: the node neither votes nor acknowledges. */
export interface Damage {
  /** What is wrong, in words for the operator. */
  readonly reason: string;
}

/** What a data directory holds after recovery. */
export interface Recovered {
  readonly hardState: HardState;
  readonly runs: readonly EntryRun[];
  readonly snapshot: SnapshotMetadata | undefined;
  /** Random identity of this directory, made when it was first used. */
  readonly instanceId: string;
  /** Number of this start of this directory: 1, 2, 3, … */
  readonly incarnation: number;
  /** Random names of this start and of those before it, newest first: tell them from starts of an older copy of the directory. */
  readonly starts: readonly string[];
  /** The log and state were empty: nothing was ever promised from this directory. */
  readonly isEmpty: boolean;
  /** What `rememberClusterId` was last given. */
  readonly clusterId: string | undefined;
}

/**
 * Where a node keeps log, hard state and snapshots. Implementations: LevelDB (log-store.ts) and the simulated
 * disk (../testing). Both pass the same conformance suite. Every rejection means "unknown whether written": the
 * driver stops the node.
 */
export interface LogStorage {
  /** Checks and reads everything. A damaged directory is said to be damaged again at the next start. */
  recover(): Promise<Recovered | { readonly damage: Damage }>;
  /** First use: writes the bootstrap configuration as entry 1 of term 1. Durable when resolved. */
  bootstrap(configuration: Configuration): Promise<void>;
  /**
   * Makes one write durable: one record, one sync. Where `hardState` is present its marker is durable too when
   * resolved; otherwise the marker may lag by up to 10 ms. Called again only after the last call has resolved.
   */
  persist(duty: PersistDuty): Promise<void>;
  /** Drops entries up to `index`, keeping what a block boundary needs. In the background; not awaited for safety. */
  compact(index: LogIndex, term: Term): Promise<void>;
  /** A sink for the state machine's snapshot, or for one received from the leader. */
  createSnapshot(metadata: SnapshotMetadata): Promise<SnapshotSink>;
  /** The content of the newest snapshot. */
  openSnapshot(): Promise<SnapshotSource | undefined>;
  /** Durable with the next write at the latest: a convenience for the next start, the log has the truth. */
  rememberClusterId(clusterId: string): Promise<void>;
  /** Durably marks the directory as damaged, for reasons that only others can see. Closes the storage. */
  markDamaged(reason: string): Promise<void>;
  /** Space left on the device, in bytes. */
  freeBytes(): Promise<number>;
  /** Everything claimed is durable when resolved. `recover` may be called again afterwards. Rejects if something could not be written. */
  close(): Promise<void>;
}

export interface SnapshotSink {
  write(chunk: Uint8Array): Promise<void>;
  /** File synced, renamed, directory synced, then named in the log's database: from now on it is the snapshot. With `replaceLog` the same batch drops the whole log (install). */
  commit(options: { readonly replaceLog: boolean }): Promise<void>;
  abort(): Promise<void>;
  /** Hash of everything written so far, as in `SnapshotSource.contentHash`. */
  contentHash(): string;
}

export interface SnapshotSource {
  readonly metadata: SnapshotMetadata;
  /** Hash of the whole content, hexadecimal. */
  readonly contentHash: string;
  readonly byteLength: number;
  /** Bytes from `offset`, at most `length`; empty at the end. */
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}
