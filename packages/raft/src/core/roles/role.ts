import type { NodeId, Term } from '../ids.ts';
import type { Message } from '../message.ts';

/** What a role does with each event. Terms are settled before: a message that gets here is of this node's term. */
export interface RoleBehaviour {
  receive(message: Message): void;
  tick(): void;
  /** When `tick` has something to do. */
  deadlineMs(): number;
  /** A write became durable. */
  written(): void;
  linkClosed(peer: NodeId): void;
}

/** How a role hands the node to another one. The caller must return at once: it is no longer in charge. */
export interface Transitions {
  /** Keeps the vote where the term stays the same (row 3). */
  becomeFollower(term: Term, leader: NodeId | undefined): void;
  /** A trial campaign, or nothing where the node may not campaign. */
  preCampaign(): void;
  becomeCandidate(options: { readonly isTransfer: boolean }): void;
  becomeLeader(): void;
  /** Becomes follower of the sender in the current term, and then takes the message as such. */
  followAndReceive(message: Message): void;
}
