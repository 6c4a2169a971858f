import { membersOf, type NodeId, type TraceEvent } from '@lockd/raft';
import { ClusterFaults, type FaultDrawing } from '../raft/cluster-faults.ts';
import type { MemberSurroundings } from '../raft/member.ts';
import { type MemberFaults, SECOND_US } from '../raft/member-faults.ts';
import type { Strike } from '../simulation.ts';
import type { Drawn, Strikes } from '../world/strikes.ts';
import { ClientFaults } from './client-faults.ts';
import type { CrowdClient } from './crowd-client.ts';
import type { Internet } from './internet.ts';
import type { ServiceProfile } from './profile.ts';
import { clientUrlOf, peerAddressOf, type ServiceNode } from './service-node.ts';
import type { SimClient } from './sim-client.ts';
import { StreamCuts } from './stream-cuts.ts';

export const SERVICE_FAULTS: readonly string[] = [
  'node isolated',
  'node isolated with its clients',
  'node mute',
  'halves',
  'links between nodes closed',
  'node killed',
  'node without power',
  'leader killed',
  'leader without power',
  'all nodes down at once',
  'node paused',
  'leader stalled beyond the TTL',
  'node suspended',
  'disk stalled',
  'slow disk',
  'write error',
  'full disk',
  'membership change',
  'bit rot',
  'wiped directory',
  'segments lost',
  'slow network',
  'leadership handed over',
  'node restarted',
  'client cut off',
  'client hears nobody',
  'client is not heard',
  'client hears late, and is not heard then',
  'client connections closed',
  'client refused',
  'client stalled',
  'client stalled beyond the TTL',
  'client wakes up at the last moment',
  'client behind a follower that is not heard',
  'client suspended',
  'client killed',
  'client without power',
  'client wall clock set',
  'crowd of acquires',
];

export interface NemesisSurroundings extends MemberSurroundings {
  readonly internet: Internet;
  readonly profile: ServiceProfile;
}

/** Draws faults of nodes, clients and what is between them. Everything it does ends by itself or with `heal`. */
export class ServiceNemesis {
  readonly #around: NemesisSurroundings;
  readonly #nodes: readonly ServiceNode[];
  readonly #clients: readonly SimClient[];
  readonly #crowd: CrowdClient;
  readonly #cluster: ClusterFaults<ServiceNode>;
  readonly #strikes: Strikes;
  readonly #members: MemberFaults<ServiceNode>;
  readonly #cuts: StreamCuts;
  readonly #clientFaults: ClientFaults;

  constructor(
    around: NemesisSurroundings,
    nodes: readonly ServiceNode[],
    clients: readonly SimClient[],
    crowd: CrowdClient,
    drawing: FaultDrawing,
  ) {
    this.#around = around;
    this.#nodes = nodes;
    this.#clients = clients;
    this.#crowd = crowd;
    const cluster = new ClusterFaults(around, nodes, around.profile, SERVICE_FAULTS, drawing, {
      replaced: () => undefined,
      added: giveAddress,
      tended: (leader) => this.#giveAddresses(leader),
    });
    this.#cluster = cluster;
    this.#strikes = cluster.strikes;
    this.#members = cluster.members;
    this.#cuts = new StreamCuts(around.internet, cluster.strikes);
    this.#clientFaults = new ClientFaults(around, cluster.strikes, this.#cuts, cluster.members, nodes);
  }

  /** What came about, in order. */
  get strikes(): readonly Strike[] {
    return this.#cluster.cameAbout;
  }

  /** Nodes that the cluster cannot count on any more. */
  get lost(): ReadonlySet<ServiceNode> {
    return this.#cluster.lost;
  }

  start(): void {
    this.#cluster.start((strike) => this.#strike(strike));
  }

  /** Ends every fault that lasts, and starts no new ones. */
  heal(): void {
    this.#strikes.end();
    this.#around.internet.mendAll();
  }

  /** See `Membership.tend`. */
  tend(): void {
    this.#cluster.membership.tend();
  }

