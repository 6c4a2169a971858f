import type { NodeId } from './ids.ts';

/**
 * Who takes part (§6; joint consensus as in etcd-io/raft). `outgoing` is empty outside a joint configuration.
 * `learnersNext` are voters of `outgoing` that become learners when the joint configuration is left.
 * The lists are sorted and free of duplicates; a node is a voter or a learner, not both.
 */
export interface Configuration {
  readonly voters: readonly NodeId[];
  readonly outgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
  readonly learnersNext: readonly NodeId[];
  /** The leader proposes to leave the joint configuration by itself once it is applied. */
  readonly autoLeave: boolean;
}

/** One step of a change: several together go through a joint configuration. */
export type ConfigurationChange =
  | { readonly type: 'add-voter'; readonly node: NodeId }
  | { readonly type: 'add-learner'; readonly node: NodeId }
  | { readonly type: 'remove'; readonly node: NodeId };
