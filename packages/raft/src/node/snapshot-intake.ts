import { decodeConfiguration } from '../core/configuration-codec.ts';
import type { LogIndex, NodeId, Term } from '../core/ids.ts';
import type { Input } from '../core/input.ts';
import type { Message, SnapshotMetadata } from '../core/message.ts';
import type { RaftNode } from '../core/raft-node.ts';
import { progress, SnapshotReceiver } from './snapshot-receiver.ts';
import type { Snapshots } from './snapshots.ts';
import type { LogStorage, SnapshotSink } from './storage.ts';
import { toStorageError } from './storage-error.ts';
import type { SnapshotTransfer } from './transport.ts';

type Chunk = Extract<SnapshotTransfer, { readonly type: 'snapshot-chunk' }>;

export interface SnapshotIntakeOptions {
  readonly id: NodeId;
  readonly storage: LogStorage;
  /** Answers to this node's own chunks go there. */
  readonly snapshots: Snapshots;
  readonly send: (to: NodeId, transfer: SnapshotTransfer) => void;
  readonly input: (input: Input) => void;
  readonly storageFailed: (error: Error) => void;
}

/** What comes from other nodes about snapshots: chunks of a leader's, and answers to this node's own. */
export class SnapshotIntake {
  readonly #options: SnapshotIntakeOptions;
  #waiting: { readonly from: NodeId; readonly transfer: SnapshotTransfer }[] = [];
  #receiver: SnapshotReceiver | undefined;

  constructor(options: SnapshotIntakeOptions) {
    this.#options = options;
  }

  /** For a storage that was just recovered. */
  begin(): void {
    const { id, storage, send, input, storageFailed } = this.#options;
    this.#receiver = new SnapshotReceiver({
      storage,
      answer: send,
      onComplete: (from, term, metadata) => input({ type: 'receive', message: requestOf(id, from, term, metadata) }),
      onError: (error) => storageFailed(toStorageError(error, 'writing a received snapshot')),
    });
  }

  push(from: NodeId, transfer: SnapshotTransfer): void {
    this.#waiting.push({ from, transfer });
  }

  /** Takes what has come since the last call. */
  take(node: RaftNode, nowMs: number): void {
    const transfers = this.#waiting;
    if (transfers.length === 0) return;
    this.#waiting = [];
    const { id, send, snapshots } = this.#options;
    const { term, commitIndex } = node.status();
    for (const { from, transfer } of transfers) {
      if (transfer.type === 'snapshot-progress') {
        snapshots.progress(from, transfer, nowMs);
      } else if (transfer.term < term) {
        send(from, progress(transfer, 0, true));
      } else if (transfer.index <= commitIndex) {
        // All of it is here already, perhaps through an installation whose end the leader has not heard of.
        send(from, progress(transfer, transfer.byteLength, false));
        const metadata = metadataOf(transfer);
        if (metadata === undefined) continue;
        node.step({ type: 'receive', message: requestOf(id, from, transfer.term as Term, metadata) }, nowMs);
      } else {
        this.#receiver?.chunk(from, transfer);
      }
    }
  }

  /** The sink with exactly this content, if it is whole; the caller commits it. */
  sinkOf(metadata: SnapshotMetadata): SnapshotSink | undefined {
    return this.#receiver?.take(metadata);
  }

  /** What waits is of no use any more. */
  clear(): void {
    this.#waiting = [];
  }

  /** Nothing calls back afterwards. */
  async stop(): Promise<void> {
    await this.#receiver?.stop();
  }
}

function metadataOf(chunk: Chunk): SnapshotMetadata | undefined {
  const configuration = decodeConfiguration(chunk.configuration);
  if (configuration === undefined) return undefined;
  return { index: chunk.index as LogIndex, term: chunk.snapshotTerm as Term, configuration };
}

function requestOf(to: NodeId, from: NodeId, term: Term, metadata: SnapshotMetadata): Message {
  return { type: 'snapshot-request', from, to, term, metadata };
}
