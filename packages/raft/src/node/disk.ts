/**
 * The device under the log's layout: an ordered database with atomic synced batches, small files, one file of
 * fixed-size slots, and streamed files. `LogStore` puts blocks, marker, recovery and snapshots on top of it, so the
 * shipped layout runs on real files (level-disk.ts) and on a disk with faults (../testing/simulated-disk.ts).
 *
 * File names are flat. Every rejection means "unknown whether written".
 */
export interface Disk {
  /**
   * Opens the database and thereby claims the directory for this process. Rejects with a `StorageError`:
   * `STORAGE_LOCKED`, `STORAGE_DAMAGED` (it does not open, or is missing and `create` is false), or a device's error.
   */
  openDatabase(options: { readonly create: boolean }): Promise<LogDatabase>;
  hasDatabase(): Promise<boolean>;
  /**
   * Lines in which the database itself has said, now or at earlier openings, that it dropped or distrusts what it
   * read. The newest openings only: whoever finds one must remember it.
   */
  databaseComplaints(): Promise<readonly string[]>;

  /** The whole content, at most 1 MiB; undefined without the file. */
  readFile(name: string): Promise<Uint8Array | undefined>;
  /** Creates or replaces the file; afterwards it has either the old content or this. Durable with its name. */
  writeFile(name: string, bytes: Uint8Array): Promise<void>;
  /** Nothing happens without the file. The removal is durable at some later time. */
  removeFile(name: string): Promise<void>;
  /** Names of all files, without the database's own. */
  listFiles(): Promise<readonly string[]>;

  /** For writing in place into a file made by `writeFile`. */
  openSlots(name: string): Promise<SlotFile>;
  /** A new file, not visible under its name before `commit`. */
  createStream(name: string): Promise<FileSink>;
  /** Undefined without the file. Stays readable when the file is removed meanwhile. */
  openStream(name: string): Promise<FileSource | undefined>;

  /** Space that this process could still use on the device, in bytes. */
  freeBytes(): Promise<number>;
}

export type DatabaseOperation =
  | { readonly type: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: string };

/** Keys are short ASCII strings in ascending order. */
export interface LogDatabase {
  /** All of it or nothing. Durable when resolved with `sync`; without, durable no later than the next synced batch. Values may be reused after the call. */
  batch(operations: readonly DatabaseOperation[], options: { readonly sync: boolean }): Promise<void>;
  /** A synced batch of any number of operations, collected in short pieces; `pause` is awaited between two of them. */
  largeBatch(operations: Iterable<DatabaseOperation>, pause: () => Promise<void>): Promise<void>;
  /** Every record in the order of keys. The values are the caller's. */
  scan(visit: (key: string, value: Uint8Array) => void): Promise<void>;
  close(): Promise<void>;
}

export interface SlotFile {
  /** Durable when resolved. A crash meanwhile may leave any part of these bytes old and any part new. */
  write(offset: number, bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

export interface FileSink {
  write(bytes: Uint8Array): Promise<void>;
  /** Content and name are durable when resolved. */
  commit(): Promise<void>;
  abort(): Promise<void>;
}

export interface FileSource {
  readonly byteLength: number;
  /** Fewer bytes than asked for only at the end. */
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}
