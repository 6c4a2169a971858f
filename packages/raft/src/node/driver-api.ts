import type { ConfigurationChange } from '../core/configuration.ts';
import type { NodeId, ReadRound } from '../core/ids.ts';
import type { MemberProgress, ProposeResult, RaftStatus, Refusal } from '../core/options.ts';
import type { MemberAddress } from './registry.ts';

/**
 * What a node is, beyond Raft's roles. But for `serving`, `disk-full` and `removed` these neither vote nor acknowledge.
 * `removed`: no member any more, as another one says.
 */
export type NodeCondition = 'serving' | 'joining' | 'damaged' | 'disk-full' | 'removed' | 'stopped';

/** Called in the driver's turn, after the turn's inputs were stepped. Must not throw; must not call back into `step`. */
export interface DriverEvents {
  /** Reads and renewals up to `round` are confirmed, and the state machine has applied `index`. Only on a ready leader. */
  onReadsConfirmed(round: ReadRound): void;
  /** Role, term, leader, readiness or the configuration in force changed. Unconfirmed rounds of an earlier term will never be confirmed. */
  onStatusChanged(status: RaftStatus): void;
  onConditionChanged(condition: NodeCondition, reason: string | undefined): void;
  /** What `instanceOf` and `addressOf` answer may have changed. */
  onRegistryChanged?(): void;
  /**
   * The first call of every turn: what is proposed here is stored and sent in this turn. `onTurnEnd` follows, so nothing
   * that is to be sent until then needs a moment of its own.
   */
  onTurnBegin?(): void;
  /** The last call of every turn: flush frames to clients here. Also once where the storage fails outside of a turn. */
  onTurnEnd(): void;
}

/** What the driver has made durable since it was opened. */
export interface WriteCounters {
  /** One record, or a few, and one sync each. */
  writes: number;
  entries: number;
  /** Of the entries alone, kind bytes included. */
  entryBytes: number;
}

/** Of this process, for metrics. */
export interface SnapshotCounters {
  made: number;
  /** At the start, and received from a leader. */
  restored: number;
  /** Longest piece of work at a time, in milliseconds, while one was made and while one was restored. */
  longestSliceMs: number;
  longestRestoreSliceMs: number;
  /** Of the last one made: how long it took, and its size. */
  lastMs: number;
  lastBytes: number;
}

/**
 * A running node. Everything that is called in one turn of the event loop is proposed, stored and sent together at
 * its end (group commit); an idle node adds no delay.
 */
export interface RaftDriver {
  /**
   * Entries for the log, each with its kind byte; the buffer is given away. Answered at once; committed later or never.
   * `awaitedBy`: the member on whose behalf; it hears of their commit at once.
   */
  propose(bytes: Uint8Array, start: number, ends: Uint32Array, awaitedBy?: NodeId): ProposeResult;
  /** A round that starts after this call, for reads and renewals: wait for `onReadsConfirmed(round' >= round)`. */
  requestRead(): { readonly type: 'round'; readonly round: ReadRound } | Refusal;
  proposeConfiguration(changes: readonly ConfigurationChange[]): ProposeResult;
  transferLeadership(to: NodeId | undefined): void;
  /** Puts into the log where a member is reached. Forgotten when it leaves. */
  proposeAddress(node: NodeId, address: MemberAddress): ProposeResult;
  addressOf(node: NodeId): MemberAddress | undefined;
  /** The data directory that the member's name stands for. */
  instanceOf(node: NodeId): string | undefined;
  /** This data directory was a member's, and has left. */
  hasRemoved(instanceId: string): boolean;
  /** Only on the leader. */
  progressOf(node: NodeId): MemberProgress | undefined;
  /** The configuration in force can no longer be taken back: nobody that it leaves out is needed any more. */
  isConfigurationConfirmed(): boolean;
  /** Starts the turn's work at its end; for callers who changed something that `onTurnEnd` should see. */
  wake(): void;
  readonly writeCounters: Readonly<WriteCounters>;
  readonly snapshotCounters: Readonly<SnapshotCounters>;
  /** A snapshot now, whether or not it is due, of this node's own state. */
  makeSnapshot(): void;
  status(): RaftStatus;
  condition(): NodeCondition;
  /** Milliseconds of the last interval in which this node could not listen (stalled event loop), and when it ended. */
  lastStall(): { readonly lengthMs: number; readonly endedAtMs: number } | undefined;
  /**
   * Hands leadership over if it leads (bounded), finishes the write in flight, closes the storage. A disk that does not
   * answer for `stopTimeoutMs` is left as it is: the next start recovers as after a crash.
   */
  stop(): Promise<void>;
}
