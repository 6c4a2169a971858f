import type { Configuration } from './configuration.ts';
import type { EntryRun } from './entry-run.ts';
import type { LogIndex, NodeId, Term } from './ids.ts';
import type { NodeFacts } from './node-facts.ts';
import type { HardState } from './ready.ts';
import type { TraceEvent } from './trace.ts';

/** Uniform in [0, bound), bound at most 2^32. Injected and seeded: the only source of chance in the core. */
export type Random = (bound: number) => number;

export interface RaftOptions {
  readonly id: NodeId;
  /** T: the election time-out is drawn from [T, 2T). Milliseconds. Default 500. */
  readonly electionTimeoutMs: number;
  /** Milliseconds. At most T / 5. Default 100. */
  readonly heartbeatMs: number;
  readonly random: Random;
  /** In flight to one follower at most. Defaults 8 messages, 1 MiB. */
  readonly maxInflightMessages: number;
  readonly maxInflightBytes: number;
  /** Entries in one message at most, in bytes; one larger entry travels alone. Default 256 KiB. */
  readonly maxAppendBytes: number;
  /** Proposed and not yet committed at most, in bytes; beyond it `propose` refuses. Default 16 MiB. */
  readonly maxUncommittedBytes: number;
  /** Body of the entry with which this node opens a term (after the kind byte); called once per term won. */
  readonly termStartPayload: (lastIndex: LogIndex) => Uint8Array;
  /** Called with every transition, synchronously. Must not call back into the node. Default: none. */
  readonly trace?: ((event: TraceEvent) => void) | undefined;
}

/** What recovery found: the constructor's second argument. */
export interface InitialState {
  readonly hardState: HardState;
  /** The log after the snapshot, in order, without gaps. */
  readonly runs: readonly EntryRun[];
  /** The last index and term the snapshot covers; 0 and 0 without one. */
  readonly snapshotIndex: LogIndex;
  readonly snapshotTerm: Term;
  /** The configuration at `snapshotIndex` (or the bootstrap configuration at 0). Later ones come with applied entries. */
  readonly configuration: Configuration;
  /** What the state machine already contains; at least `snapshotIndex`. */
  readonly appliedIndex: LogIndex;
}

/** Why a request was not taken. Nothing of it will happen. */
export type Refusal =
  | { readonly type: 'refused'; readonly reason: 'not-leader'; readonly leader: NodeId | undefined }
  | {
      readonly type: 'refused';
      readonly reason: 'transferring' | 'overloaded' | 'change-pending' | 'not-ready' | 'invalid';
      readonly leader: NodeId | undefined;
    };

export type ProposeResult = { readonly type: 'accepted'; readonly firstIndex: LogIndex; readonly term: Term } | Refusal;

/** The node as it is now, for people and tests. */
export interface RaftStatus extends NodeFacts {
  readonly id: NodeId;
  /** A leader that has applied the first entry of its own term: it may serve reads and acknowledge renewals. */
  readonly isReady: boolean;
  readonly transferringTo: NodeId | undefined;
}

/** How far a leader has brought one member. */
export interface MemberProgress {
  /** Known to be durable there. */
  readonly matchIndex: LogIndex;
  readonly state: 'probe' | 'replicate' | 'snapshot';
  /** When it last answered, on the clock of the inputs. */
  readonly lastHeardMs: number;
}
