import type { StateRecord } from './records.ts';
import type { Restoration } from './restoration.ts';
import {
  BLOCK_HEADER_BYTES,
  decodeBlock,
  MAX_BLOCK_BYTES,
  SNAPSHOT_NAME,
  SNAPSHOT_VERSION,
  TRAILER,
} from './snapshot-format.ts';
import type { TableState } from './state.ts';

/** So many requests, nonces and the like are put in their places in one call of `settle`: well below 1 ms. */
const SETTLED_AT_ONCE = 300;

/**
 * Takes a snapshot's content, cut anywhere, in order, and makes a state of it. Has the shape of `SnapshotWriter` in
 * @lockd/raft. Throws on anything that is not a whole, undamaged snapshot of a version this program knows.
 */
export class TableSnapshotWriter {
  readonly #restoration: Restoration;
  readonly #use: (state: TableState) => void;
  #buffered: Uint8Array = new Uint8Array(0);
  #recordCount = 0;
  #hasHeader = false;
  #hasTrailer = false;

  constructor(restoration: Restoration, use: (state: TableState) => void) {
    this.#restoration = restoration;
    this.#use = use;
  }

  write(chunk: Uint8Array): void {
    let bytes = chunk;
    if (this.#buffered.length > 0) {
      bytes = new Uint8Array(this.#buffered.length + chunk.length);
      bytes.set(this.#buffered);
      bytes.set(chunk, this.#buffered.length);
    }
    let position = 0;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    while (bytes.length - position >= BLOCK_HEADER_BYTES) {
      const length = view.getUint32(position);
      if (length > MAX_BLOCK_BYTES) throw new Error(`a block of the snapshot claims ${length} bytes`);
      const start = position + BLOCK_HEADER_BYTES;
      if (bytes.length < start + length) break;
      this.#takeBlock(decodeBlock(bytes.subarray(start, start + length), view.getUint32(position + 4)));
      position = start + length;
    }
    this.#buffered = bytes.slice(position);
  }

  /** The whole snapshot was written: does a part of what is left to do. True when `finish` only has to switch. */
  settle(): boolean {
    this.#refuseIncomplete();
    return this.#restoration.settle(SETTLED_AT_ONCE);
  }

  /** The whole snapshot was written: switches to the restored state. */
  finish(): void {
    this.#refuseIncomplete();
    this.#use(this.#restoration.finish());
  }

  #refuseIncomplete(): void {
    if (!this.#hasTrailer || this.#buffered.length > 0) throw new Error('the snapshot is incomplete');
  }

  #takeBlock(records: readonly StateRecord[]): void {
    for (const record of records) {
      if (this.#hasTrailer) throw new Error('the snapshot goes on after its end');
      if (!this.#hasHeader) {
        this.#takeHeader(record);
      } else if (record[0] === TRAILER) {
        if (record[1] !== this.#recordCount)
          throw new Error(`the snapshot has ${this.#recordCount} records, not ${String(record[1])}`);
        this.#hasTrailer = true;
      } else {
        this.#recordCount++;
        this.#restoration.add(record);
      }
    }
  }

  #takeHeader(record: StateRecord): void {
    if (record[0] !== SNAPSHOT_NAME) throw new Error('this is no snapshot of a lock table');
    if (record[1] !== SNAPSHOT_VERSION) {
      throw new Error(
        `snapshots of version ${String(record[1])} are not known here, only of version ${SNAPSHOT_VERSION}`,
      );
    }
    this.#hasHeader = true;
  }
}
