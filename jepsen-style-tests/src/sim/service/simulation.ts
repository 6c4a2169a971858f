import { type NodeId, nodeId } from '@lockd/raft';
import { Collector } from '../../jepsen/collector.ts';
import { judgeRun } from '../../jepsen/run-checks.ts';
import { WORKLOADS, type WorkloadName } from '../../workload/messages.ts';
import { RaftChecker } from '../raft/checker.ts';
import { drawCore, NOT_JUDGED } from '../raft/core.ts';
import { inWords } from '../raft/member.ts';
import type { Limits, Print, SimulationRequest, SimulationResult, Strike } from '../simulation.ts';
import { limited, restlessParts } from '../world/calm.ts';
import { Chance } from '../world/chance.ts';
import type { Counters } from '../world/counters.ts';
import { type Run, type RunParts, runOnce } from '../world/run.ts';
import type { Trace } from '../world/trace.ts';
import { Violation } from '../world/violation.ts';
import type { World } from '../world/world.ts';
import { Beliefs } from './beliefs.ts';
import { BoundClient } from './bound-client.ts';
import { CrowdClient } from './crowd-client.ts';
import { Internet } from './internet.ts';
import { LogStory } from './log-story.ts';
import { SERVICE_FAULTS, ServiceNemesis } from './nemesis.ts';
import { drawServiceProfile, SERVICE_CALM, type ServiceProfile } from './profile.ts';
import { RawClient } from './raw-client.ts';
import { relaxed } from './relaxed.ts';
import { clientUrlOf, type NodeSurroundings, ServiceNode } from './service-node.ts';
import { SimClient } from './sim-client.ts';
import { Truth } from './truth.ts';

/** Clients go on for so long once a quorum is healed. */
const CALM_US = 4_000_000;
/** Longest wait of any lane. */
const LONGEST_WAIT_MS = 20_000;
/** How long a cancel may take to arrive once there is a quorum. */
const LONGEST_CANCEL_US = 60_000_000;
/** Elections that a healed quorum may need, in election time-outs. */
const LIVENESS_TIMEOUTS = 40;
const MIN_OPERATIONS = 200;

/** Those that need a store beside the service are left to real processes. */
const LANE_NAMES: readonly WorkloadName[] = WORKLOADS.filter((name) => name !== 'fenced' && name !== 'unfenced');

/** One run of a whole cluster with its clients, from one seed. */
export function simulateService(request: SimulationRequest, print?: Print): Promise<SimulationResult> {
  const { seed, limits = {} } = request;
  const drawn = drawServiceProfile(Chance.of(seed, 'service profile'), SERVICE_FAULTS, request.nodes);
  const profile = limited(drawn, SERVICE_CALM, request);
  const restless = restlessParts(profile, SERVICE_CALM);
  return runOnce(
    request,
    print,
    { ...profile, restless },
    (parts) => new ServiceSimulation(seed, parts, profile, limits),
  );
}

class ServiceSimulation implements Run {
  readonly #world: World;
  readonly #trace: Trace;
  readonly #counters: Counters;
  readonly #profile: ServiceProfile;
  readonly #chance: Chance;
  readonly #checker = new RaftChecker();
  readonly #internet: Internet;
  readonly #collector = new Collector();
  readonly #beliefs: Beliefs;
  readonly #truth: Truth;
  readonly #nodes: readonly ServiceNode[];
  readonly #clients: readonly SimClient[];
  readonly #raw: RawClient;
  readonly #crowd: CrowdClient;
  readonly #bound: readonly BoundClient[];
  readonly #nemesis: ServiceNemesis;
  /** Nothing was left out that work needs. */
  readonly #isWhole: boolean;
  readonly #leadersSinceNs: number[] = [];
  #healedNs = 0;

