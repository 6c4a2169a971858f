import { crc32 } from 'node:zlib';
import { decodeConfiguration } from '../core/configuration-codec.ts';
import type { LogIndex, NodeId, Term } from '../core/ids.ts';
import type { SnapshotMetadata } from '../core/message.ts';
import type { LogStorage, SnapshotSink } from './storage.ts';
import type { SnapshotTransfer } from './transport.ts';

type Chunk = Extract<SnapshotTransfer, { readonly type: 'snapshot-chunk' }>;

/** Chunks that wait for the disk at most; a sender keeps fewer under way. */
const WAITING_CHUNKS_MAX = 8;

interface Receiving {
  readonly key: string;
  readonly metadata: SnapshotMetadata;
  readonly byteLength: number;
  readonly sink: SnapshotSink;
  nextOffset: number;
}

/** Puts a leader's chunks into a file. A transfer that breaks off is resumed, also on a new link, as long as it is the same one. */
export class SnapshotReceiver {
  readonly #storage: LogStorage;
  readonly #answer: (to: NodeId, transfer: SnapshotTransfer) => void;
  readonly #onComplete: (from: NodeId, term: Term, metadata: SnapshotMetadata) => void;
  readonly #onError: (error: unknown) => void;
  #receiving: Receiving | undefined;
  readonly #waiting: { readonly from: NodeId; readonly chunk: Chunk }[] = [];
  #isWorking = false;
  #isStopped = false;

  constructor(options: {
    readonly storage: LogStorage;
    readonly answer: (to: NodeId, transfer: SnapshotTransfer) => void;
    /** The whole content is here and checked; called again where the sender repeats itself. */
    readonly onComplete: (from: NodeId, term: Term, metadata: SnapshotMetadata) => void;
    readonly onError: (error: unknown) => void;
  }) {
    this.#storage = options.storage;
    this.#answer = options.answer;
    this.#onComplete = options.onComplete;
    this.#onError = options.onError;
  }

  chunk(from: NodeId, chunk: Chunk): void {
    if (this.#isStopped || this.#waiting.length >= WAITING_CHUNKS_MAX) return;
    this.#waiting.push({ from, chunk });
    if (!this.#isWorking) void this.#work();
  }

  /** The sink with exactly this content, if it is whole; the caller commits it. */
  take(metadata: SnapshotMetadata): SnapshotSink | undefined {
    const receiving = this.#receiving;
    if (receiving === undefined || receiving.nextOffset !== receiving.byteLength) return undefined;
    if (receiving.metadata.index !== metadata.index || receiving.metadata.term !== metadata.term) return undefined;
    this.#receiving = undefined;
    return receiving.sink;
  }

  /** Nothing calls back afterwards. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#waiting.length = 0;
    await this.#abort().catch(() => undefined);
  }

  async #work(): Promise<void> {
    this.#isWorking = true;
    try {
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
        await this.#take(next.from, next.chunk);
      }
    } catch (error) {
      if (!this.#isStopped) this.#onError(error);
    } finally {
      this.#isWorking = false;
    }
  }

  async #take(from: NodeId, chunk: Chunk): Promise<void> {
    const configuration = decodeConfiguration(chunk.configuration);
    // Corrupt on the way: the sender repeats it.
    if (configuration === undefined || crc32(chunk.bytes) !== chunk.checksum) return;
    const key = `${from} ${chunk.index} ${chunk.snapshotTerm} ${chunk.byteLength} ${chunk.contentHash}`;
    let receiving = this.#receiving;
    if (receiving?.key !== key) {
      await this.#abort();
      const metadata = { index: chunk.index as LogIndex, term: chunk.snapshotTerm as Term, configuration };
      const sink = await this.#storage.createSnapshot(metadata);
      receiving = { key, metadata, byteLength: chunk.byteLength, sink, nextOffset: 0 };
      this.#receiving = receiving;
    }
    const isNext = chunk.offset === receiving.nextOffset && receiving.nextOffset < receiving.byteLength;
    if (isNext) {
      await receiving.sink.write(chunk.bytes);
      // Taken or dropped meanwhile.
      if (this.#receiving !== receiving) return;
      receiving.nextOffset += chunk.bytes.length;
    }
    if (this.#isStopped) return;
    const isWhole = receiving.nextOffset >= receiving.byteLength;
    if (isWhole && receiving.sink.contentHash() !== chunk.contentHash) {
      await this.#abort();
      this.#answer(from, progress(chunk, 0, true));
      return;
    }
    this.#answer(from, progress(chunk, receiving.nextOffset, false));
    if (isWhole) this.#onComplete(from, chunk.term as Term, receiving.metadata);
  }

  async #abort(): Promise<void> {
    const receiving = this.#receiving;
    this.#receiving = undefined;
    await receiving?.sink.abort();
  }
}

/** The answer to a chunk. */
export function progress(chunk: Chunk, nextOffset: number, refused: boolean): SnapshotTransfer {
  return { type: 'snapshot-progress', term: chunk.term, index: chunk.index, nextOffset, refused };
}
