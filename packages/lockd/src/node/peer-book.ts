import type { NodeId, RaftStatus } from '@lockd/raft';
import type { MemberAddress } from '@lockd/raft/node';

/** What the book needs of driver and transport. */
export interface PeerBookDependencies {
  readonly self: NodeId;
  /** Names and addresses this node was started with: the founding members, or whom it was told to join. */
  readonly settings: ReadonlyMap<string, string>;
  readonly own: MemberAddress;
  readonly driver: {
    status(): RaftStatus;
    isConfigurationConfirmed(): boolean;
    addressOf(node: NodeId): MemberAddress | undefined;
    proposeAddress(node: NodeId, address: MemberAddress): { readonly type: string };
  };
  readonly transport: {
    setPeers(peers: ReadonlyMap<NodeId, string | undefined>): void;
    clientAddressOf(peer: NodeId): string | undefined;
    peerAddressOf(peer: NodeId): string | undefined;
  };
}

/** Members told by peers that are remembered. */
const TOLD_MAX = 64;

/**
 * Who the other nodes are and where they are reached. The log decides both, as far as it is known here: what an operator
 * said stands first, then what this node was started with, then what each member says of itself.
 */
export class PeerBook {
  readonly #dependencies: PeerBookDependencies;
  /** What peers have told: for a node that has not got the log yet. */
  readonly #told = new Map<string, string>();
  /** As a leader: what was last proposed for whom, and in which term. */
  readonly #proposed = new Map<NodeId, string>();
  #current = '';

  constructor(dependencies: PeerBookDependencies) {
    this.#dependencies = dependencies;
  }

  peerAddressOf(node: NodeId): string | undefined {
    const { self, own, settings, driver } = this.#dependencies;
    const inLog = driver.addressOf(node);
    if (inLog?.isGiven === true && inLog.peer !== undefined) return inLog.peer;
    if (node === self) return own.peer;
    return settings.get(node) ?? inLog?.peer ?? this.#told.get(node);
  }

  clientAddressOf(node: NodeId): string | undefined {
    const { self, own, driver, transport } = this.#dependencies;
    if (node === self) return own.client;
    return transport.clientAddressOf(node) ?? driver.addressOf(node)?.client;
  }

  /** For the hello to a peer. */
  members(): Record<string, string> {
    const known: Record<string, string> = {};
    for (const member of membersOf(this.#dependencies.driver.status())) {
      const address = this.peerAddressOf(member);
      if (address !== undefined) known[member] = address;
    }
    return known;
  }

  told(members: Readonly<Record<string, string>>): void {
    for (const [name, address] of Object.entries(members)) {
      if (this.#told.size >= TOLD_MAX && !this.#told.has(name)) return;
      this.#told.set(name, address);
    }
    this.refresh();
  }

  /** Configuration, registry or leader may have changed. */
  refresh(): void {
    const { self, settings, driver, transport } = this.#dependencies;
    const status = driver.status();
    const members = membersOf(status);
    const names = new Set<NodeId>(members);
    // A node that was just added, or has been away for long, may have to ask those that its log does not know; and before
    // a change is confirmed, whoever it leaves out may still be needed to decide it.
    const isBehind = !members.includes(self) || status.leader === undefined || !members.includes(status.leader);
    if (isBehind) for (const name of [...settings.keys(), ...this.#told.keys()]) names.add(name as NodeId);
    else if (!driver.isConfigurationConfirmed()) for (const name of this.#lastNames) names.add(name);
    names.delete(self);
    const peers = new Map([...names].sort().map((name) => [name, this.peerAddressOf(name)]));
    const current = JSON.stringify([...peers]);
    if (current !== this.#current) {
      this.#current = current;
      this.#lastNames = [...peers.keys()];
      transport.setPeers(peers);
    }
    this.#recordAddresses(status, members);
  }

  #lastNames: readonly NodeId[] = [];

  /** A leader puts into the log where members say that they are. */
  #recordAddresses(status: RaftStatus, members: readonly NodeId[]): void {
    const { self, own, driver, transport } = this.#dependencies;
    if (status.role !== 'leader' || !status.isReady) return;
    for (const member of members) {
      const known = driver.addressOf(member);
      if (known?.isGiven === true) continue;
      const peer = member === self ? own.peer : transport.peerAddressOf(member);
      const client = member === self ? own.client : transport.clientAddressOf(member);
      if (peer === undefined || (known?.peer === peer && known.client === client)) continue;
      const words = `${status.term} ${peer} ${client ?? ''}`;
      if (this.#proposed.get(member) === words) continue;
      if (driver.proposeAddress(member, { peer, client, isGiven: false }).type === 'accepted')
        this.#proposed.set(member, words);
    }
  }
}

function membersOf({ configuration }: RaftStatus): NodeId[] {
  const { voters, outgoing, learners, learnersNext } = configuration;
  return [...new Set([...voters, ...outgoing, ...learners, ...learnersNext])].sort();
}
