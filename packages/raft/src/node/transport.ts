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
      /** CRC-32 of `bytes`. */
      readonly checksum: number;
      /** `SnapshotSource.contentHash` of the whole: also tells one transfer from another. */
      readonly contentHash: string;
    }
  | {
      readonly type: 'snapshot-progress';
      readonly term: number;
      readonly index: number;
      readonly nextOffset: number;
      readonly refused: boolean;
    };

/** Who a peer is beyond its name: its data directory and how often that has been started. */
export interface PeerIdentity {
  /** See `Recovered.instanceId`. */
  readonly instanceId: string;
  /** See `Recovered.incarnation`. */
  readonly incarnation: number;
  /**
   * Random, new with every start: tells this start from another one with the same number, which the directory comes
   * back with when it was rolled back by exactly one start. Undefined from nodes that do not say.
   */
  readonly start?: string | undefined;
  /** The same of the starts before this one, newest first: one that a peer has seen is among them, or the directory is an older copy. */
  readonly earlierStarts?: readonly string[] | undefined;
  /** Undefined until the node has learnt it from the log. */
  readonly clusterId: string | undefined;
}

/**
 * How empty nodes find out whether they may found the cluster together, or are admitted by its leader.
 * - `empty`: the directory holds nothing.
 * - `fresh`: it holds the bootstrap configuration and nothing else: no vote given, no entry acknowledged.
 * - `used`: anything else.
 */
export type JoinPhase = 'empty' | 'fresh' | 'used';

export interface JoinProbe {
  /** A `join-request` is answered by a `join-answer`; both say who the sender is. */
  readonly type: 'join-request' | 'join-answer';
  readonly identity: PeerIdentity;
  readonly phase: JoinPhase;
  /** Hash of the initial cluster the sender was started with; undefined without one. */
  readonly bootstrapHash: string | undefined;
  /**
   * Answers only. `admitted`: the sender leads, and the asker's instance is registered in the committed log.
   * `another-instance`: another data directory is registered under the asker's name. `undecided`: anything else.
   */
  readonly verdict: 'admitted' | 'another-instance' | 'undecided';
}

/** Everything one node says to another; what a transport carries. */
export type PeerPayload =
  | { readonly kind: 'raft'; readonly message: Message }
  | { readonly kind: 'snapshot'; readonly transfer: SnapshotTransfer }
  | { readonly kind: 'probe'; readonly probe: JoinProbe };

/**
 * Messages between nodes. Delivery may fail, repeat, delay and reorder; the core copes. What is sent in one turn to
 * one peer travels in one frame. Nothing blocks: beyond its bound a transport drops and reports `onUnreachable`.
 */
export interface Transport {
  send(message: Message): void;
  sendSnapshot(to: NodeId, transfer: SnapshotTransfer): void;
  sendProbe(to: NodeId, probe: JoinProbe): void;
  /** A hint after the sends of a turn, before its entries are applied. What is sent outside a turn gets none: find a moment of your own too. */
  flush?(): void;
}

/** Whether a link to this peer may carry Raft's messages. */
export type PeerVerdict =
  | { readonly accept: true }
  /** `rolled-back`: this node has seen a later start of the same directory. `removed`: it was a member's and has left. */
  | {
      readonly accept: false;
      readonly code: 'another-cluster' | 'another-instance' | 'rolled-back' | 'removed';
      readonly reason: string;
    };

/** What a transport calls; the driver queues it and acts at the end of the turn. */
export interface TransportHandler {
  onMessage(message: Message): void;
  onSnapshot(from: NodeId, transfer: SnapshotTransfer): void;
  onProbe(from: NodeId, probe: JoinProbe): void;
  onUnreachable(peer: NodeId): void;
  /** See `Input` 'link-closed'. */
  onLinkClosed(peer: NodeId): void;
  /** Once per handshake, answered at once. A refused link is closed after telling the peer code and reason. */
  onPeerIdentity(peer: NodeId, identity: PeerIdentity): PeerVerdict;
  /** A peer has closed the link with the refusal its own `onPeerIdentity` gave. `rolled-back` stops this node for good; `removed` is said, and taken back when a leader sends to it. */
  onRefused(peer: NodeId, code: string, reason: string): void;
}
