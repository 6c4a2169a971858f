import type { Random } from '../core/options.ts';
import type { Clock } from '../node/clock.ts';
import type { DatabaseOperation, Disk, FileSink, FileSource, LogDatabase, SlotFile } from '../node/disk.ts';
import { StorageError } from '../node/storage-error.ts';

/** Where a fault can strike. */
export type DiskOperation = 'batch' | 'slot' | 'file';

export interface SimulatedDiskOptions {
  readonly clock: Clock;
  /** Decides what of the unsynced a loss of power leaves behind. */
  readonly random: Random;
  /** How long a sync takes, in milliseconds; asked once for each. Default 0. */
  readonly syncDelayMs?: () => number;
}

/** What kinds of planted bugs a test may switch on, to show that it would notice. */
export interface DiskSabotage {
  /** Says that a batch is durable before it is. */
  readonly acknowledgesBeforeSync: boolean;
}

/**
 * A disk that lives through the processes that use it. `mount` gives a process its view; `kill` ends the process and
 * keeps what it wrote, `losePower` keeps what was synced and a random part of the rest: batches in order up to some
 * point, slots whole, torn or not at all, and files with their names or without.
 */
export class SimulatedDisk {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #syncDelayMs: () => number;
  sabotage: DiskSabotage = { acknowledgesBeforeSync: false };
  freeBytes: number = Number.MAX_SAFE_INTEGER;

  #generation = 0;
  #isClaimed = false;
  #database: Map<string, Uint8Array> | undefined;
  /** Batches that no sync has covered yet, oldest first. */
  #unsynced: (readonly DatabaseOperation[])[] = [];
  #history: (readonly DatabaseOperation[])[] = [];
  #complaints: string[] = [];
  #files = new Map<string, Uint8Array>();
  #pendingSlots: { readonly name: string; readonly offset: number; readonly bytes: Uint8Array }[] = [];
  #pendingFiles = new Map<string, Uint8Array | undefined>();
  readonly #failures: { readonly operation: DiskOperation; readonly error: StorageError }[] = [];
  #isHeld = false;
  #waiting: (() => void)[] = [];
  /** Syncs that completed: one for each durable batch, slot or file. */
  syncs = 0;
  /** Called with every batch as it becomes durable; with nothing where the database became another one. */
  onDurable: ((operations: readonly DatabaseOperation[] | undefined) => void) | undefined;

