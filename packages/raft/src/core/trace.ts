import type { LogIndex, NodeId, Term } from './ids.ts';
import type { Message } from './message.ts';
import type { NodeFacts } from './node-facts.ts';

/** The node right after a transition. */
export interface TraceState extends NodeFacts {
  readonly node: NodeId;
}

/** One transition. A node's events come in the order in which they took place; a shared sink orders a cluster's. */
export type Transition =
  /** Constructed: a first start or a restart. */
  | { readonly type: 'start' }
  /** Became follower, pre-candidate, candidate or leader, or entered another term in the same role. */
  | { readonly type: 'role' }
  | { readonly type: 'receive'; readonly message: Message }
  /** Handed to the driver; a message held for a write is sent when the write is durable. */
  | { readonly type: 'send'; readonly message: Message }
  /** Entries `from` to `state.lastIndex` were added, replacing whatever stood from `from` on. */
  | { readonly type: 'append'; readonly from: LogIndex; readonly entryTerm: Term }
  | { readonly type: 'durable'; readonly write: number }
  | { readonly type: 'commit' }
  /** `state.configuration` took effect. */
  | { readonly type: 'configuration' }
  /** The log and state were replaced by a snapshot, at `state.lastIndex`. */
  | { readonly type: 'snapshot' };

export type TraceEvent = Transition & { readonly state: TraceState };
