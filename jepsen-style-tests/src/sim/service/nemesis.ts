import type { TraceEvent } from '@lockd/raft';
import type { Limits, Strike } from '../simulation.ts';
import type { Chance } from '../world/chance.ts';
import type { Counters } from '../world/counters.ts';
import type { Trace } from '../world/trace.ts';
import type { World } from '../world/world.ts';
import type { Internet } from './internet.ts';
import { CHAOS_US, type ServiceProfile } from './profile.ts';
import type { ServiceNode } from './service-node.ts';
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
  'disk stalled',
  'segments lost',
  'slow network',
  'leadership handed over',
  'node restarted',
  'client cut off',
  'client hears nobody',
  'client is not heard',
  'client connections closed',
  'client refused',
  'client stalled',
  'client stalled beyond the TTL',
  'client wakes up at the last moment',
  'client behind a follower that is not heard',
  'client killed',
  'client without power',
  'client wall clock set',
];

const SECOND_US = 1_000_000;

/** A strike as the seed draws it: its number and its own source of chance are the same whatever else is left out. */
interface Drawn {
  readonly name: string;
  readonly fault: string;
  readonly chance: Chance;
}

export interface NemesisSurroundings {
  readonly world: World;
  readonly trace: Trace;
  readonly counters: Counters;
  readonly internet: Internet;
  readonly profile: ServiceProfile;
}

/** Draws faults of nodes, clients and what is between them. Everything it does ends by itself or with `heal`. */
export class ServiceNemesis {
  readonly #around: NemesisSurroundings;
  readonly #nodes: readonly ServiceNode[];
  readonly #clients: readonly SimClient[];
  readonly #chance: Chance;
  readonly #ambushChance: Chance;
  readonly #limits: Limits;
  readonly #only: ReadonlySet<string> | undefined;
  readonly #enabled: readonly string[];
  /** How often each node came to each telling moment. */
  readonly #occasions = new Map<string, number>();
  /** What came about, in order. */
  readonly strikes: Strike[] = [];
  #drawn = 0;
  #drawnUs = 0;
  readonly #undo = new Set<() => void>();
  readonly #heldDown = new Set<ServiceNode | SimClient>();
  #isOver = false;
  /** See `#hideBehindFollower`. */
  #hidden:
    | { readonly client: SimClient; readonly leader: ServiceNode; readonly rest: readonly ServiceNode[] }
    | undefined;

  constructor(
    around: NemesisSurroundings,
    nodes: readonly ServiceNode[],
    clients: readonly SimClient[],
    chance: Chance,
    ambushChance: Chance,
    limits: Limits,
  ) {
    this.#around = around;
    this.#nodes = nodes;
    this.#clients = clients;
    this.#chance = chance;
    this.#ambushChance = ambushChance;
    this.#limits = limits;
    this.#only = limits.only === undefined ? undefined : new Set(limits.only);
    this.#enabled = SERVICE_FAULTS.filter((fault) => around.profile.faults.has(fault));
    for (const node of nodes) node.onExit = () => this.#restartSoon(node, 2 * SECOND_US);
  }