  constructor(options: SimulatedDiskOptions) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.#syncDelayMs = options.syncDelayMs ?? (() => 0);
  }

  /** The disk as one process sees it. */
  mount(): Disk {
    return new Mount(this, this.#generation);
  }

  /** The process ends without a word; what it wrote stays, as it does in an operating system's cache. */
  kill(): void {
    this.#endProcess();
    for (const batch of this.#unsynced) this.#applyDurably(batch);
    for (const { name, offset, bytes } of this.#pendingSlots) this.#files.get(name)?.set(bytes, offset);
    for (const [name, bytes] of this.#pendingFiles) this.#settleFile(name, bytes);
    this.#forgetPending();
  }

  losePower(): void {
    this.#endProcess();
    const kept = this.#random(this.#unsynced.length + 1);
    for (const batch of this.#unsynced.slice(0, kept)) this.#applyDurably(batch);
    for (const { name, offset, bytes } of this.#pendingSlots) {
      // Whole, torn at any byte, or not at all.
      const from = this.#random(bytes.length + 1);
      const to = this.#random(2) === 0 ? bytes.length : from;
      this.#files.get(name)?.set(bytes.subarray(from, to), offset + from);
    }
    for (const [name, bytes] of this.#pendingFiles) if (this.#random(2) === 0) this.#settleFile(name, bytes);
    this.#forgetPending();
  }

  /** The next such operation fails, having been carried out or not: nobody can tell. */
  failNext(
    operation: DiskOperation,
    error: StorageError = new StorageError('STORAGE_IO', 'simulated: input/output error'),
  ): void {
    this.#failures.push({ operation, error });
  }

  /** Syncs take for ever from now on, until `releaseSyncs`. */
  holdSyncs(): void {
    this.#isHeld = true;
  }

  releaseSyncs(): void {
    this.#isHeld = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  /** The database forgets its last durable batches, as LevelDB does; with a line in its own log or without. */
  forgetBatches(count: number, options: { readonly complains: boolean }): void {
    const kept = this.#history.slice(0, Math.max(0, this.#history.length - count));
    this.#database = new Map();
    this.#history = [];
    this.onDurable?.(undefined);
    for (const batch of kept) this.#applyDurably(batch);
    if (options.complains) this.#complaints.push('dropping 1 bytes; Corruption: simulated');
  }

  /** A backup of everything durable. The function it returns puts the disk back to it; the process must have ended. */
  backUp(): () => void {
    const database = this.#database && new Map(this.#database);
    const history = [...this.#history];
    const files = new Map([...this.#files].map(([name, bytes]) => [name, Uint8Array.from(bytes)]));
    return () => {
      this.#database = database && new Map(database);
      this.#history = [...history];
      this.#files = new Map([...files].map(([name, bytes]) => [name, Uint8Array.from(bytes)]));
      this.onDurable?.(undefined);
    };
  }

  /** Every durable record, in the order of keys. */
  durableRecords(): [string, Uint8Array][] {
    return [...(this.#database ?? [])].sort(([left], [right]) => (left < right ? -1 : 1));
  }

  /** Names and keys of everything durable, for choosing what to spoil. */
  names(): { readonly keys: readonly string[]; readonly files: readonly string[] } {
    return { keys: [...(this.#database?.keys() ?? [])].sort(), files: [...this.#files.keys()].sort() };
  }

  /** Changes one bit of a durable record or file. */
  flipBit(target: { readonly key: string } | { readonly file: string }, byte: number): void {
    const found = 'key' in target ? this.#database?.get(target.key) : this.#files.get(target.file);
    if (found === undefined) throw new Error(`nothing to spoil under ${JSON.stringify(target)}`);
    const copy = Uint8Array.from(found);
    const at = byte % copy.length;
    copy[at] = (copy[at] as number) ^ 1;
    if ('key' in target) this.#database?.set(target.key, copy);
    else this.#files.set(target.file, copy);
  }

  remove(target: { readonly key: string } | { readonly file: string } | 'database'): void {
    if (target === 'database') this.#database = undefined;
    else if ('key' in target) this.#database?.delete(target.key);
    else this.#files.delete(target.file);
  }

  /** For `Mount`: calls that belong to an ended process stay unanswered for ever. */
  async guard<Result>(generation: number, action: () => Promise<Result> | Result): Promise<Result> {
    if (generation !== this.#generation) return new Promise(() => undefined);
    const result = await action();
    return generation === this.#generation ? result : new Promise(() => undefined);
  }

  claim(options: { readonly create: boolean }): void {
    if (this.#isClaimed) throw new StorageError('STORAGE_LOCKED', 'another process uses the simulated disk');
    if (this.#database === undefined && !options.create) {
      throw new StorageError('STORAGE_DAMAGED', "the log's database does not open: it does not exist");
    }
    this.#database ??= new Map();
    this.#isClaimed = true;
  }

  unclaim(): void {
    this.#isClaimed = false;
    for (const batch of this.#unsynced) this.#applyDurably(batch);
    this.#unsynced = [];
  }

  get hasDatabase(): boolean {
    return this.#database !== undefined;
  }

  get complaints(): readonly string[] {
    return this.#complaints;
  }

  async batch(operations: readonly DatabaseOperation[], isSynced: boolean): Promise<void> {
    const copy = operations.map((operation) =>
      operation.type === 'put' ? { ...operation, value: new Uint8Array(operation.value) } : operation,
    );
    this.#unsynced.push(copy);
    if (!isSynced) return;
    const isEarly = this.sabotage.acknowledgesBeforeSync;
    const synced = this.#sync('batch').then(() => {
      const upTo = this.#unsynced.indexOf(copy) + 1;
      for (const batch of this.#unsynced.splice(0, upTo)) this.#applyDurably(batch);
    });
    if (!isEarly) await synced;
  }

  /** What the process reads back: also what is not synced. */
  records(): [string, Uint8Array][] {
    const view = new Map(this.#database);
    for (const batch of this.#unsynced) applyTo(view, batch);
    return [...view].sort(([left], [right]) => (left < right ? -1 : 1));
  }

  file(name: string): Uint8Array | undefined {
    if (this.#pendingFiles.has(name)) return this.#pendingFiles.get(name);
    return this.#files.get(name);
  }

  fileNames(): string[] {
    const names = new Set([...this.#files.keys(), ...this.#pendingFiles.keys()]);
    return [...names].filter((name) => this.file(name) !== undefined).sort();
  }

  async putFile(name: string, bytes: Uint8Array): Promise<void> {
    this.#pendingFiles.set(name, Uint8Array.from(bytes));
    await this.#sync('file');
    for (const [pending, content] of this.#pendingFiles) this.#settleFile(pending, content);
    this.#pendingFiles.clear();
  }

  removeFile(name: string): void {
    this.#pendingFiles.set(name, undefined);
  }

  async writeSlot(name: string, offset: number, bytes: Uint8Array): Promise<void> {
    const write = { name, offset, bytes: new Uint8Array(bytes) };
    this.#pendingSlots.push(write);
    await this.#sync('slot');
    this.#pendingSlots.splice(this.#pendingSlots.indexOf(write), 1);
    this.#files.get(name)?.set(write.bytes, offset);
  }

  async #sync(operation: DiskOperation): Promise<void> {
    const generation = this.#generation;
    const delayMs = this.#syncDelayMs();
    if (delayMs > 0) await new Promise<void>((resolve) => this.#clock.after(delayMs, resolve));
    if (this.#isHeld) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (generation !== this.#generation) await new Promise(() => undefined);
    const failure = this.#failures.findIndex((candidate) => candidate.operation === operation);
    if (failure >= 0) throw (this.#failures.splice(failure, 1)[0] as { readonly error: StorageError }).error;
    this.syncs += 1;
  }

  #endProcess(): void {
    this.#generation += 1;
    this.#isClaimed = false;
    this.#isHeld = false;
    this.#waiting = [];
    this.#failures.length = 0;
  }

  #forgetPending(): void {
    this.#unsynced = [];
    this.#pendingSlots = [];
    this.#pendingFiles.clear();
  }

  #applyDurably(batch: readonly DatabaseOperation[]): void {
    this.#database ??= new Map();
    this.#history.push(batch);
    applyTo(this.#database, batch);
    this.onDurable?.(batch);
  }

  #settleFile(name: string, bytes: Uint8Array | undefined): void {
    if (bytes === undefined) this.#files.delete(name);
    else this.#files.set(name, bytes);
  }
}

function applyTo(records: Map<string, Uint8Array>, batch: readonly DatabaseOperation[]): void {
  for (const operation of batch) {
    if (operation.type === 'put') records.set(operation.key, operation.value);
    else records.delete(operation.key);
  }
}

class Mount implements Disk {
  readonly #disk: SimulatedDisk;
  readonly #generation: number;

  constructor(disk: SimulatedDisk, generation: number) {
    this.#disk = disk;
    this.#generation = generation;
  }

  async openDatabase(options: { readonly create: boolean }): Promise<LogDatabase> {
    return this.#guard(() => {
      this.#disk.claim(options);
      return {
        batch: (operations, { sync }) => this.#guard(() => this.#disk.batch(operations, sync)),
        largeBatch: (operations) => this.#guard(() => this.#disk.batch([...operations], true)),
        scan: (visit) =>
          this.#guard(() => {
            for (const [key, value] of this.#disk.records()) visit(key, Uint8Array.from(value));
          }),
        close: () => this.#guard(() => this.#disk.unclaim()),
      };
    });
  }

  async hasDatabase(): Promise<boolean> {
    return this.#guard(() => this.#disk.hasDatabase);
  }

  async databaseComplaints(): Promise<readonly string[]> {
    return this.#guard(() => this.#disk.complaints);
  }

  async readFile(name: string): Promise<Uint8Array | undefined> {
    return this.#guard(() => {
      const bytes = this.#disk.file(name);
      return bytes === undefined ? undefined : Uint8Array.from(bytes);
    });
  }

  async writeFile(name: string, bytes: Uint8Array): Promise<void> {
    return this.#guard(() => this.#disk.putFile(name, bytes));
  }

  async removeFile(name: string): Promise<void> {
    return this.#guard(() => this.#disk.removeFile(name));
  }

  async listFiles(): Promise<readonly string[]> {
    return this.#guard(() => this.#disk.fileNames());
  }

  async openSlots(name: string): Promise<SlotFile> {
    return this.#guard(() => ({
      write: (offset: number, bytes: Uint8Array) => this.#guard(() => this.#disk.writeSlot(name, offset, bytes)),
      close: () => Promise.resolve(),
    }));
  }

  async createStream(name: string): Promise<FileSink> {
    const chunks: Uint8Array[] = [];
    return {
      write: (bytes) =>
        this.#guard(() => {
          chunks.push(Uint8Array.from(bytes));
        }),
      commit: () => this.#guard(() => this.#disk.putFile(name, Buffer.concat(chunks))),
      abort: () => Promise.resolve(),
    };
  }

  async openStream(name: string): Promise<FileSource | undefined> {
    return this.#guard(() => {
      const bytes = this.#disk.file(name);
      if (bytes === undefined) return undefined;
      return {
        byteLength: bytes.length,
        read: (offset: number, length: number) =>
          this.#guard(() => Uint8Array.from(bytes.subarray(offset, offset + length))),
        close: () => Promise.resolve(),
      };
    });
  }

  async freeBytes(): Promise<number> {
    return this.#guard(() => this.#disk.freeBytes);
  }

  #guard<Result>(action: () => Promise<Result> | Result): Promise<Result> {
    return this.#disk.guard(this.#generation, action);
  }
}
