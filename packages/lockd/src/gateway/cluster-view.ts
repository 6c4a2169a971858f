import type { Member } from '@lockd/client/protocol';
import type { NodeId, RaftStatus } from '@lockd/raft';

/** Where clients find the leader, as they are told. */
export interface LeaderAddress {
  readonly name: string;
  /** Null where this node does not know it yet. */
  readonly client: string | null;
}

export interface ClusterViewDependencies {
  clientAddressOf(node: NodeId): string | undefined;
  tell(message: readonly ['leader', LeaderAddress | null] | readonly ['members', readonly Member[]]): void;
}

/** What clients are told of the cluster, and what of it they have been told. */
export class ClusterView {
  readonly #dependencies: ClusterViewDependencies;
  #status: RaftStatus;
  #leader: NodeId | undefined;
  #leaderShown = '';
  #membersShown = '';

  constructor(status: RaftStatus, dependencies: ClusterViewDependencies) {
    this.#status = status;
    this.#dependencies = dependencies;
  }

  /** Tells every client what has changed. `leader`: where commands go, which is undefined before there is one. */
  update(status: RaftStatus, leader: NodeId | undefined): void {
    this.#status = status;
    this.#leader = leader;
    this.#tellChanges();
  }

  /** A member's client address may be known only now. */
  addressesChanged(): void {
    this.#tellChanges();
  }

  leader(): LeaderAddress | null {
    return this.#leader === undefined ? null : { name: this.#leader, client: this.#clientAddress(this.#leader) };
  }

  /** Leads, and has applied the first entry of its term. */
  get isReady(): boolean {
    return this.#status.isReady;
  }

  members(): Member[] {
    const { voters, outgoing, learners } = this.#status.configuration;
    const member = (name: NodeId, role: Member['role']): Member => ({ name, client: this.#clientAddress(name), role });
    const voting = [...new Set([...voters, ...outgoing])].sort();
    return [...voting.map((name) => member(name, 'voter')), ...learners.map((name) => member(name, 'learner'))];
  }

  #clientAddress(node: NodeId): string | null {
    return this.#dependencies.clientAddressOf(node) ?? null;
  }

  #tellChanges(): void {
    const leader = this.leader();
    const members = this.members();
    const leaderText = JSON.stringify(leader);
    const membersText = JSON.stringify(members);
    if (leaderText !== this.#leaderShown) {
      this.#leaderShown = leaderText;
      this.#dependencies.tell(['leader', leader]);
    }
    if (membersText !== this.#membersShown) {
      this.#membersShown = membersText;
      this.#dependencies.tell(['members', members]);
    }
  }
}
