import type { TraceEvent } from '@lockd/raft';
import type { Strike } from '../simulation.ts';
import type { Drawn, Strikes } from '../world/strikes.ts';
import { ClusterFaults, type FaultDrawing } from './cluster-faults.ts';
import { type MemberFaults, SECOND_US } from './member-faults.ts';
import { OlderCopies } from './older-copies.ts';
import type { SimNode, Surroundings } from './sim-node.ts';

export const FAULTS: readonly string[] = [
  'isolation',
  'one-way cut',
  'halves',
  'ring',
  'bridge',
  'closed link',
  'closed link that cannot be dialled',
  'kill',
  'loss of power',
  'kill of the leader',
  'loss of power at the leader',
  'minority down',
  'all down at once',
  'pause',
  'event-loop stall',
  'leader wakes up out of reach',
  'disk stall',
  'slow disk',
  'write error',
  'full disk',
  'lossy network',
  'duplicating network',
  'reordering network',
  'slow network',
  'leadership transfer',
  'membership change',
  'restart',
  'bit rot',
  'wiped directory',
  'rolled-back directory',
];

/** How much longer at most a message takes where answers are to be under way, microseconds. */
const SLOW_US = 80_000;

/** Draws faults and carries them out; everything it does ends by itself or with `heal`. */
export class Faults {
  readonly #around: Surroundings;
  readonly #nodes: readonly SimNode[];
  readonly #cluster: ClusterFaults<SimNode>;
  readonly #strikes: Strikes;
  readonly #members: MemberFaults<SimNode>;
  readonly #olderCopies: OlderCopies;

  constructor(around: Surroundings, nodes: readonly SimNode[], drawing: FaultDrawing) {
    this.#around = around;
    this.#nodes = nodes;
    const cluster = new ClusterFaults(around, nodes, around.profile, FAULTS, drawing, {
      replaced: (node) => this.#olderCopies.replaced(node),
      added: () => undefined,
      tended: () => undefined,
    });
    this.#cluster = cluster;
    this.#strikes = cluster.strikes;
    this.#members = cluster.members;
    this.#olderCopies = new OlderCopies(around, cluster.strikes, cluster.members, cluster.losses, nodes);
  }

  /** What came about, in order. */
  get strikes(): readonly Strike[] {
    return this.#cluster.cameAbout;
  }

  /** Nodes that the cluster cannot count on any more. */
  get lost(): ReadonlySet<SimNode> {
    return this.#cluster.lost;
  }

  start(): void {
    this.#cluster.start((strike) => this.#strike(strike));
  }

  /** Ends every fault that lasts, and starts no new ones. */
  heal(): void {
    this.#strikes.end();
    this.#around.network.cuts.mendAll();
  }

  /** See `Membership.tend`. */
  tend(): void {
    this.#cluster.membership.tend();
  }

  /** Leaves it broken for the rest of the run; false where that is for the links to do. */
  leave(node: SimNode, how: string): boolean {
    this.#around.counters.add(`left ${how}`);
    return this.#members.leave(node, how);
  }

