import { type NodeId, nodeId } from '@lockd/raft';
import type { PeerPayload } from '@lockd/raft/node';
import type { Limits, Print, SimulationRequest, SimulationResult, Strike } from '../simulation.ts';
import { limited, restlessParts } from '../world/calm.ts';
import { Chance } from '../world/chance.ts';
import type { Counters } from '../world/counters.ts';
import { Network } from '../world/network.ts';
import { type Run, type RunParts, runOnce } from '../world/run.ts';
import type { Trace } from '../world/trace.ts';
import { Violation } from '../world/violation.ts';
import type { World } from '../world/world.ts';
import { RaftChecker } from './checker.ts';
import { Clients } from './clients.ts';
import { drawCore, NOT_JUDGED } from './core.ts';
import { FAULTS, Faults } from './faults.ts';
import { inWords } from './member.ts';
import { drawProfile, type Profile, RAFT_CALM } from './profile.ts';
import { SimNode, type Surroundings } from './sim-node.ts';

/** After that a healed quorum has so many longest election time-outs to serve. */
const LIVENESS_TIMEOUTS = 40;

/** One run of a whole Raft cluster, from one seed. */
export function simulateRaft(request: SimulationRequest, print?: Print): Promise<SimulationResult> {
  const { seed, limits = {} } = request;
  const profile = limited(drawProfile(Chance.of(seed, 'profile'), FAULTS, request.nodes), RAFT_CALM, request);
  // Now: faults change the network while it runs.
  const restless = restlessParts(profile, RAFT_CALM);
  return runOnce(request, print, { ...profile, restless }, (parts) => new RaftSimulation(seed, parts, profile, limits));
}

class RaftSimulation implements Run {
  readonly #world: World;
  readonly #trace: Trace;
  readonly #counters: Counters;
  readonly #checker = new RaftChecker();
  readonly #around: Surroundings;
  readonly #nodes: SimNode[];
  readonly #clients: Clients;
  readonly #faults: Faults;
  readonly #chance: Chance;

