import { membersOf, type TraceEvent } from '@lockd/raft';
import { ClusterFaults, type FaultDrawing } from '../raft/cluster-faults.ts';
import type { MemberSurroundings } from '../raft/member.ts';
import { FOR_EVER_US, type MemberFaults, SECOND_US } from '../raft/member-faults.ts';
import type { Strike } from '../simulation.ts';
import type { Chance } from '../world/chance.ts';
import type { Drawn, Strikes } from '../world/strikes.ts';
import type { CrowdClient } from './crowd-client.ts';
import type { Internet } from './internet.ts';
import type { ServiceProfile } from './profile.ts';
import { clientUrlOf, peerAddressOf, type ServiceNode } from './service-node.ts';
import type { SimClient } from './sim-client.ts';

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
  readonly #gone = new Set<SimClient>();
  /** See `#hideBehindFollower`. */
  #hidden:
    | { readonly client: SimClient; readonly leader: ServiceNode; readonly rest: readonly ServiceNode[] }
    | undefined;

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
      tended: (leader) => this.#giveAddresses(leader),
    });
    this.#cluster = cluster;
    this.#strikes = cluster.strikes;
    this.#members = cluster.members;
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
    const { counters, internet } = this.#around;
    this.#strikes.say('takes away', `${client.host} ${how}`);
    counters.add(`client vanished: ${how}`);
    this.#gone.add(client);
    if (how === 'dead' || how === 'dark') client.crash(how === 'dark');
    else if (how === 'frozen') client.stall(FOR_EVER_US);
    else
      for (const { id } of this.#nodes) {
        internet.cut(client.host, id);
        internet.cut(id, client.host);
      }
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
    if (this.#hidden?.client === client && this.#hidden?.leader === node) {
      for (const other of this.#hidden.rest) this.#members.stallDisk(other, 150_000);
      // What it has just sent is on its way.
      this.#around.world.in(1, () => this.#members.crash(node, false, SECOND_US));
      return;
    }
    this.#ambush(node, 'end', 3 * this.#around.profile.ambushPerMille, client);
  }

  /** Until its first entry is committed it does not know what has ended: sometimes that takes long. */
  onOldEnds(node: ServiceNode): void {
    if (this.#hidden !== undefined) for (const other of this.#hidden.rest) this.#members.stallDisk(other, 300_000);
    this.#hidden = undefined;
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
        this.#cutBetween([cut.id, ...some], rest, 'both', lastsUs);
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
        this.#cutBetween(
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
      case 'client cut off':
        this.#cutBetween([client.host], this.#nodeHosts(), 'both', lastsUs);
        break;
      case 'client hears nobody':
        this.#cutBetween([client.host], this.#nodeHosts(), 'in', lastsUs);
        break;
      case 'client is not heard':
        this.#cutBetween([client.host], this.#nodeHosts(), 'out', lastsUs);
        break;
      case 'client hears late, and is not heard then':
        this.#hearsLate(client, chance);
        break;
      case 'client connections closed':
        for (const { id } of this.#nodes) internet.reset(client.host, id);
        if (chance.oneIn(3)) this.#refuse(client, chance.sample(this.#nodes, 1), lastsUs);
        break;
      case 'client refused':
        this.#refuse(client, chance.sample(this.#nodes, chance.between(1, this.#nodes.length)), lastsUs);
        for (const { id } of this.#nodes) internet.reset(client.host, id);
        break;
      case 'client stalled':
        client.stall(chance.between(20_000, 500_000));
        break;
      case 'client stalled beyond the TTL':
        client.stall(beyondTtlUs);
        break;
      case 'client wakes up at the last moment': {
        const { nowUs } = this.#around.world;
        const wakeUs = (client.givesUpAtUs ?? 0) - chance.between(1_000, 60_000);
        if (wakeUs <= nowUs) return;
        client.stall(wakeUs - nowUs);
        // So that its renewal is at the leader when that has decided, or is about to, and its decision is slow to be one.
        internet.lag(client.host, 'out', chance.between(60_000, 300_000));
        this.#strikes.later(wakeUs - nowUs + SECOND_US, () => internet.lag(client.host, 'out', 0));
        this.#around.world.in(wakeUs - nowUs + 50_000, () => {
          if (this.#strikes.isOver) return;
          for (const one of this.#nodes)
            if (!one.isLeader) this.#members.stallDisk(one, chance.between(100_000, 400_000));
        });
        break;
      }
      case 'client behind a follower that is not heard':
        this.#hideBehindFollower(client, leader, chance);
        break;
      case 'client killed':
      case 'client without power':
        client.crash(fault === 'client without power');
        this.#around.world.in(lastsUs, () => {
          if (!this.#gone.has(client)) client.start();
        });
        break;
      default:
        throw new Error(`nobody knows how to inject ${fault}`);
    }
  }

  // ------------------------------------------------------------------------------------------------ single faults

  #cutFromNodes(node: ServiceNode, direction: 'both' | 'in' | 'out', lastsUs: number): void {
    this.#cutBetween(
      [node.id],
      this.#members.others(node).map(({ id }) => id),
      direction,
      lastsUs,
    );
  }

  /** `in`: what the first would hear; `out`: what they say. */
  #cutBetween(
    some: readonly string[],
    rest: readonly string[],
    direction: 'both' | 'in' | 'out',
    lastsUs: number,
  ): void {
    const { internet } = this.#around;
    this.#strikes.say(
      'cuts',
      `${some.join(' ')} from ${rest.join(' ')} (${direction}) for ${Math.floor(lastsUs / 1000)} ms`,
    );
    const each = (act: (from: string, to: string) => void): void => {
      for (const one of some) {
        for (const other of rest) {
          if (direction !== 'in') act(one, other);
          if (direction !== 'out') act(other, one);
        }
      }
    };
    each((from, to) => internet.cut(from, to));
    this.#strikes.later(lastsUs, () => each((from, to) => internet.mend(from, to)));
  }

  /**
   * Its renewals reach a follower, and go no further: the leader ends its session, and is lost before that is decided. The
   * follower takes over with the end in its log, and with the renewals that nobody has acknowledged.
   */
  #hideBehindFollower(client: SimClient, leader: ServiceNode, chance: Chance): void {
    const { internet, profile } = this.#around;
    const others = this.#members.others(leader);
    const follower = chance.pick(others);
    const lastsUs = (profile.ttlMs + 2_000) * 1000;
    const farFrom = this.#nodeHosts().filter((id) => id !== follower.id);
    this.#cutBetween([client.host], farFrom, 'both', lastsUs);
    for (const id of farFrom) internet.reset(client.host, id);
    // Time for it to come to the follower, and to be heard once more through that.
    this.#around.world.in(chance.between(700_000, 1_200_000), () => {
      if (this.#strikes.isOver || !leader.isLeader) return;
      this.#cutBetween([follower.id], [leader.id], 'out', lastsUs);
      const hidden = { client, leader, rest: others.filter((other) => other !== follower) };
      this.#hidden = hidden;
      this.#strikes.later(lastsUs, () => {
        if (this.#hidden === hidden) this.#hidden = undefined;
      });
    });
  }

  /** What an operator says with `member add`: where a member is reached that nobody was started with. */
  #giveAddresses(leader: ServiceNode): void {
    leader.process?.arrive(() => {
      const { driver, status } = leader;
      if (driver === undefined || status?.role !== 'leader' || !status.isReady) return;
      for (const id of membersOf(status.configuration)) {
        if (driver.addressOf(id) !== undefined) continue;
        driver.proposeAddress(id, { peer: peerAddressOf(id), client: clientUrlOf(id), isGiven: true });
      }
    });
  }

  /**
   * Acknowledgements reach it late, though not so late that it takes its node for silent, and the last of them after nobody
   * hears it any more: the service counts from when it heard a renewal, whenever the client is told.
   */
  #hearsLate(client: SimClient, chance: Chance): void {
    const { internet, profile, world } = this.#around;
    const ttlUs = 1000 * profile.ttlMs;
    const lateUs = chance.between(350_000, 450_000);
    const heardUs = lateUs + chance.below(ttlUs);
    this.#strikes.say('delays', `what ${client.host} hears by ${Math.floor(lateUs / 1000)} ms`, lateUs);
    internet.lag(client.host, 'in', lateUs);
    world.in(heardUs, () => {
      if (!this.#strikes.isOver) this.#cutBetween([client.host], this.#nodeHosts(), 'out', 2 * ttlUs);
    });
    this.#strikes.later(heardUs + 2 * ttlUs, () => internet.lag(client.host, 'in', 0));
  }

  #refuse(client: SimClient, nodes: readonly ServiceNode[], lastsUs: number): void {
    const { internet } = this.#around;
    for (const { id } of nodes) internet.refuse(client.host, id, true);
    this.#strikes.later(lastsUs, () => {
      for (const { id } of nodes) internet.refuse(client.host, id, false);
    });
  }

  // ------------------------------------------------------------------------------------------------

  #nodeHosts(): string[] {
    return this.#nodes.map(({ id }) => id);
  }

  *#hosts(): Generator<string> {
    for (const { id } of this.#nodes) yield id;
    for (const { host } of this.#clients) yield host;
  }
}