  /** Leaves it broken for the rest of the run, and whoever restarts nodes lets it lie. */
  leave(node: ServiceNode, how: string): void {
    const { counters, internet } = this.#around;
    counters.add(`left ${how}`);
    this.#members.holdDown(node);
    if (this.#members.leave(node, how)) return;
    for (const host of this.#hosts()) {
      if (host === node.id) continue;
      internet.cut(node.id, host);
      if (how === 'cut off') internet.cut(host, node.id);
    }
  }

  /** Takes a client away for good. */
  vanish(client: SimClient, how: string): void {
    this.#clientFaults.vanish(client, how);
  }

  /** A telling moment: sometimes something goes wrong right there. */
  onTransition(node: ServiceNode, event: TraceEvent): void {
    if (event.type !== 'role' || (event.state.role !== 'leader' && event.state.role !== 'candidate')) return;
    this.#ambush(node, event.state.role, this.#around.profile.ambushPerMille);
  }

  /** A leader has decided that a session is over: the best moment to lose it. */
  onEndStored(node: ServiceNode, session: number): void {
    if (!node.isLeader) return;
    const client = this.#clients.find((candidate) => candidate.sessionMayEndNs(session) !== undefined);
    if (this.#clientFaults.endDecided(node, client)) return;
    this.#ambush(node, 'end', 3 * this.#around.profile.ambushPerMille, client);
  }

  /** Until its first entry is committed it does not know what has ended: sometimes that takes long. */
  onOldEnds(node: ServiceNode): void {
    this.#clientFaults.oldEndFound();
    const drawn = this.#strikes.ambush(node.id, 'old-end', 5 * this.#around.profile.ambushPerMille);
    if (drawn === undefined) return;
    this.#strikes.struck({ name: drawn.name, fault: 'ambush: slow quorum' });
    for (const other of this.#members.others(node))
      this.#members.stallDisk(other, drawn.chance.between(50_000, 400_000));
  }

  #ambush(node: ServiceNode, occasion: string, perMille: number, client?: SimClient): void {
    const drawn = this.#strikes.ambush(node.id, occasion, perMille);
    if (drawn === undefined) return;
    const { name, chance } = drawn;
    const isAboutClient = client !== undefined && chance.oneIn(2);
    const what = isAboutClient ? 'news' : chance.pick(['kill', 'power', 'pause', 'isolate', 'isolate', 'mute', 'disk']);
    const { process } = node;
    this.#around.world.in(isAboutClient ? 0 : chance.pick([0, 0, 0, 200, 1_000, 5_000]), () => {
      if (node.process !== process || this.#strikes.isOver) return;
      this.#strikes.struck({ name, fault: `ambush: ${what}` });
      if (what === 'kill') this.#members.crash(node, false, chance.pick([1_000, 20_000, SECOND_US]));
      else if (what === 'power') this.#members.crash(node, true, chance.pick([1_000, 20_000, SECOND_US]));
      else if (what === 'pause') this.#members.pause(node, chance.between(100_000, 3 * SECOND_US));
      else if (what === 'isolate') this.#cutFromNodes(node, 'both', chance.between(100_000, 3 * SECOND_US));
      else if (what === 'news') {
        // Its renewal arrives while the decision is on its way to a quorum.
        for (const other of this.#members.others(node)) this.#members.stallDisk(other, chance.between(50_000, 400_000));
        if (client !== undefined) this.#around.internet.mendHost(client.host);
      } else if (what === 'mute') this.#cutFromNodes(node, 'out', chance.between(100_000, 3 * SECOND_US));
      else this.#members.stallDisk(node, chance.between(20_000, SECOND_US));
    });
  }

  #strike(strike: Drawn): void {
    const { fault, chance } = strike;
    const { internet, profile } = this.#around;
    const node = chance.pick(this.#nodes);
    const leader = this.#nodes.find((candidate) => candidate.isLeader) ?? node;
    const client = chance.pick(this.#clients);
    const lastsUs = chance.pick([50_000, 300_000, SECOND_US, 3 * SECOND_US, 8 * SECOND_US]);
    const beyondTtlUs = profile.ttlMs * chance.between(1_100, 2_000);
    switch (fault) {
      // These come about only where they can be borne.
      case 'membership change':
        if (leader.isLeader) this.#cluster.membership.change(leader, strike);
        return;
      case 'bit rot':
        this.#cluster.lostData.rot(node, strike);
        return;
      case 'wiped directory':
        this.#cluster.lostData.wipe(node, strike);
        return;
      case 'crowd of acquires':
        // Rarely, and once: it costs as much as everything else.
        if (this.#crowd.hasStarted || !chance.oneIn(8)) return;
        this.#strikes.struck(strike);
        this.#crowd.start();
        return;
      case 'client suspended':
        if (client.suspend(chance.between(200_000, 2 * beyondTtlUs))) this.#strikes.struck(strike);
        return;
      case 'client wall clock set':
        if (client.setWallClock(chance.pick([-3_600_000, -1_000, 300, 5_000, 86_400_000])))
          this.#strikes.struck(strike);
        return;
      default:
        this.#strikes.struck(strike);
    }
    switch (fault) {
      case 'node isolated':
        this.#cutFromNodes(chance.oneIn(2) ? leader : node, 'both', lastsUs);
        break;
      case 'node isolated with its clients': {
        const cut = chance.oneIn(2) ? leader : node;
        const some = this.#clients.filter(() => chance.oneIn(2)).map(({ host }) => host);
        const rest = [...this.#hosts()].filter((host) => host !== cut.id && !some.includes(host));
        this.#cuts.between([cut.id, ...some], rest, 'both', lastsUs);
        break;
      }
      case 'node mute':
        this.#cutFromNodes(node, chance.oneIn(2) ? 'out' : 'in', lastsUs);
        break;
      case 'halves': {
        const some = chance.sample(this.#nodes, chance.between(1, this.#nodes.length - 1));
        const left = [
          ...some.map(({ id }) => id),
          ...this.#clients.filter(() => chance.oneIn(2)).map(({ host }) => host),
        ];
        this.#cuts.between(
          left,
          [...this.#hosts()].filter((host) => !left.includes(host)),
          'both',
          lastsUs,
        );
        break;
      }
      case 'links between nodes closed':
        for (const other of this.#members.others(node)) if (chance.oneIn(2)) internet.reset(node.id, other.id);
        break;
      case 'node killed':
      case 'node without power':
        this.#members.crash(node, fault !== 'node killed', lastsUs);
        break;
      case 'leader killed':
      case 'leader without power':
        this.#members.crash(leader, fault !== 'leader killed', lastsUs);
        break;
      case 'all nodes down at once':
        for (const one of this.#nodes) this.#members.crash(one, true, chance.between(1_000, SECOND_US));
        break;
      case 'node paused':
        this.#members.pause(chance.oneIn(2) ? leader : node, chance.between(50_000, 4 * SECOND_US));
        break;
      case 'leader stalled beyond the TTL':
        this.#members.pause(leader, beyondTtlUs);
        break;
      case 'disk stalled':
        this.#members.stallDisk(chance.oneIn(2) ? leader : node, chance.between(50_000, 3 * SECOND_US));
        break;
      case 'node suspended':
        this.#members.suspend(chance.oneIn(2) ? leader : node, chance.between(200_000, 2 * beyondTtlUs));
        break;
      case 'slow disk':
        this.#members.slowDisk(node, chance, lastsUs);
        break;
      case 'write error':
        this.#members.failWrite(chance.oneIn(3) ? leader : node, chance);
        break;
      case 'full disk':
        this.#members.fillDisk(chance.oneIn(2) ? leader : node, chance, lastsUs);
        break;
      case 'segments lost':
        this.#strikes.raise(internet.shape, 'retransmitPerMille', chance.pick([20, 100]), lastsUs);
        break;
      case 'slow network':
        this.#strikes.raise(internet.shape, 'extraDelayUs', chance.pick([20_000, 100_000, 300_000]), lastsUs);
        break;
      case 'leadership handed over':
        leader.process?.arrive(() => leader.service?.driver.transferLeadership(undefined));
        if (chance.oneIn(3)) this.#cutFromNodes(leader, 'out', lastsUs);
        break;
      case 'node restarted':
        (chance.oneIn(2) ? leader : node).stop();
        break;
      default:
        this.#clientFaults.strike(fault, client, leader, lastsUs, beyondTtlUs, chance);
    }
  }

  /** `member add` is not done before its address is known: where it was lost on the way, it is repeated. */
  #giveAddresses(leader: ServiceNode): void {
    leader.process?.arrive(() => {
      const { status } = leader;
      if (status?.role !== 'leader' || !status.isReady) return;
      for (const id of membersOf(status.configuration)) giveAddress(leader, id);
    });
  }

  #cutFromNodes(node: ServiceNode, direction: 'both' | 'in' | 'out', lastsUs: number): void {
    this.#cuts.between(
      [node.id],
      this.#members.others(node).map(({ id }) => id),
      direction,
      lastsUs,
    );
  }

  *#hosts(): Generator<string> {
    for (const { id } of this.#nodes) yield id;
    for (const { host } of this.#clients) yield host;
  }
}

/** What an operator says with `member add`: where a member is reached that nobody was started with. */
function giveAddress({ driver }: ServiceNode, id: NodeId): void {
  if (driver === undefined || driver.addressOf(id) !== undefined) return;
  driver.proposeAddress(id, { peer: peerAddressOf(id), client: clientUrlOf(id), isGiven: true });
}
