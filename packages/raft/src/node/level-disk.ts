import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, type FileHandle, mkdir, open, readFile, rename, rm, statfs } from 'node:fs/promises';
import path from 'node:path';
import { walk } from '@nodelib/fs.walk';
import { Level } from 'level';
import type { DatabaseOperation, Disk, FileSink, FileSource, LogDatabase, SlotFile } from './disk.ts';
import { complaintsIn } from './level-log.ts';
import { StorageError, toStorageError } from './storage-error.ts';

const DATABASE_DIRECTORY = 'log';
const TEMPORARY_SUFFIX = '.tmp';
const WRITE_BUFFER_BYTES = 32 * 1024 * 1024;
const SCAN_CHUNK_RECORDS = 1000;
const SCAN_CHUNK_BYTES = 1024 * 1024;
/** Of a large batch, collected at once: some 2 ms. */
const PIECE_OPERATIONS = 1000;
const SMALL_FILE_BYTES_MAX = 1024 * 1024;
/** Stands in the directory from before LevelDB opens it until it has been read once. */
const OPENING_FILE = 'opening';
const ENCODINGS = { keyEncoding: 'utf8', valueEncoding: 'view' } as const;
/** With the encodings named the library makes no copy of the options: a quarter of what a write costs this thread. */
const SYNCED_PUT = { ...ENCODINGS, sync: true } as const;
const UNSYNCED_PUT = { ...ENCODINGS, sync: false } as const;
/**
 * Each write returns when it is on the device: one visit to the thread pool instead of two. Waking a pool thread is what a
 * marker costs this thread. Elsewhere than on Linux it promises less than `datasync` (macOS keeps the drive's cache).
 */
const SYNCED_WRITES = process.platform === 'linux' ? constants.O_DSYNC : 0;

/** Real files below one directory, which is made when it is first used; the database is LevelDB in its `log`. */
export class LevelDisk implements Disk {
  readonly #directory: string;
  readonly #databasePath: string;

  constructor(directory: string) {
    this.#directory = path.resolve(directory);
    this.#databasePath = path.join(this.#directory, DATABASE_DIRECTORY);
  }

