import type { Disk, FileSink, FileSource, LogDatabase, SlotFile } from '@lockd/raft/node';
import type { SimulatedProcess } from './process.ts';
import type { World } from './world.ts';

/**
 * A disk as one process sees it: what the device answers reaches the process through its event loop, so a stalled
 * process learns late that its write is durable, and a dead one never.
 */
export function diskOf(process: SimulatedProcess, disk: Disk, world: World): Disk {
  const pass = <Result>(call: () => Promise<Result>): Promise<Result> =>
    new Promise((resolve, reject) => {
      world.touch();
      const arrive = (settle: () => void): void => {
        process.arrive(() => {
          settle();
          world.touch();
        });
      };
      call().then(
        (result) => arrive(() => resolve(result)),
        (error: unknown) => arrive(() => reject(error instanceof Error ? error : new Error(String(error)))),
      );
    });
  const database = (inner: LogDatabase): LogDatabase => ({
    batch: (operations, options) => pass(() => inner.batch(operations, options)),
    largeBatch: (operations, pause) => pass(() => inner.largeBatch(operations, pause)),
    scan: (visit) => pass(() => inner.scan(visit)),
    close: () => pass(() => inner.close()),
  });
  const slots = (inner: SlotFile): SlotFile => ({
    write: (offset, bytes) => pass(() => inner.write(offset, bytes)),
    close: () => pass(() => inner.close()),
  });
  const sink = (inner: FileSink): FileSink => ({
    write: (bytes) => pass(() => inner.write(bytes)),
    commit: () => pass(() => inner.commit()),
    abort: () => pass(() => inner.abort()),
  });
  const source = (inner: FileSource): FileSource => ({
    byteLength: inner.byteLength,
    read: (offset, length) => pass(() => inner.read(offset, length)),
    close: () => pass(() => inner.close()),
  });
  return {
    openDatabase: (options) => pass(async () => database(await disk.openDatabase(options))),
    hasDatabase: () => pass(() => disk.hasDatabase()),
    databaseComplaints: () => pass(() => disk.databaseComplaints()),
    readFile: (name) => pass(() => disk.readFile(name)),
    writeFile: (name, bytes) => pass(() => disk.writeFile(name, bytes)),
    removeFile: (name) => pass(() => disk.removeFile(name)),
    listFiles: () => pass(() => disk.listFiles()),
    openSlots: (name) => pass(async () => slots(await disk.openSlots(name))),
    createStream: (name) => pass(async () => sink(await disk.createStream(name))),
    openStream: (name) =>
      pass(async () => {
        const inner = await disk.openStream(name);
        return inner === undefined ? undefined : source(inner);
      }),
    freeBytes: () => pass(() => disk.freeBytes()),
  };
}
