import type { ConfigurationChange } from '../core/configuration.ts';
import type { LogIndex, NodeId, ReadRound, Term } from '../core/ids.ts';
import type { ProposeResult, RaftStatus, Refusal } from '../core/options.ts';

/** What a node is, beyond Raft's roles: these neither vote nor acknowledge. */
export type NodeCondition = 'serving' | 'joining' | 'damaged' | 'disk-full' | 'stopped';

/** Called in the driver's turn, after the turn's inputs were stepped. Must not throw; must not call back into `step`. */
export interface DriverEvents {
  /** Reads and renewals up to `round` are confirmed, and the state machine has applied `index`. Only on a ready leader. */
  onReadsConfirmed(round: ReadRound): void;
  /** Role, term, leader or readiness changed. Unconfirmed rounds of an earlier term will never be confirmed. */
  onStatusChanged(status: RaftStatus): void;
  onConditionChanged(condition: NodeCondition, reason: string | undefined): void;
  /** The last call of every turn: flush frames to clients here. */
  onTurnEnd(): void;
}

/**
 * A running node. Everything that is called in one turn of the event loop is proposed, stored and sent together at
 * its end (group commit); an idle node adds no delay.
 */
export interface RaftDriver {
  /** Entries for the log, each with its kind byte; the buffer is given away. Answered at once; committed later or never. */
  propose(bytes: Uint8Array, start: number, ends: Uint32Array): ProposeResult;
  /** A round that starts after this call, for reads and renewals: wait for `onReadsConfirmed(round' >= round)`. */
  requestRead(): { readonly type: 'round'; readonly round: ReadRound } | Refusal;
  proposeConfiguration(changes: readonly ConfigurationChange[]): ProposeResult;
  transferLeadership(to: NodeId | undefined): void;
  /** Starts the turn's work at its end; for callers who changed something that `onTurnEnd` should see. */
  wake(): void;
  status(): RaftStatus;
  condition(): NodeCondition;
  /** Milliseconds of the last interval in which this node could not listen (stalled event loop), and when it ended. */
  lastStall(): { readonly lengthMs: number; readonly endedAtMs: number } | undefined;
  /** Hands leadership over if it leads (bounded), finishes the write in flight, closes the storage. */
  stop(): Promise<void>;
}

export type { LogIndex, NodeId, ReadRound, Term };