  constructor(seed: number, { world, trace, counters }: RunParts, profile: ServiceProfile, limits: Limits) {
    this.#isWhole = limits.untilMs === undefined && limits.clients === undefined;
    this.#world = world;
    this.#trace = trace;
    this.#counters = counters;
    this.#profile = profile;
    this.#chance = Chance.of(seed, 'service end');
    const internet = new Internet(world, Chance.of(seed, 'internet'), profile.streams, counters);
    this.#internet = internet;
    const checker = this.#checker;
    this.#beliefs = new Beliefs(
      world,
      profile,
      () => this.#clients,
      () => this.#truth,
    );
    this.#truth = new Truth(new LogStory(world, trace, this.#beliefs), counters);
    const nodes: NodeSurroundings = {
      world,
      trace,
      counters,
      internet,
      checker,
      truth: this.#truth,
      profile,
      diskChance: Chance.of(seed, 'service disk'),
      clockChance: Chance.of(seed, 'service clocks'),
      nodeChance: Chance.of(seed, 'service nodes'),
      onTransition: (node, event) => {
        if (event.type === 'role' && event.state.role === 'leader') this.#leadersSinceNs.push(world.nowUs * 1000);
        this.#nemesis.onTransition(node, event);
      },
      onEndStored: (node, session) => this.#nemesis.onEndStored(node, session),
      onOldEnds: (node) => this.#nemesis.onOldEnds(node),
    };
    const members = Array.from({ length: profile.nodes }, (_, position): NodeId => nodeId(`n${position + 1}`));
    const spares = Array.from(
      { length: profile.spares },
      (_, position): NodeId => nodeId(`n${profile.nodes + position + 1}`),
    );
    const all = [...members, ...spares];
    this.#nodes = all.map((id) => new ServiceNode(id, members, nodes));
    const lanes = Chance.of(seed, 'service lanes');
    const kinds = lanes.sample(LANE_NAMES, lanes.between(3, LANE_NAMES.length));
    this.#clients = Array.from(
      { length: profile.clients },
      (_, position) =>
        new SimClient(`c${position + 1}`, lanes.split(`c${position + 1}`).sample(kinds, profile.lanesPerClient), {
          seed,
          world,
          trace,
          counters,
          internet,
          profile,
          collector: this.#collector,
          endpoints: all.map(clientUrlOf),
          onReceived: (client) => this.#beliefs.received(client),
        }),
    );
    this.#raw = new RawClient('r1', {
      seed,
      world,
      counters,
      internet,
      ttlMs: profile.ttlMs,
      nodes: all,
      urlOf: clientUrlOf,
    });
    this.#crowd = new CrowdClient('m1', {
      seed,
      world,
      counters,
      internet,
      truth: this.#truth,
      ttlMs: profile.ttlMs,
      nodes: all,
      urlOf: clientUrlOf,
    });
    this.#bound = ['b1', 'b2'].map(
      (host) =>
        new BoundClient(host, {
          seed,
          world,
          counters,
          internet,
          ttlMs: profile.ttlMs,
          endpoints: all.map(clientUrlOf),
        }),
    );
    this.#nemesis = new ServiceNemesis(
      { world, trace, counters, checker, internet, profile },
      this.#nodes,
      this.#clients,
      this.#crowd,
      { chance: Chance.of(seed, 'service faults'), ambushChance: Chance.of(seed, 'service ambushes'), limits },
    );
    checker.founded();
  }

  /** A cluster founds itself, clients come, and everything that can go wrong does. */
  async chaos(lastsUs: number): Promise<void> {
    for (const node of this.#nodes) this.#world.in(this.#chance.below(200_000), () => node.start());
    for (const client of this.#clients) this.#world.in(this.#chance.below(1_000_000), () => client.start());
    this.#world.in(1_500_000, () => this.#raw.start());
    for (const client of this.#bound) this.#world.in(1_000_000, () => client.start());
    this.#nemesis.start();
    await this.#world.run(lastsUs);
    // Where little could be asked for, faults end and the clients go on.
    for (let more = 0; more < 40 && this.#isWhole && this.#asked < MIN_OPERATIONS; more += 1)
      await this.#world.run(this.#world.nowUs + CALM_US);
  }

  get strikes(): readonly Strike[] {
    return this.#nemesis.strikes;
  }

  async conclude(): Promise<void> {
    const core = drawCore(this.#nodes, this.#nemesis.lost, this.#checker, this.#chance);
    if (core !== undefined) await this.#liveness(core);
    else {
      this.#counters.add(NOT_JUDGED);
      this.#trace.event(this.#world.nowUs, 'nemesis', 'has destroyed more than a cluster can lose');
    }
    for (const node of this.#nodes) node.takeCounters();
    this.#judge(core !== undefined);
  }

  /**
   * A quorum is healed and every other fault stays, clients that vanish among them: whoever is left gets served, and what
   * the vanished held comes free.
   */
  async #liveness(core: readonly ServiceNode[]): Promise<void> {
    const { electionTimeoutMs, ttlMs, streams } = this.#profile;
    const rest = this.#nodes.filter((node) => !core.includes(node));
    const gone = this.#clients.filter((_client, position) => position > 0 && this.#chance.oneIn(3));
    const left = this.#clients.filter((client) => !gone.includes(client));
    this.#nemesis.heal();
    this.#healedNs = this.#world.nowUs * 1000;
    this.#trace.event(
      this.#world.nowUs,
      'nemesis',
      'heals',
      () =>
        `${core.map((node) => node.id).join(' ')} ${left.map((client) => client.host).join(' ')}; the others stay broken`,
      core.length,
    );
    // A quorum without one to spare loses its leader with every stream that is held up for longer than an election takes, and
    // each leader gives all sessions their whole TTL anew.
    Object.assign(this.#internet.shape, { extraDelayUs: 0, retransmitPerMille: 0 });
    const tend = (): void => {
      this.#nemesis.tend();
      this.#world.in(500_000, tend);
    };
    tend();
    for (const node of rest)
      this.#nemesis.leave(node, this.#chance.pick(['dead', 'dark', 'cut off', 'mute', 'frozen']));
    for (const client of gone) this.#nemesis.vanish(client, this.#chance.pick(['dead', 'dark', 'cut off', 'frozen']));
    for (const node of core) {
      node.process?.wakeUp();
      if (!node.isUp) node.start();
    }
    for (const client of left) {
      client.wakeUp();
      if (!client.isUp) client.start();
    }
    const serveMs = LIVENESS_TIMEOUTS * (2 * electionTimeoutMs + streams.maxDelayUs / 250) + 4_000;
    await this.#world.run(this.#world.nowUs + CALM_US);
    for (const client of left) client.finish();
    this.#raw.finish();
    this.#crowd.finish();
    for (const client of this.#bound) client.finish();
    const boundMs = serveMs + LONGEST_WAIT_MS + 2 * ttlMs;
    const areDone = (): boolean => left.every((client) => client.isDone);
    await this.#world.run(this.#world.nowUs + boundMs * 1000, areDone);
    if (!areDone())
      throw new Violation(
        'liveness',
        `${left
          .filter((client) => !client.isDone)
          .map((client) => client.name)
          .join(', ')} still waits for an answer ${boundMs} ms after a quorum was healed: ${inWords(core)}`,
      );
    // The vanished are given their TTL anew by whoever leads last.
    const freedMs = serveMs + 2 * ttlMs;
    const isFree = (): boolean => {
      const { sessions, held, waiting } = this.#truth.table.counters();
      return sessions + held + waiting === 0;
    };
    await this.#world.run(this.#world.nowUs + freedMs * 1000, isFree);
    if (!isFree())
      throw new Violation(
        'expiry upper bound',
        `${JSON.stringify(this.#truth.table.counters())} ${freedMs} ms after everybody has left`,
      );
  }

  /** The history of all clients, before the judge of the real processes. */
  #judge(isServed: boolean): void {
    for (const client of this.#clients) if (!client.isDone) this.#collector.died(client.name);
    this.#collector.completeThefts();
    const { lines } = this.#collector;
    const { driftPpm, ttlMs } = this.#profile;
    for (const [at, line] of lines.entries()) lines[at] = relaxed(line, driftPpm, 2 * ttlMs * 1e6);
    this.#counters.add('beliefs checked', this.#beliefs.checked);
    this.#counters.add('answered operations', this.#collector.operationCount);
    const verdicts = judgeRun({
      collector: this.#collector,
      expiry: {
        ttlNs: ttlMs * 1e6,
        leadersSinceNs: this.#leadersSinceNs,
        excuses: [{ fromNs: 0, toNs: this.#healedNs + CALM_US * 1000 }],
      },
      // Without a quorum nobody can cancel what its client has given up, and that may last until faults end.
      settleNs: this.#healedNs + 1000 * (CALM_US + LONGEST_CANCEL_US),
      stored: new Map(),
      frozenUnfencedHolders: 0,
      leftovers: [],
      silentClients: [],
      troubles: [],
    });
    for (const { check, outcome, summary, failures } of verdicts) {
      if (outcome === 'undecided') this.#counters.add(`history undecided: ${check}`);
      if (outcome !== 'fail') continue;
      const story = failures[0]?.story.join('\n') ?? '';
      throw new Violation(check, story === '' ? summary : `${summary}\n${story}`);
    }
    if (isServed && this.#isWhole && this.#asked < MIN_OPERATIONS)
      throw new Violation('enough happens', `clients asked ${this.#asked} times, and ${MIN_OPERATIONS} are the least`);
  }

  get #asked(): number {
    return this.#counters.get('client operations');
  }

  /** It is over, and nothing of it stays in memory. */
  abandon(): void {
    for (const client of this.#clients) client.abandon();
  }
}