  /** A telling moment: sometimes something goes wrong right there. */
  onTransition(node: SimNode, event: TraceEvent): void {
    const { ambushPerMille } = this.#around.profile;
    if (ambushPerMille === 0) return;
    const occasion = occasionOf(event);
    if (occasion === undefined) return;
    const drawn = this.#strikes.ambush(node.id, occasion, ambushPerMille);
    if (drawn === undefined) return;
    const { name, chance } = drawn;
    const what = chance.pick(['kill', 'power', 'power', 'pause', 'isolate', 'mute', 'disk']);
    const { process } = node;
    this.#around.world.in(chance.pick([0, 0, 200, 1_000, 5_000, 20_000]), () => {
      if (node.process !== process || this.#strikes.isOver) return;
      this.#strikes.struck({ name, fault: `ambush: ${what}` });
      if (what === 'kill') this.#members.crash(node, false, chance.pick([1_000, 20_000, SECOND_US]));
      else if (what === 'power') this.#members.crash(node, true, chance.pick([1_000, 20_000, SECOND_US]));
      else if (what === 'pause') this.#members.pause(node, chance.between(100_000, 2 * SECOND_US));
      else if (what === 'isolate') this.#isolate(node, chance.between(100_000, 3 * SECOND_US));
      else if (what === 'mute') this.#mute(node, chance.between(100_000, 3 * SECOND_US));
      else this.#members.stallDisk(node, chance.between(20_000, SECOND_US));
    });
  }

  #strike(strike: Drawn): void {
    const { fault, chance } = strike;
    const { network } = this.#around;
    const up = this.#nodes.filter((node) => node.isUp);
    const node = chance.pick(this.#nodes);
    const running = up.length > 0 ? chance.pick(up) : undefined;
    const leader = up.find((candidate) => candidate.isLeader);
    const lastsUs = chance.pick([50_000, 300_000, SECOND_US, 3 * SECOND_US, 8 * SECOND_US]);
    switch (fault) {
      case 'isolation':
        this.#strikes.struck(strike);
        this.#isolate(chance.oneIn(2) ? (leader ?? node) : node, lastsUs);
        break;
      case 'one-way cut': {
        this.#strikes.struck(strike);
        const others = chance.sample(this.#members.others(node), chance.between(1, this.#nodes.length - 1));
        const isInbound = chance.oneIn(2);
        this.#cutAll(
          others.map((other) => (isInbound ? [other, node] : [node, other])),
          lastsUs,
        );
        break;
      }
      case 'halves': {
        this.#strikes.struck(strike);
        const some = chance.sample(this.#nodes, chance.between(1, this.#nodes.length - 1));
        const rest = this.#nodes.filter((other) => !some.includes(other));
        this.#cutBetween(some, rest, lastsUs);
        break;
      }
      case 'ring': {
        this.#strikes.struck(strike);
        const ring = chance.sample(this.#nodes, this.#nodes.length);
        const pairs: [SimNode, SimNode][] = [];
        ring.forEach((left, position) => {
          ring.forEach((right, other) => {
            const distance = Math.abs(position - other);
            if (distance > 1 && distance < ring.length - 1) pairs.push([left, right]);
          });
        });
        this.#cutAll(pairs, lastsUs);
        break;
      }
      case 'bridge': {
        this.#strikes.struck(strike);
        const [, ...rest] = chance.sample(this.#nodes, this.#nodes.length);
        const half = rest.length >> 1;
        this.#cutBetween(rest.slice(0, half), rest.slice(half), lastsUs);
        break;
      }
      case 'closed link': {
        this.#strikes.struck(strike);
        const other = chance.pick(this.#members.others(node));
        network.close(node.id, other.id);
        break;
      }
      case 'closed link that cannot be dialled': {
        this.#strikes.struck(strike);
        const other = chance.pick(this.#members.others(node));
        network.close(node.id, other.id);
        // Cut once the end of the link has arrived.
        this.#around.world.in(1, () => this.#cutAll([[node, other]], lastsUs));
        break;
      }
      case 'kill':
      case 'loss of power':
        if (running === undefined) return;
        this.#strikes.struck(strike);
        this.#members.crash(running, fault !== 'kill', lastsUs);
        break;
      case 'kill of the leader':
      case 'loss of power at the leader':
        if (leader === undefined) return;
        this.#strikes.struck(strike);
        this.#members.crash(leader, fault !== 'kill of the leader', lastsUs);
        break;
      case 'minority down': {
        this.#strikes.struck(strike);
        const some = chance.sample(this.#nodes, Math.max(1, (this.#nodes.length - 1) >> 1));
        for (const member of some) this.#members.crash(member, chance.oneIn(2), chance.between(1_000, lastsUs));
        break;
      }
      case 'all down at once':
        this.#strikes.struck(strike);
        for (const member of this.#nodes) this.#members.crash(member, true, chance.between(1_000, SECOND_US));
        break;
      case 'pause':
      case 'event-loop stall':
        if (running === undefined) return;
        this.#strikes.struck(strike);
        this.#members.pause(
          running,
          fault === 'pause' ? chance.between(300_000, 4 * SECOND_US) : chance.between(20_000, 400_000),
        );
        break;
      case 'leader wakes up out of reach':
        if (leader === undefined) return;
        this.#strikes.struck(strike);
        this.#wakesUpOutOfReach(leader, this.#around.profile.electionTimeoutMs * chance.between(3_000, 6_000), lastsUs);
        break;
      case 'disk stall':
        this.#strikes.struck(strike);
        this.#members.stallDisk(chance.oneIn(2) ? (leader ?? node) : node, chance.between(50_000, 3 * SECOND_US));
        break;
      case 'slow disk':
        this.#strikes.struck(strike);
        this.#members.slowDisk(node, chance, lastsUs);
        break;
      case 'write error':
        if (running === undefined) return;
        this.#strikes.struck(strike);
        this.#members.failWrite(running, chance);
        break;
      case 'full disk':
        if (running === undefined) return;
        this.#strikes.struck(strike);
        this.#members.fillDisk(running, chance, lastsUs);
        break;
      case 'lossy network':
        this.#strikes.struck(strike);
        this.#strikes.raise(network.shape, 'lossPerMille', chance.pick([50, 200, 500]), lastsUs);
        break;
      case 'duplicating network':
        this.#strikes.struck(strike);
        this.#strikes.raise(network.shape, 'duplicatePerMille', chance.pick([200, 700]), lastsUs);
        break;
      case 'reordering network':
        this.#strikes.struck(strike);
        this.#strikes.raise(network.shape, 'reorderPerMille', chance.pick([200, 700]), lastsUs);
        break;
      case 'slow network':
        this.#strikes.struck(strike);
        this.#strikes.raise(network.shape, 'extraDelayUs', chance.pick([20_000, 200_000, 800_000]), lastsUs);
        break;
      case 'leadership transfer': {
        if (leader === undefined) return;
        this.#strikes.struck(strike);
        const to = chance.oneIn(3) ? undefined : chance.pick(this.#members.others(leader)).id;
        leader.process?.arrive(() => leader.driver?.transferLeadership(to));
        if (chance.oneIn(4)) this.#mute(leader, lastsUs);
        break;
      }
      case 'membership change':
        if (leader !== undefined) this.#cluster.membership.change(leader, strike);
        break;
      case 'restart':
        if (running?.driver === undefined || running.condition === 'damaged') return;
        this.#strikes.struck(strike);
        running.stop();
        break;
      case 'bit rot':
        this.#cluster.lostData.rot(node, strike);
        break;
      case 'wiped directory':
        this.#cluster.lostData.wipe(node, strike);
        break;
      case 'rolled-back directory':
        this.#olderCopies.rollBack(node, strike);
        break;
      default:
        throw new Error(`nobody knows how to inject ${fault}`);
    }
  }

  /**
   * It is stalled while answers to its heartbeats are on their way, and cut off when they have arrived. Others elect
   * another one and answer by that; what clients ask this one meanwhile it finds next to those answers when it wakes up.
   */
  #wakesUpOutOfReach(leader: SimNode, sleepsUs: number, lastsUs: number): void {
    const { network, world } = this.#around;
    this.#strikes.raise(network.shape, 'extraDelayUs', SLOW_US, 5 * SLOW_US);
    const soon = (run: () => void): void => {
      world.in(SLOW_US, () => {
        if (!this.#strikes.isOver && leader.isUp) run();
      });
    };
    // Answers are under way by then.
    soon(() => {
      this.#members.pause(leader, sleepsUs);
      soon(() => this.#isolate(leader, sleepsUs + lastsUs));
    });
  }

  // ------------------------------------------------------------------------------------------------ cuts

  #isolate(node: SimNode, lastsUs: number): void {
    this.#cutBetween([node], this.#members.others(node), lastsUs);
  }

  /** It hears and is not heard. */
  #mute(node: SimNode, lastsUs: number): void {
    this.#cutAll(
      this.#members.others(node).map((other) => [node, other]),
      lastsUs,
    );
  }

  #cutBetween(some: readonly SimNode[], rest: readonly SimNode[], lastsUs: number): void {
    this.#cutAll(
      some.flatMap((left) =>
        rest.flatMap((right): [SimNode, SimNode][] => [
          [left, right],
          [right, left],
        ]),
      ),
      lastsUs,
    );
  }

  #cutAll(pairs: readonly (readonly [SimNode, SimNode])[], lastsUs: number): void {
    const { network } = this.#around;
    this.#strikes.say('cuts', pairs.map(([from, to]) => `${from.id}>${to.id}`).join(' '), pairs.length);
    for (const [from, to] of pairs) network.cuts.cut(from.id, to.id);
    this.#strikes.later(lastsUs, () => {
      for (const [from, to] of pairs) network.cuts.mend(from.id, to.id);
    });
  }
}

/** Where the rules of Raft are about to matter: in one word, or undefined elsewhere. */
function occasionOf(event: TraceEvent): string | undefined {
  switch (event.type) {
    case 'role':
      if (event.state.role === 'leader') return 'leads';
      return event.state.role === 'candidate' ? 'stands' : undefined;
    case 'snapshot':
      return 'snapshot';
    case 'configuration':
      return 'members';
    case 'send':
      if (event.message.type === 'timeout-now') return 'hands-over';
      return event.message.type === 'vote-response' && event.message.granted && !event.message.preVote
        ? 'votes'
        : undefined;
    case 'commit':
      return event.state.role === 'leader' && event.state.commitIndex % 32 === 0 ? 'commits' : undefined;
    default:
      return undefined;
  }
}
