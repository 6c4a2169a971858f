import { crc32 } from 'node:zlib';
import { encodeConfiguration } from '../core/configuration-codec.ts';
import type { NodeId, Term } from '../core/ids.ts';
import type { SnapshotSource } from './storage.ts';
import type { SnapshotTransfer } from './transport.ts';

/** Bytes in one chunk, and chunks under way to one peer at most. */
export const SNAPSHOT_CHUNK_BYTES: number = 256 * 1024;
const WINDOW_CHUNKS = 4;

type Progress = Extract<SnapshotTransfer, { readonly type: 'snapshot-progress' }>;

interface Sending {
  readonly source: SnapshotSource;
  readonly configuration: Uint8Array;
  readonly term: Term;
  /** Everything before has arrived. Undefined until the peer has said where it wants to start. */
  acknowledged: number | undefined;
  sent: number;
  /** The largest offset the peer has ever asked for. */
  furthest: number;
  isReading: boolean;
  lastProgressMs: number;
  lastSentMs: number;
}

/** Sends the newest snapshot to followers that are too far behind for the log: chunk by chunk, resumed where the peer is. */
export class SnapshotSender {
  readonly #send: (to: NodeId, transfer: SnapshotTransfer) => void;
  readonly #onAdvanced: (to: NodeId) => void;
  readonly #onDone: (to: NodeId, index: number, ok: boolean) => void;
  readonly #onReadError: (error: unknown) => void;
  /** Chunks are sent again after this long without an answer; given up after ten times that. Milliseconds. */
  readonly #resendMs: number;
  readonly #sendings = new Map<NodeId, Sending>();

  constructor(options: {
    readonly send: (to: NodeId, transfer: SnapshotTransfer) => void;
    /** The peer has more of it than ever before. */
    readonly onAdvanced: (to: NodeId) => void;
    readonly onDone: (to: NodeId, index: number, ok: boolean) => void;
    readonly onReadError: (error: unknown) => void;
    readonly resendMs: number;
  }) {
    this.#send = options.send;
    this.#onAdvanced = options.onAdvanced;
    this.#onDone = options.onDone;
    this.#onReadError = options.onReadError;
    this.#resendMs = options.resendMs;
  }

  get isIdle(): boolean {
    return this.#sendings.size === 0;
  }

  isSendingTo(to: NodeId): boolean {
    return this.#sendings.has(to);
  }

  /** Takes over the source, and closes it at the end. */
  start(to: NodeId, source: SnapshotSource, term: Term, nowMs: number): void {
    this.#end(to);
    const configuration = encodeConfiguration(source.metadata.configuration);
    const sending: Sending = {
      source,
      configuration,
      term,
      acknowledged: undefined,
      sent: 0,
      furthest: 0,
      isReading: false,
      lastProgressMs: nowMs,
      lastSentMs: nowMs,
    };
    this.#sendings.set(to, sending);
    this.#pump(to, sending, nowMs);
  }

  progress(from: NodeId, progress: Progress, nowMs: number): void {
    const sending = this.#sendings.get(from);
    if (sending === undefined || sending.source.metadata.index !== progress.index || sending.term !== progress.term)
      return;
    const { byteLength, metadata } = sending.source;
    if (progress.refused || progress.nextOffset >= byteLength) {
      this.#end(from);
      this.#onDone(from, metadata.index, !progress.refused);
      return;
    }
    if (progress.nextOffset > sending.furthest) {
      sending.furthest = progress.nextOffset;
      sending.lastProgressMs = nowMs;
      this.#onAdvanced(from);
    }
    // The peer may hold a part of an earlier attempt, or have lost it.
    if (sending.acknowledged === undefined || progress.nextOffset > sending.sent) sending.sent = progress.nextOffset;
    sending.acknowledged = Math.max(sending.acknowledged ?? 0, progress.nextOffset);
    this.#pump(from, sending, nowMs);
  }

  /** Call about every heartbeat. */
  tick(nowMs: number): void {
    for (const [to, sending] of this.#sendings) {
      if (nowMs - sending.lastProgressMs > 10 * this.#resendMs) {
        this.#end(to);
        this.#onDone(to, sending.source.metadata.index, false);
      } else if (!sending.isReading && nowMs - Math.max(sending.lastProgressMs, sending.lastSentMs) > this.#resendMs) {
        // Ask again where the peer is: one chunk, whose answer says it.
        sending.sent = sending.acknowledged ?? 0;
        sending.acknowledged = undefined;
        this.#pump(to, sending, nowMs);
      }
    }
  }

  cancelAll(): void {
    for (const to of [...this.#sendings.keys()]) this.#end(to);
  }

  #pump(to: NodeId, sending: Sending, nowMs: number): void {
    const { source, acknowledged } = sending;
    const limit = acknowledged === undefined ? sending.sent + 1 : acknowledged + WINDOW_CHUNKS * SNAPSHOT_CHUNK_BYTES;
    if (sending.isReading || sending.sent >= source.byteLength || sending.sent >= limit) return;
    sending.isReading = true;
    const offset = sending.sent;
    source.read(offset, SNAPSHOT_CHUNK_BYTES).then(
      (bytes) => {
        sending.isReading = false;
        if (this.#sendings.get(to) !== sending || bytes.length === 0) return;
        const isWhereAsked = sending.sent === offset;
        if (isWhereAsked) {
          this.#sendChunk(to, sending, offset, bytes);
          sending.sent = offset + bytes.length;
          sending.lastSentMs = nowMs;
        }
        if (sending.acknowledged !== undefined) this.#pump(to, sending, nowMs);
      },
      (error: unknown) => {
        sending.isReading = false;
        if (this.#sendings.get(to) === sending) this.#onReadError(error);
      },
    );
  }

  #sendChunk(to: NodeId, sending: Sending, offset: number, bytes: Uint8Array): void {
    const { metadata, byteLength, contentHash } = sending.source;
    this.#send(to, {
      type: 'snapshot-chunk',
      term: sending.term,
      index: metadata.index,
      snapshotTerm: metadata.term,
      configuration: sending.configuration,
      byteLength,
      offset,
      bytes,
      checksum: crc32(bytes),
      contentHash,
    });
  }

  #end(to: NodeId): void {
    const sending = this.#sendings.get(to);
    if (sending === undefined) return;
    this.#sendings.delete(to);
    sending.source.close().catch(this.#onReadError);
  }
}
