import type { EntryRun } from './entry-run.ts';
import type { LogIndex, NodeId, ReadRound, Term } from './ids.ts';
import type { Message, SnapshotMetadata } from './message.ts';

/** What must survive a crash besides the log (§5, figure 2). `commitIndex` is a hint that speeds up recovery. */
export interface HardState {
  readonly term: Term;
  readonly votedFor: NodeId | undefined;
  readonly commitIndex: LogIndex;
}

/** One write: all of it becomes durable together, or the node stops. */
export interface PersistDuty {
  /** Numbers rise by one; answered by `persisted` with the same number. */
  readonly write: number;
  /** Present where term or vote changed: its marker must be durable before `persisted`. */
  readonly hardState: HardState | undefined;
  /** Entries in order. The first one's index says from where older entries are replaced. May be empty. */
  readonly runs: readonly EntryRun[];
  /** Term and index of the last entry of the log after this write; returned in `persisted`. */
  readonly term: Term;
  readonly lastIndex: LogIndex;
}

/**
 * What the driver owes the node after a turn. Duties are independent of each other: several may be under way at
 * once, each is answered by an input. The node itself holds back every message that promises something durable
 * until the write it waits for is `persisted`, so `messages` may be sent at once.
 */
export interface Ready {
  /** Send now, in order, each to `message.to`. */
  readonly messages: readonly Message[];
  /** At most one write is out at a time; what arrives meanwhile forms the next. */
  readonly persist: PersistDuty | undefined;
  /** Apply in order; answer with `applied`. Committed, but perhaps not yet durable on this node. */
  readonly committed: readonly EntryRun[];
  /** Reads and renewals that waited for a round up to `round` are confirmed: serve them once `index` is applied. */
  readonly reads: { readonly round: ReadRound; readonly index: LogIndex } | undefined;
  /** Send the newest snapshot to these peers. */
  readonly sendSnapshots: readonly { readonly to: NodeId; readonly atLeast: LogIndex }[];
  /** Replace the whole log and state by this received snapshot. */
  readonly install: SnapshotMetadata | undefined;
  /**
   * This node acknowledged entries to its leader that it does not have: its disk has forgotten them. It no longer
   * votes, campaigns or answers; the process must stop, and the operator be told. Reported once.
   */
  readonly forgotten: ForgottenLog | undefined;
}

export interface ForgottenLog {
  readonly leader: NodeId;
  /** The leader knows, from this node's own acknowledgement, that it had everything up to here. */
  readonly acknowledgedIndex: LogIndex;
  /** What it has. */
  readonly lastIndex: LogIndex;
}