  async openDatabase(options: { readonly create: boolean }): Promise<LogDatabase> {
    if (options.create) {
      await attempt('creating the data directory', async () => {
        await mkdir(this.#databasePath, { recursive: true });
        await syncDirectory(this.#directory);
        await syncDirectory(path.dirname(this.#directory));
      });
    }
    if (!options.create) await this.#checkedOpening();
    const level = new Level<string, Uint8Array>(this.#databasePath, {
      ...ENCODINGS,
      compression: false,
      writeBufferSize: WRITE_BUFFER_BYTES,
      createIfMissing: options.create,
    });
    try {
      await level.open();
    } catch (error) {
      throw openingError(error, this.#directory);
    }
    return new LevelDatabase(level, () => rm(this.#pathOf(OPENING_FILE), { force: true }));
  }

  /**
   * LevelDB ends the whole process on some kinds of damage (a failed assertion). Where the last opening did not get to
   * its end, for that reason or because the process was killed, another process tries first.
   */
  async #checkedOpening(): Promise<void> {
    if ((await readIfThere(this.#pathOf(OPENING_FILE))) !== undefined) {
      const ending = await openElsewhere(this.#databasePath);
      if (ending !== undefined)
        throw new StorageError('STORAGE_DAMAGED', `LevelDB cannot read the log, and ends its process: ${ending}`);
    }
    await this.writeFile(OPENING_FILE, Buffer.from('see level-disk.ts\n'));
  }

  async hasDatabase(): Promise<boolean> {
    // LevelDB leaves LOCK and LOG behind even where opening fails: only these say that there was a database.
    for (const name of await this.#namesIn(this.#databasePath)) {
      if (name === 'CURRENT' || name.startsWith('MANIFEST-') || name.endsWith('.ldb') || name.endsWith('.log'))
        return true;
    }
    return false;
  }

  async databaseComplaints(): Promise<readonly string[]> {
    const complaints: string[] = [];
    for (const name of ['LOG.old', 'LOG']) {
      const text = await attempt(`reading ${name}`, () => readIfThere(path.join(this.#databasePath, name)));
      if (text !== undefined) complaints.push(...complaintsIn(text.toString('latin1')));
    }
    // Repairing moves what it cannot read to `lost`: nobody but a person does that.
    if ((await this.#namesIn(path.join(this.#databasePath, 'lost'))).length > 0)
      complaints.push('the database has been repaired by hand');
    return complaints;
  }

  async readFile(name: string): Promise<Uint8Array | undefined> {
    return attempt(`reading ${name}`, async () => {
      const bytes = await readIfThere(this.#pathOf(name));
      return bytes?.subarray(0, SMALL_FILE_BYTES_MAX);
    });
  }

  async writeFile(name: string, bytes: Uint8Array): Promise<void> {
    const sink = await this.createStream(name);
    try {
      await sink.write(bytes);
      await sink.commit();
    } catch (error) {
      await sink.abort();
      throw error;
    }
  }

  async removeFile(name: string): Promise<void> {
    await attempt(`removing ${name}`, () => rm(this.#pathOf(name), { force: true }));
  }

  async listFiles(): Promise<readonly string[]> {
    return this.#namesIn(this.#directory);
  }

  async openSlots(name: string): Promise<SlotFile> {
    return attempt(`opening ${name}`, async () => {
      const handle = await open(this.#pathOf(name), constants.O_RDWR | SYNCED_WRITES);
      return new LevelSlotFile(handle, name);
    });
  }

  async createStream(name: string): Promise<FileSink> {
    return attempt(`creating ${name}`, async () => {
      await mkdir(this.#directory, { recursive: true });
      const temporaryPath = this.#pathOf(name) + TEMPORARY_SUFFIX;
      return new LevelFileSink(await open(temporaryPath, 'w'), temporaryPath, this.#pathOf(name));
    });
  }

  async openStream(name: string): Promise<FileSource | undefined> {
    return attempt(`opening ${name}`, async () => {
      let handle: FileHandle;
      try {
        handle = await open(this.#pathOf(name), constants.O_RDONLY);
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
      return new LevelFileSource(handle, (await handle.stat()).size, name);
    });
  }

  async freeBytes(): Promise<number> {
    return attempt('measuring free space', async () => {
      const { bavail, bsize } = await statfs(this.#directory);
      return bavail * bsize;
    });
  }

  #pathOf(name: string): string {
    return path.join(this.#directory, name);
  }

  async #namesIn(directory: string): Promise<string[]> {
    try {
      await access(directory);
    } catch (error) {
      if (isMissing(error)) return [];
      throw toStorageError(error, `reading ${directory}`);
    }
    return new Promise((resolve, reject) => {
      walk(directory, { deepFilter: () => false, entryFilter: (entry) => entry.dirent.isFile() }, (error, entries) => {
        // A file may vanish while its directory is read; LevelDB removes some in the background.
        if (error !== null && !isMissing(error)) reject(toStorageError(error, `reading ${directory}`));
        else resolve((entries ?? []).map((entry) => entry.name));
      });
    });
  }
}

class LevelDatabase implements LogDatabase {
  readonly #level: Level<string, Uint8Array>;
  readonly #onRead: () => Promise<void>;

  /** `onRead`: everything has been read once, or refused in words. */
  constructor(level: Level<string, Uint8Array>, onRead: () => Promise<void>) {
    this.#level = level;
    this.#onRead = onRead;
  }

  async batch(operations: readonly DatabaseOperation[], options: { readonly sync: boolean }): Promise<void> {
    try {
      const [only] = operations;
      // A group commit is one record: the same bytes in LevelDB's file, for two thirds of this thread's time.
      if (operations.length === 1 && only?.type === 'put')
        await this.#level.put(only.key, only.value, options.sync ? SYNCED_PUT : UNSYNCED_PUT);
      else await this.#level.batch(operations as DatabaseOperation[], options);
    } catch (error) {
      throw toStorageError(error, 'writing the log');
    }
  }

  async largeBatch(operations: Iterable<DatabaseOperation>, pause: () => Promise<void>): Promise<void> {
    try {
      const batch = this.#level.batch();
      for (const operation of operations) {
        if (operation.type === 'put') batch.put(operation.key, operation.value);
        else batch.del(operation.key);
        if (batch.length % PIECE_OPERATIONS === 0) await pause();
      }
      await batch.write({ sync: true });
    } catch (error) {
      throw toStorageError(error, 'writing the log');
    }
  }

  async scan(visit: (key: string, value: Uint8Array) => void): Promise<void> {
    const iterator = this.#level.iterator({ highWaterMarkBytes: SCAN_CHUNK_BYTES, fillCache: false });
    try {
      for (;;) {
        const records = await iterator.nextv(SCAN_CHUNK_RECORDS);
        if (records.length === 0) return;
        for (const [key, value] of records) visit(key, value);
      }
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      if (/corruption|no such file|bad block|checksum|truncated/i.test(text)) {
        throw new StorageError('STORAGE_DAMAGED', `reading the log: ${text}`, error);
      }
      throw toStorageError(error, 'reading the log');
    } finally {
      await iterator.close();
      await this.#onRead().catch(() => undefined);
    }
  }

  async close(): Promise<void> {
    try {
      await this.#level.close();
    } catch (error) {
      throw toStorageError(error, 'closing the log');
    }
  }
}

class LevelSlotFile implements SlotFile {
  readonly #handle: FileHandle;
  readonly #name: string;

  constructor(handle: FileHandle, name: string) {
    this.#handle = handle;
    this.#name = name;
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await attempt(`writing ${this.#name}`, async () => {
      await writeFully(this.#handle, bytes, offset);
      if (SYNCED_WRITES === 0) await this.#handle.datasync();
    });
  }

  async close(): Promise<void> {
    await attempt(`closing ${this.#name}`, () => this.#handle.close());
  }
}

class LevelFileSink implements FileSink {
  readonly #handle: FileHandle;
  readonly #temporaryPath: string;
  readonly #path: string;
  #offset = 0;
  #isClosed = false;

  constructor(handle: FileHandle, temporaryPath: string, finalPath: string) {
    this.#handle = handle;
    this.#temporaryPath = temporaryPath;
    this.#path = finalPath;
  }

  async write(bytes: Uint8Array): Promise<void> {
    await attempt(`writing ${this.#path}`, () => writeFully(this.#handle, bytes, this.#offset));
    this.#offset += bytes.length;
  }

  async commit(): Promise<void> {
    await attempt(`writing ${this.#path}`, async () => {
      await this.#handle.sync();
      await this.#close();
      await rename(this.#temporaryPath, this.#path);
      await syncDirectory(path.dirname(this.#path));
    });
  }

  async abort(): Promise<void> {
    await attempt(`removing ${this.#temporaryPath}`, async () => {
      await this.#close();
      await rm(this.#temporaryPath, { force: true });
    });
  }

  async #close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#handle.close();
  }
}

class LevelFileSource implements FileSource {
  readonly #handle: FileHandle;
  readonly byteLength: number;
  readonly #name: string;

  constructor(handle: FileHandle, byteLength: number, name: string) {
    this.#handle = handle;
    this.byteLength = byteLength;
    this.#name = name;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const wanted = Math.max(0, Math.min(length, this.byteLength - offset));
    const bytes = Buffer.allocUnsafeSlow(wanted);
    let filled = 0;
    while (filled < wanted) {
      const { bytesRead } = await attempt(`reading ${this.#name}`, () =>
        this.#handle.read(bytes, filled, wanted - filled, offset + filled),
      );
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return bytes.subarray(0, filled);
  }

  async close(): Promise<void> {
    await attempt(`closing ${this.#name}`, () => this.#handle.close());
  }
}

/** Opens and reads the database in a process of its own. Undefined where that came to an end by itself, good or bad. */
async function openElsewhere(databasePath: string): Promise<string | undefined> {
  const program = `
    const { Level } = await import(${JSON.stringify(import.meta.resolve('level'))});
    const level = new Level(${JSON.stringify(databasePath)}, { createIfMissing: false, valueEncoding: 'view' });
    try {
      await level.open();
      for await (const _ of level.iterator()) {}
    } catch {}
    await level.close().catch(() => {});`;
  return new Promise((resolve) => {
    execFile(process.execPath, ['--input-type=module', '-e', program], (error, _stdout, stderr) => {
      const signal = error?.signal ?? undefined;
      resolve(signal === undefined ? undefined : `${signal} ${stderr.trim()}`.slice(0, 500));
    });
  });
}

async function attempt<Result>(what: string, action: () => Promise<Result>): Promise<Result> {
  try {
    return await action();
  } catch (error) {
    throw toStorageError(error, what);
  }
}

function openingError(error: unknown, directory: string): StorageError {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const text = cause instanceof Error ? cause.message : String(cause);
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  if (code === 'LEVEL_LOCKED') {
    return new StorageError('STORAGE_LOCKED', `another process uses the data directory ${directory}`, error);
  }
  if (code === 'LEVEL_CORRUPTION' || /corrupt|does not exist|no such file|missing files|not a database/i.test(text)) {
    return new StorageError('STORAGE_DAMAGED', `the log's database does not open: ${text}`, error);
  }
  return toStorageError(cause, 'opening the log');
}

async function readIfThere(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function writeFully(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}

/** Makes the names in a directory durable. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
