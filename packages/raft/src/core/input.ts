import type { LogIndex, NodeId, Term } from './ids.ts';
import type { Message, SnapshotMetadata } from './message.ts';

/**
 * Everything that can happen to a node besides requests that need an answer at once (see `RaftNode.propose` and
 * its neighbours). Each is stepped with the monotonic time in whole milliseconds.
 */
export type Input =
  | { readonly type: 'tick' }
  | { readonly type: 'receive'; readonly message: Message }
  /** The write with this number is durable (with the marker, where it changed the hard state). */
  | { readonly type: 'persisted'; readonly write: number; readonly term: Term; readonly lastIndex: LogIndex }
  /** Everything up to here has been applied to the state machine. */
  | { readonly type: 'applied'; readonly lastIndex: LogIndex }
  /** Nothing is known to have arrived at the peer: go back to probing. */
  | { readonly type: 'unreachable'; readonly peer: NodeId }
  /** The peer's link ended without a goodbye and the immediate re-dial failed: evidence that it is down. */
  | { readonly type: 'link-closed'; readonly peer: NodeId }
  /** The peer has taken another part of a snapshot. */
  | { readonly type: 'snapshot-advanced'; readonly peer: NodeId }
  /** The driver gave up on sending, or finished sending, the snapshot that a Ready asked for. */
  | { readonly type: 'snapshot-sent'; readonly peer: NodeId; readonly index: LogIndex; readonly ok: boolean }
  /** The snapshot named by a Ready's `install` is durable and restored into the state machine. */
  | { readonly type: 'snapshot-installed'; readonly index: LogIndex }
  /** The state machine's own snapshot at this point is durable: entries up to `compactTo` may be dropped. */
  | { readonly type: 'snapshot-created'; readonly metadata: SnapshotMetadata; readonly compactTo: LogIndex }
  /** Hand leadership to `to`, or to the most advanced voter. */
  | { readonly type: 'transfer-leadership'; readonly to: NodeId | undefined }
  /** Give up leadership without a successor: the disk stalls or is full. */
  | { readonly type: 'abdicate' }
  /** Start a campaign now: for tests and for the first election of a fresh cluster. */
  | { readonly type: 'campaign' };
