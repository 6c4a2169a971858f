import type { Configuration } from './configuration.ts';
import type { EntryRun } from './entry-run.ts';
import type { LogIndex, NodeId, ReadRound, Term } from './ids.ts';

interface Envelope {
  readonly from: NodeId;
  readonly to: NodeId;
  /** The sender's term; for a pre-vote request the term it would campaign in. */
  readonly term: Term;
}

/** RequestVote (§5.2) and its trial run PreVote (thesis §9.6). */
export interface VoteRequest extends Envelope {
  readonly type: 'vote-request';
  readonly preVote: boolean;
  readonly lastLogIndex: LogIndex;
  readonly lastLogTerm: Term;
  /** Campaign on behalf of the leader (thesis §3.10): stickiness does not apply. */
  readonly transfer: boolean;
}

export interface VoteResponse extends Envelope {
  readonly type: 'vote-response';
  readonly preVote: boolean;
  readonly granted: boolean;
}

/** AppendEntries with or without entries (§5.3). `runs` follow `previousIndex` without a gap. */
export interface AppendRequest extends Envelope {
  readonly type: 'append-request';
  readonly previousIndex: LogIndex;
  readonly previousTerm: Term;
  readonly runs: readonly EntryRun[];
  readonly commitIndex: LogIndex;
}

export interface AppendResponse extends Envelope {
  readonly type: 'append-response';
  readonly success: boolean;
  /** Success: everything up to here is durable at the sender and equals the leader's log. Otherwise the refused `previousIndex`. */
  readonly matchIndex: LogIndex;
  /** Refusal: where the leader may try next (§5.3, fast back-off): the largest index whose term may match, and that term. */
  readonly hintIndex: LogIndex;
  readonly hintTerm: Term;
}

/** Keeps followers quiet and carries the round for reads; never queues behind entries. */
export interface Heartbeat extends Envelope {
  readonly type: 'heartbeat';
  /** Never beyond what this follower is known to have: min(commit, match). */
  readonly commitIndex: LogIndex;
  readonly round: ReadRound;
}

export interface HeartbeatResponse extends Envelope {
  readonly type: 'heartbeat-response';
  readonly round: ReadRound;
}

/** Campaign at once, without waiting (thesis §3.10). */
export interface TimeoutNow extends Envelope {
  readonly type: 'timeout-now';
}

/** What a snapshot stands for; its content travels beside Raft, in files. */
export interface SnapshotMetadata {
  readonly index: LogIndex;
  readonly term: Term;
  readonly configuration: Configuration;
}

/** InstallSnapshot (§7) once the driver has received and checked the whole content. */
export interface SnapshotRequest extends Envelope {
  readonly type: 'snapshot-request';
  readonly metadata: SnapshotMetadata;
}

export type Message =
  | VoteRequest
  | VoteResponse
  | AppendRequest
  | AppendResponse
  | Heartbeat
  | HeartbeatResponse
  | TimeoutNow
  | SnapshotRequest;

/** Only a leader sends it, to who is a member for it. */
export function isFromLeader(message: Message): boolean {
  return message.type === 'append-request' || message.type === 'heartbeat' || message.type === 'snapshot-request';
}