  /** Strikes that are left out are drawn all the same, so that the others have their times and numbers. */
  start(): void {
    if (this.#enabled.length === 0) return;
    const { world, profile } = this.#around;
    const lastUs = this.#drawnUs;
    let name: string;
    let fault: string;
    do {
      this.#drawnUs += 1 + this.#chance.below(2 * profile.faultEveryUs);
      this.#drawn += 1;
      fault = this.#chance.pick(this.#enabled);
      name = String(this.#drawn);
      if (this.#drawnUs > CHAOS_US) return;
    } while (!this.#comesAbout(name));
    const strike = { name, fault, chance: this.#chance.split(name) };
    const { gapMs } = this.#limits;
    const gapUs = this.#drawnUs - lastUs;
    world.in(gapMs === undefined ? gapUs : Math.min(gapUs, 1000 * gapMs), () => {
      if (this.#isOver) return;
      this.#strike(strike);
      this.start();
    });
  }

  /** Ends every fault that lasts, and starts no new ones. */
  heal(): void {
    this.#isOver = true;
    for (const undo of [...this.#undo]) undo();
    this.#around.internet.mendAll();
  }

  /** It does not start again. */
  holdDown(one: ServiceNode | SimClient): void {
    this.#heldDown.add(one);
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
      for (const other of this.#hidden.rest) this.#stallDisk(other, 150_000);
      // What it has just sent is on its way.
      this.#around.world.in(1, () => this.#crash(node, false, SECOND_US));
      return;
    }
    this.#ambush(node, 'end', 3 * this.#around.profile.ambushPerMille, client);
  }

  /** Until its first entry is committed it does not know what has ended: sometimes that takes long. */
  onOldEnds(node: ServiceNode): void {
    if (this.#hidden !== undefined) for (const other of this.#hidden.rest) this.#stallDisk(other, 300_000);
    this.#hidden = undefined;
    const drawn = this.#drawAmbush(node, 'old-end', 5 * this.#around.profile.ambushPerMille);
    if (drawn === undefined) return;
    this.#struck(drawn.name, 'ambush: slow quorum');
    for (const other of this.#others(node)) this.#stallDisk(other, drawn.chance.between(50_000, 400_000));
  }

  #comesAbout(name: string): boolean {
    return this.#only === undefined || this.#only.has(name);
  }

  #drawAmbush(
    node: ServiceNode,
    occasion: string,
    perMille: number,
  ): { readonly name: string; readonly chance: Chance } | undefined {
    if (perMille === 0 || this.#isOver) return undefined;
    const where = `${node.id}.${occasion}`;
    const number = (this.#occasions.get(where) ?? 0) + 1;
    this.#occasions.set(where, number);
    const name = `${where}.${number}`;
    if (!this.#comesAbout(name)) return undefined;
    const chance = this.#ambushChance.split(name);
    return chance.perMille(perMille) ? { name, chance } : undefined;
  }

  #ambush(node: ServiceNode, occasion: string, perMille: number, client?: SimClient): void {
    const drawn = this.#drawAmbush(node, occasion, perMille);
    if (drawn === undefined) return;
    const { name, chance } = drawn;
    const isAboutClient = client !== undefined && chance.oneIn(2);
    const what = isAboutClient ? 'news' : chance.pick(['kill', 'power', 'pause', 'isolate', 'isolate', 'mute', 'disk']);
    const { process } = node;
    this.#around.world.in(isAboutClient ? 0 : chance.pick([0, 0, 0, 200, 1_000, 5_000]), () => {
      if (node.process !== process || this.#isOver) return;
      this.#struck(name, `ambush: ${what}`);
      if (what === 'kill') this.#crash(node, false, chance.pick([1_000, 20_000, SECOND_US]));
      else if (what === 'power') this.#crash(node, true, chance.pick([1_000, 20_000, SECOND_US]));
      else if (what === 'pause') this.#pause(node, chance.between(100_000, 3 * SECOND_US));
      else if (what === 'isolate') this.#cutFromNodes(node, 'both', chance.between(100_000, 3 * SECOND_US));
      else if (what === 'news') {
        // Its renewal arrives while the decision is on its way to a quorum.
        for (const other of this.#others(node)) this.#stallDisk(other, chance.between(50_000, 400_000));
        if (client !== undefined) this.#around.internet.mendHost(client.host);
      } else if (what === 'mute') this.#cutFromNodes(node, 'out', chance.between(100_000, 3 * SECOND_US));
      else this.#stallDisk(node, chance.between(20_000, SECOND_US));
    });
  }

  #strike({ name, fault, chance }: Drawn): void {
    const { internet, profile } = this.#around;
    const node = chance.pick(this.#nodes);
    const leader = this.#nodes.find((candidate) => candidate.isLeader) ?? node;
    const client = chance.pick(this.#clients);
    const lastsUs = chance.pick([50_000, 300_000, SECOND_US, 3 * SECOND_US, 8 * SECOND_US]);
    const beyondTtlUs = profile.ttlMs * chance.between(1_100, 2_000);
    this.#struck(name, fault);
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
        for (const other of this.#others(node)) if (chance.oneIn(2)) internet.reset(node.id, other.id);
        break;
      case 'node killed':
      case 'node without power':
        this.#crash(node, fault !== 'node killed', lastsUs);
        break;
      case 'leader killed':
      case 'leader without power':
        this.#crash(leader, fault !== 'leader killed', lastsUs);
        break;
      case 'all nodes down at once':
        for (const one of this.#nodes) this.#crash(one, true, chance.between(1_000, SECOND_US));
        break;
      case 'node paused':
        this.#pause(chance.oneIn(2) ? leader : node, chance.between(50_000, 4 * SECOND_US));
        break;
      case 'leader stalled beyond the TTL':
        this.#pause(leader, beyondTtlUs);
        break;
      case 'disk stalled':
        this.#stallDisk(chance.oneIn(2) ? leader : node, chance.between(50_000, 3 * SECOND_US));
        break;
      case 'segments lost':
        this.#shape('retransmitPerMille', chance.pick([20, 100]), lastsUs);
        break;
      case 'slow network':
        this.#shape('extraDelayUs', chance.pick([20_000, 100_000, 300_000]), lastsUs);
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
        internet.lag(client.host, chance.between(60_000, 300_000));
        this.#later(wakeUs - nowUs + SECOND_US, () => internet.lag(client.host, 0));
        this.#around.world.in(wakeUs - nowUs + 50_000, () => {
          if (this.#isOver) return;
          for (const one of this.#nodes) if (!one.isLeader) this.#stallDisk(one, chance.between(100_000, 400_000));
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
          if (!this.#heldDown.has(client)) client.start();
        });
        break;
      case 'client wall clock set':
        client.setWallClock(chance.pick([-3_600_000, -1_000, 300, 5_000, 86_400_000]));
        break;
      default:
        throw new Error(`nobody knows how to inject ${fault}`);
    }
  }

  // ------------------------------------------------------------------------------------------------ single faults

  #cutFromNodes(node: ServiceNode, direction: 'both' | 'in' | 'out', lastsUs: number): void {
    this.#cutBetween(
      [node.id],
      this.#others(node).map(({ id }) => id),
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
    this.#say('cuts', `${some.join(' ')} from ${rest.join(' ')} (${direction}) for ${Math.floor(lastsUs / 1000)} ms`);
    const each = (act: (from: string, to: string) => void): void => {
      for (const one of some) {
        for (const other of rest) {
          if (direction !== 'in') act(one, other);
          if (direction !== 'out') act(other, one);
        }
      }
    };
    each((from, to) => internet.cut(from, to));
    this.#later(lastsUs, () => each((from, to) => internet.mend(from, to)));
  }

  /**
   * Its renewals reach a follower, and go no further: the leader ends its session, and is lost before that is decided. The
   * follower takes over with the end in its log, and with the renewals that nobody has acknowledged.
   */
  #hideBehindFollower(client: SimClient, leader: ServiceNode, chance: Chance): void {
    const { internet, profile } = this.#around;
    const others = this.#others(leader);
    const follower = chance.pick(others);
    const lastsUs = (profile.ttlMs + 2_000) * 1000;
    const farFrom = this.#nodeHosts().filter((id) => id !== follower.id);
    this.#cutBetween([client.host], farFrom, 'both', lastsUs);
    for (const id of farFrom) internet.reset(client.host, id);
    // Time for it to come to the follower, and to be heard once more through that.
    this.#around.world.in(chance.between(700_000, 1_200_000), () => {
      if (this.#isOver || !leader.isLeader) return;
      this.#cutBetween([follower.id], [leader.id], 'out', lastsUs);
      const hidden = { client, leader, rest: others.filter((other) => other !== follower) };
      this.#hidden = hidden;
      this.#later(lastsUs, () => {
        if (this.#hidden === hidden) this.#hidden = undefined;
      });
    });
  }

  #refuse(client: SimClient, nodes: readonly ServiceNode[], lastsUs: number): void {
    const { internet } = this.#around;
    for (const { id } of nodes) internet.refuse(client.host, id, true);
    this.#later(lastsUs, () => {
      for (const { id } of nodes) internet.refuse(client.host, id, false);
    });
  }

  #crash(node: ServiceNode, isPowerLost: boolean, downUs: number): void {
    if (!node.isUp) return;
    if (isPowerLost) node.losePower();
    else node.kill();
    this.#restartSoon(node, downUs);
  }

  #restartSoon(node: ServiceNode, downUs: number): void {
    this.#around.world.in(downUs, () => {
      if (!node.isUp && !this.#heldDown.has(node)) node.start();
    });
  }

  #pause(node: ServiceNode, lastsUs: number): void {
    this.#say('stalls', `${node.id} for ${Math.floor(lastsUs / 1000)} ms`, lastsUs);
    node.process?.stall(lastsUs);
  }

  #stallDisk(node: ServiceNode, lastsUs: number): void {
    const { disk } = node;
    this.#say('stalls the disk of', node.id, lastsUs);
    disk.holdSyncs();
    this.#later(lastsUs, () => {
      disk.releaseSyncs();
      this.#around.world.touch();
    });
  }

  #shape(what: 'retransmitPerMille' | 'extraDelayUs', value: number, lastsUs: number): void {
    const { shape } = this.#around.internet;
    const before = shape[what];
    if (before >= value) return;
    shape[what] = value;
    this.#later(lastsUs, () => {
      shape[what] = before;
    });
  }

  // ------------------------------------------------------------------------------------------------

  #others(node: ServiceNode): ServiceNode[] {
    return this.#nodes.filter((other) => other !== node);
  }

  #nodeHosts(): string[] {
    return this.#nodes.map(({ id }) => id);
  }

  *#hosts(): Generator<string> {
    for (const { id } of this.#nodes) yield id;
    for (const { host } of this.#clients) yield host;
  }

  #later(delayUs: number, undo: () => void): void {
    const once = (): void => {
      if (this.#undo.delete(once)) undo();
    };
    this.#undo.add(once);
    this.#around.world.in(delayUs, once);
  }

  #struck(name: string, fault: string): void {
    this.#around.counters.add(`fault: ${fault}`);
    this.strikes.push({ name, what: fault });
    this.#say('strikes', `${name}: ${fault}`);
  }

  #say(what: string, details: string, number = 0): void {
    this.#around.trace.event(this.#around.world.nowUs, 'nemesis', what, () => details, number);
  }
}
