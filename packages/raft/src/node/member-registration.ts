import type { NodeId, Term } from '../core/ids.ts';
import type { ProposeResult, RaftStatus } from '../core/options.ts';
import type { PeerIdentities } from './peer-identities.ts';
import { type Registry, registrationEntry } from './registry.ts';

/** A leader enters the data directories it has seen into the log: those of members that are not in it yet. */
export class MemberRegistration {
  readonly #registry: Registry;
  readonly #identities: PeerIdentities;
  /** Something changed since the leader last looked whether all members' data directories are in the log. */
  #isDue = true;
  /** Proposed registrations, by node, with the term of the proposal. */
  readonly #proposed = new Map<NodeId, Term>();

  constructor(registry: Registry, identities: PeerIdentities) {
    this.#registry = registry;
    this.#identities = identities;
  }

  lookAgain(): void {
    this.#isDue = true;
  }

  departed(node: NodeId): void {
    this.#proposed.delete(node);
  }

  /** This node does not lead, or no more. */
  forgetProposals(): void {
    this.#proposed.clear();
  }

  /** `instanceId` is this node's own directory. */
  run(status: RaftStatus, instanceId: string, propose: (entry: Uint8Array) => ProposeResult | undefined): void {
    if (!this.#isDue || status.role !== 'leader' || !status.isReady) return;
    this.#isDue = false;
    const { voters, outgoing, learners } = status.configuration;
    for (const member of new Set([...voters, ...outgoing, ...learners])) {
      if (this.#registry.instanceOf(member) !== undefined || this.#proposed.get(member) === status.term) continue;
      // A name that was removed and added again may stand for a new directory: registering the one it had would lock the
      // new one out for good.
      const present = member === status.id ? instanceId : this.#identities.presentInstanceOf(member);
      if (present === undefined) continue;
      if (propose(registrationEntry(member, present))?.type !== 'accepted') {
        this.#isDue = true;
        return;
      }
      this.#proposed.set(member, status.term);
    }
  }
}