  constructor(seed: number, { world, trace, counters }: RunParts, profile: Profile, limits: Limits) {
    this.#world = world;
    this.#trace = trace;
    this.#counters = counters;
    this.#chance = Chance.of(seed, 'end');
    const network = new Network<PeerPayload>(world, Chance.of(seed, 'network'), profile.network, counters);
    this.#around = {
      world,
      trace,
      counters,
      network,
      checker: this.#checker,
      profile,
      diskChance: Chance.of(seed, 'disk'),
      clockChance: Chance.of(seed, 'clocks'),
      nodeChance: Chance.of(seed, 'nodes'),
      isUnderLoad: () => this.#clients.waiting > 0,
      onTransition: (node, event) => this.#faults.onTransition(node, event),
    };
    const names = (from: number, count: number): NodeId[] =>
      Array.from({ length: count }, (_, position) => nodeId(`n${from + position}`));
    const members = names(1, profile.nodes);
    const spares = names(profile.nodes + 1, profile.spares);
    this.#nodes = [
      ...members.map((id) => new SimNode(id, members, this.#around)),
      ...spares.map((id) => new SimNode(id, members, this.#around)),
    ];
    this.#clients = new Clients({
      world,
      trace,
      counters,
      checker: this.#checker,
      chance: Chance.of(seed, 'workload'),
      profile,
      nodes: () => this.#nodes,
    });
    this.#faults = new Faults(this.#around, this.#nodes, {
      chance: Chance.of(seed, 'faults'),
      ambushChance: Chance.of(seed, 'ambushes'),
      limits,
    });
    this.#checker.founded();
  }

  /** Faults that came about. */
  get strikes(): readonly Strike[] {
    return this.#faults.strikes;
  }

  abandon(): void {}

  /** A cluster founds itself, and everything that can go wrong does. */
  async chaos(untilUs: number): Promise<void> {
    for (const node of this.#nodes) this.#world.in(this.#chance.below(200_000), () => node.start());
    this.#clients.start();
    this.#faults.start();
    await this.#world.run(untilUs);
    this.#counters.add('writes acknowledged', this.#clients.writesDone);
    this.#counters.add('reads answered', this.#clients.readsDone);
  }

  /**
   * A quorum is healed and every other fault stays: random faults always heal, and so hide what hangs for ever. The
   * quorum has to serve within a bound, and everyone in it has to catch up.
   */
  async conclude(): Promise<void> {
    const core = drawCore(this.#nodes, this.#faults.lost, this.#checker, this.#chance);
    if (core === undefined) {
      this.#counters.add(NOT_JUDGED, 1);
      this.#trace.event(this.#world.nowUs, 'nemesis', 'has destroyed more than a cluster can lose');
      return;
    }
    const rest = this.#nodes.filter((node) => !core.includes(node));
    this.#faults.heal();
    this.#trace.event(
      this.#world.nowUs,
      'nemesis',
      'heals',
      () => `${core.map((node) => node.id).join(' ')}; ${rest.map((node) => node.id).join(' ')} stay broken`,
      core.length,
    );
    this.#calm(core);
    const tend = (): void => {
      this.#faults.tend();
      this.#world.in(500_000, tend);
    };
    tend();
    const ways = ['dead', 'cut off', 'deaf', 'mute', 'frozen', 'half deaf', 'stuck disk'];
    for (const node of rest) this.#breakForGood(node, core, this.#chance.pick(ways));
    for (const node of core) {
      node.process?.wakeUp();
      if (!node.isUp) node.start();
    }
    const { electionTimeoutMs, network } = this.#around.profile;
    const boundUs = LIVENESS_TIMEOUTS * (2_000 * electionTimeoutMs + 4 * network.maxDelayUs) + 4_000_000;
    this.#clients.askForBoth();
    const before = { writes: this.#clients.writesDone, reads: this.#clients.readsDone };
    const startUs = this.#world.nowUs;
    await this.#world.run(
      startUs + boundUs,
      () => this.#clients.writesDone > before.writes + 2 && this.#clients.readsDone > before.reads + 1,
    );
    if (this.#clients.writesDone <= before.writes + 2 || this.#clients.readsDone <= before.reads + 1)
      throw new Violation(
        'liveness',
        `no service ${Math.floor(boundUs / 1000)} ms after a quorum was healed: ${inWords(core)}`,
      );
    this.#clients.close();
    const target = this.#clients.floor;
    const isConverged = (): boolean =>
      core.every(
        (node) => this.#isBystander(node) || !this.#isHeard(node) || (node.machine?.state.index ?? 0) >= target,
      );
    await this.#world.run(this.#world.nowUs + boundUs, isConverged);
    if (!isConverged())
      throw new Violation('liveness', `not everyone has caught up with index ${target} in time: ${inWords(core)}`);
    for (const node of core) {
      if (
        !this.#isBystander(node) &&
        this.#isHeard(node) &&
        !this.#checker.hasAll(node.id, Math.min(target, node.status?.stableIndex ?? 0))
      )
        throw new Violation('durability', `${node.id} has caught up, but its disk lacks committed entries`);
    }
  }

  /** It is no member, or its data is gone: nobody waits for it. */
  #isBystander(node: SimNode): boolean {
    if (this.#faults.lost.has(node)) return true;
    const { configuration } = this.#checker;
    return (
      configuration === undefined ||
      ![...configuration.voters, ...configuration.outgoing, ...configuration.learners].includes(node.id)
    );
  }

  /** A node outside the quorum may lead, and be deaf to some: it serves, but cannot bring those up to date. */
  #isHeard(node: SimNode): boolean {
    const { network } = this.#around;
    return this.#nodes.every((leader) => !leader.isLeader || !network.cuts.has(node.id, leader.id));
  }

  #calm(core: readonly SimNode[]): void {
    const { shape } = this.#around.network;
    shape.lossPerMille = 0;
    shape.duplicatePerMille = 0;
    shape.reorderPerMille = 0;
    shape.extraDelayUs = 0;
    for (const node of core) node.diskFactor = 1;
  }

  #breakForGood(node: SimNode, core: readonly SimNode[], how: string): void {
    const { cuts } = this.#around.network;
    if (this.#faults.leave(node, how)) return;
    core.forEach((other, position) => {
      if (how !== 'mute' && (how !== 'half deaf' || position % 2 === 0)) cuts.cut(other.id, node.id);
      if (how === 'cut off' || how === 'mute') cuts.cut(node.id, other.id);
    });
  }
}
