import type { Configuration } from './configuration.ts';
import type { LogIndex, NodeId, Term } from './ids.ts';

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader' | 'learner';

/** What is true of a node at one moment, for statuses and traces. */
export interface NodeFacts {
  readonly role: Role;
  readonly term: Term;
  readonly votedFor: NodeId | undefined;
  readonly leader: NodeId | undefined;
  readonly commitIndex: LogIndex;
  readonly appliedIndex: LogIndex;
  readonly lastIndex: LogIndex;
  /** Durable on this node. */
  readonly stableIndex: LogIndex;
  /** In force. */
  readonly configuration: Configuration;
}
