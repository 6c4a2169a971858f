import type { NodeId } from '../core/ids.ts';
import type { Message } from '../core/message.ts';

/** One chunk of a snapshot on its way to a peer, and the answer that lets the next ones come. */
export type SnapshotTransfer =
  | {
      readonly type: 'snapshot-chunk';
      readonly term: number;
      readonly index: number;
      readonly snapshotTerm: number;
      readonly configuration: Uint8Array;
      readonly byteLength: number;
      readonly offset: number;
      readonly bytes: Uint8Array;
      readonly checksum: number;
    }
  | { readonly type: 'snapshot-progress'; readonly term: number; readonly index: number; readonly nextOffset: number; readonly refused: boolean };

/**
 * Messages between nodes. Delivery may fail, repeat, delay and reorder; the core copes. What is sent in one turn to
 * one peer travels in one frame. Nothing blocks: beyond its bound a transport drops and reports `onUnreachable`.
 */
export interface Transport {
  send(message: Message): void;
  sendSnapshot(to: NodeId, transfer: SnapshotTransfer): void;
}

/** What a transport calls; the driver queues it and acts at the end of the turn. */
export interface TransportHandler {
  onMessage(message: Message): void;
  onSnapshot(from: NodeId, transfer: SnapshotTransfer): void;
  onUnreachable(peer: NodeId): void;
  /** See `Input` 'link-closed'. */
  onLinkClosed(peer: NodeId): void;
}
