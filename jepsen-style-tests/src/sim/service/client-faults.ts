import { FOR_EVER_US, type MemberFaults, SECOND_US } from '../raft/member-faults.ts';
import type { Chance } from '../world/chance.ts';
import type { Strikes } from '../world/strikes.ts';
import type { NemesisSurroundings } from './nemesis.ts';
import type { ServiceNode } from './service-node.ts';
import type { SimClient } from './sim-client.ts';
import type { StreamCuts } from './stream-cuts.ts';

/** What may happen to one client, and to what is between it and the nodes. */
export class ClientFaults {
  readonly #around: NemesisSurroundings;
  readonly #strikes: Strikes;
  readonly #cuts: StreamCuts;
  readonly #members: MemberFaults<ServiceNode>;
  readonly #nodes: readonly ServiceNode[];
  readonly #gone = new Set<SimClient>();
  /** See `#hideBehindFollower`. */
  #hidden:
    | { readonly client: SimClient; readonly leader: ServiceNode; readonly rest: readonly ServiceNode[] }
    | undefined;

  constructor(
    around: NemesisSurroundings,
    strikes: Strikes,
    cuts: StreamCuts,
    members: MemberFaults<ServiceNode>,
    nodes: readonly ServiceNode[],
  ) {
    this.#around = around;
    this.#strikes = strikes;
    this.#cuts = cuts;
    this.#members = members;
    this.#nodes = nodes;
  }

  strike(
    fault: string,
    client: SimClient,
    leader: ServiceNode,
    lastsUs: number,
    beyondTtlUs: number,
    chance: Chance,
  ): void {
    const { internet } = this.#around;
    switch (fault) {
      case 'client cut off':
        this.#cuts.between([client.host], this.#nodeHosts, 'both', lastsUs);
        break;
      case 'client hears nobody':
        this.#cuts.between([client.host], this.#nodeHosts, 'in', lastsUs);
        break;
      case 'client is not heard':
        this.#cuts.between([client.host], this.#nodeHosts, 'out', lastsUs);
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

  /** `node` leads and has decided that the session of `client` is over: whether that is what `#hideBehindFollower` waits for. */
  endDecided(node: ServiceNode, client: SimClient | undefined): boolean {
    if (this.#hidden?.client !== client || this.#hidden?.leader !== node) return false;
    for (const other of this.#hidden.rest) this.#members.stallDisk(other, 150_000);
    // What it has just sent is on its way.
    this.#around.world.in(1, () => this.#members.crash(node, false, SECOND_US));
    return true;
  }

  /** The next leader has found such an end. */
  oldEndFound(): void {
    if (this.#hidden !== undefined) for (const other of this.#hidden.rest) this.#members.stallDisk(other, 300_000);
    this.#hidden = undefined;
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
    const farFrom = this.#nodeHosts.filter((id) => id !== follower.id);
    this.#cuts.between([client.host], farFrom, 'both', lastsUs);
    for (const id of farFrom) internet.reset(client.host, id);
    // Time for it to come to the follower, and to be heard once more through that.
    this.#around.world.in(chance.between(700_000, 1_200_000), () => {
      if (this.#strikes.isOver || !leader.isLeader) return;
      this.#cuts.between([follower.id], [leader.id], 'out', lastsUs);
      const hidden = { client, leader, rest: others.filter((other) => other !== follower) };
      this.#hidden = hidden;
      this.#strikes.later(lastsUs, () => {
        if (this.#hidden === hidden) this.#hidden = undefined;
      });
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
      if (!this.#strikes.isOver) this.#cuts.between([client.host], this.#nodeHosts, 'out', 2 * ttlUs);
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

  get #nodeHosts(): readonly string[] {
    return this.#nodes.map(({ id }) => id);
  }
}
