import type { Configuration, ConfigurationChange, NodeId, TraceEvent } from '@lockd/raft';
import { changeConfiguration, isVoter, membersOf, quorumVote } from '@lockd/raft';
import { StorageError } from '@lockd/raft/node';
import type { Limits, Strike } from '../simulation.ts';
import type { Chance } from '../world/chance.ts';
import { CHAOS_US } from './profile.ts';
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

const SECOND_US = 1_000_000;

/** A strike as the seed draws it: its number and its own source of chance are the same whatever else is left out. */
interface Drawn {
  readonly name: string;
  readonly fault: string;
  readonly chance: Chance;
}

/** Draws faults and carries them out; everything it does ends by itself or with `heal`. */
export class Faults {
  readonly #around: Surroundings;
  readonly #nodes: readonly SimNode[];
  readonly #chance: Chance;
  readonly #operatorChance: Chance;
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
  #isOver = false;
  #undo = new Set<() => void>();
  /** Nodes whose data is gone or refused, until the cluster has removed them. */
  readonly #lost = new Set<SimNode>();
  readonly #heldDown = new Set<SimNode>();
  /** Nodes with an older copy of their directory, which everybody who runs remembers. */
  readonly #rolledBack = new Set<SimNode>();
  /** Changes that a leader has taken, and that may not be on any disk yet. */
  #proposed: { readonly index: number; readonly term: number; readonly configuration: Configuration }[] = [];

  constructor(
    around: Surroundings,
    nodes: readonly SimNode[],
    chance: Chance,
    ambushChance: Chance,
    limits: Limits = {},
  ) {
    this.#around = around;
    this.#nodes = nodes;
    this.#chance = chance;
    this.#operatorChance = chance.split('operator');
    this.#ambushChance = ambushChance;
    this.#limits = limits;
    this.#only = limits.only === undefined ? undefined : new Set(limits.only);
    this.#enabled = FAULTS.filter((fault) => around.profile.faults.has(fault));
    for (const node of nodes) {
      node.onExit = () => this.#restartSoon(node, 2 * SECOND_US);
      node.onEnd = () => this.#forgetsOthers(node);
    }
  }

  /** Nodes that the cluster cannot count on any more. */
  get lost(): ReadonlySet<SimNode> {
    return this.#lost;
  }

  start(): void {
    this.#next();
    this.#operate();
  }

  /** Ends every fault that lasts, and starts no new ones. */
  heal(): void {
    this.#isOver = true;
    for (const undo of [...this.#undo]) undo();
    this.#around.network.mendAll();
  }

  /** It does not start again. */
  holdDown(node: SimNode): void {
    this.#heldDown.add(node);
  }

  /** A telling moment: sometimes something goes wrong right there. */
  onTransition(node: SimNode, event: TraceEvent): void {
    const { ambushPerMille } = this.#around.profile;
    if (ambushPerMille === 0 || this.#isOver) return;
    const occasion = occasionOf(event);
    if (occasion === undefined) return;
    const where = `${node.id}.${occasion}`;
    const number = (this.#occasions.get(where) ?? 0) + 1;
    this.#occasions.set(where, number);
    const name = `${where}.${number}`;
    if (!this.#comesAbout(name)) return;
    const chance = this.#ambushChance.split(name);
    if (!chance.perMille(ambushPerMille)) return;
    const what = chance.pick(['kill', 'power', 'power', 'pause', 'isolate', 'mute', 'disk']);
    const { process } = node;
    this.#around.world.in(chance.pick([0, 0, 200, 1_000, 5_000, 20_000]), () => {
      if (node.process !== process || this.#isOver) return;
      this.#struck({ name, fault: `ambush: ${what}` });
      if (what === 'kill') this.#crash(node, false, chance.pick([1_000, 20_000, SECOND_US]));
      else if (what === 'power') this.#crash(node, true, chance.pick([1_000, 20_000, SECOND_US]));
      else if (what === 'pause') this.#pause(node, chance.between(100_000, 2 * SECOND_US));
      else if (what === 'isolate') this.#isolate(node, chance.between(100_000, 3 * SECOND_US));
      else if (what === 'mute') this.#mute(node, chance.between(100_000, 3 * SECOND_US));
      else this.#stallDisk(node, chance.between(20_000, SECOND_US));
    });
  }

  #comesAbout(name: string): boolean {
    return this.#only === undefined || this.#only.has(name);
  }

  /** Strikes that are left out are drawn all the same, so that the others have their times and numbers. */
  #next(): void {
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
      this.#care();
      this.#next();
    });
  }

  /** Somebody looks after the cluster, also when nothing goes wrong. */
  #operate(): void {
    this.#around.world.in(SECOND_US + this.#operatorChance.below(2 * SECOND_US), () => {
      if (this.#isOver) return;
      this.#care();
      this.#operate();
    });
  }

  #care(): void {
    this.#replaceLost();
    this.tend();
  }

  #strike(strike: Drawn): void {
    const { fault, chance } = strike;
    const up = this.#nodes.filter((node) => node.isUp);
    const node = chance.pick(this.#nodes);
    const running = up.length > 0 ? chance.pick(up) : undefined;
    const leader = up.find((candidate) => candidate.isLeader);
    const lastsUs = chance.pick([50_000, 300_000, SECOND_US, 3 * SECOND_US, 8 * SECOND_US]);
    switch (fault) {
      case 'isolation':
        this.#struck(strike);
        this.#isolate(chance.oneIn(2) ? (leader ?? node) : node, lastsUs);
        break;
      case 'one-way cut': {
        this.#struck(strike);
        const others = chance.sample(this.#others(node), chance.between(1, this.#nodes.length - 1));
        const isInbound = chance.oneIn(2);
        this.#cutAll(
          others.map((other) => (isInbound ? [other, node] : [node, other])),
          lastsUs,
        );
        break;
      }
      case 'halves': {
        this.#struck(strike);
        const some = chance.sample(this.#nodes, chance.between(1, this.#nodes.length - 1));
        const rest = this.#nodes.filter((other) => !some.includes(other));
        this.#cutBetween(some, rest, lastsUs);
        break;
      }
      case 'ring': {
        this.#struck(strike);
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
        this.#struck(strike);
        const [, ...rest] = chance.sample(this.#nodes, this.#nodes.length);
        const half = rest.length >> 1;
        this.#cutBetween(rest.slice(0, half), rest.slice(half), lastsUs);
        break;
      }
      case 'closed link': {
        this.#struck(strike);
        const other = chance.pick(this.#others(node));
        this.#around.network.close(node.id, other.id);
        break;
      }
      case 'closed link that cannot be dialled': {
        this.#struck(strike);
        const other = chance.pick(this.#others(node));
        this.#around.network.close(node.id, other.id);
        // Cut once the end of the link has arrived.
        this.#around.world.in(1, () => this.#cutAll([[node, other]], lastsUs));
        break;
      }
      case 'kill':
      case 'loss of power':
        if (running === undefined) return;
        this.#struck(strike);
        this.#crash(running, fault !== 'kill', lastsUs);
        break;
      case 'kill of the leader':
      case 'loss of power at the leader':
        if (leader === undefined) return;
        this.#struck(strike);
        this.#crash(leader, fault !== 'kill of the leader', lastsUs);
        break;
      case 'minority down': {
        this.#struck(strike);
        const some = chance.sample(this.#nodes, Math.max(1, (this.#nodes.length - 1) >> 1));
        for (const member of some) this.#crash(member, chance.oneIn(2), chance.between(1_000, lastsUs));
        break;
      }
      case 'all down at once':
        this.#struck(strike);
        for (const member of this.#nodes) this.#crash(member, true, chance.between(1_000, SECOND_US));
        break;
      case 'pause':
      case 'event-loop stall':
        if (running === undefined) return;
        this.#struck(strike);
        this.#pause(
          running,
          fault === 'pause' ? chance.between(300_000, 4 * SECOND_US) : chance.between(20_000, 400_000),
        );
        break;
      case 'disk stall':
        this.#struck(strike);
        this.#stallDisk(chance.oneIn(2) ? (leader ?? node) : node, chance.between(50_000, 3 * SECOND_US));
        break;
      case 'slow disk':
        this.#struck(strike);
        node.diskFactor = chance.pick([10, 50, 200]);
        this.#later(lastsUs, () => {
          node.diskFactor = 1;
        });
        break;
      case 'write error':
        if (running === undefined) return;
        this.#struck(strike);
        running.disk.failNext(chance.pick(['batch', 'batch', 'slot', 'file']));
        break;
      case 'full disk': {
        if (running === undefined) return;
        this.#struck(strike);
        const { disk } = running;
        disk.freeBytes = 0;
        if (chance.oneIn(2))
          disk.failNext('batch', new StorageError('STORAGE_FULL', 'simulated: no space left on device'));
        this.#later(lastsUs, () => {
          disk.freeBytes = Number.MAX_SAFE_INTEGER;
        });
        break;
      }
      case 'lossy network':
        this.#struck(strike);
        this.#shape('lossPerMille', chance.pick([50, 200, 500]), lastsUs);
        break;
      case 'duplicating network':
        this.#struck(strike);
        this.#shape('duplicatePerMille', chance.pick([200, 700]), lastsUs);
        break;
      case 'reordering network':
        this.#struck(strike);
        this.#shape('reorderPerMille', chance.pick([200, 700]), lastsUs);
        break;
      case 'slow network':
        this.#struck(strike);
        this.#shape('extraDelayUs', chance.pick([20_000, 200_000, 800_000]), lastsUs);
        break;
      case 'leadership transfer': {
        if (leader === undefined) return;
        this.#struck(strike);
        const to = chance.oneIn(3) ? undefined : chance.pick(this.#others(leader)).id;
        leader.process?.arrive(() => leader.driver?.transferLeadership(to));
        if (chance.oneIn(4)) this.#mute(leader, lastsUs);
        break;
      }
      case 'membership change':
        if (leader !== undefined) this.#changeMembers(leader, strike);
        break;
      case 'restart':
        if (running?.driver === undefined || running.condition === 'damaged') return;
        this.#struck(strike);
        running.stop();
        break;
      case 'bit rot':
        this.#rot(node, strike);
        break;
      case 'wiped directory':
        this.#wipe(node, strike);
        break;
      case 'rolled-back directory':
        this.#rollBack(node, strike);
        break;
      default:
        throw new Error(`nobody knows how to inject ${fault}`);
    }
  }

  // ------------------------------------------------------------------------------------------------ single faults

  #isolate(node: SimNode, lastsUs: number): void {
    this.#cutBetween([node], this.#others(node), lastsUs);
  }

  /** It hears and is not heard. */
  #mute(node: SimNode, lastsUs: number): void {
    this.#cutAll(
      this.#others(node).map((other) => [node, other]),
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
    this.#say('cuts', pairs.map(([from, to]) => `${from.id}>${to.id}`).join(' '), pairs.length);
    for (const [from, to] of pairs) network.cut(from.id, to.id);
    this.#later(lastsUs, () => {
      for (const [from, to] of pairs) network.mend(from.id, to.id);
    });
  }

  #crash(node: SimNode, isPowerLost: boolean, downUs: number): void {
    if (!node.isUp) return;
    if (isPowerLost) node.losePower();
    else node.kill();
    this.#restartSoon(node, downUs);
  }

  #restartSoon(node: SimNode, downUs: number): void {
    this.#around.world.in(downUs, () => {
      if (!node.isUp && !this.#heldDown.has(node)) node.start();
    });
  }

  #pause(node: SimNode, lastsUs: number): void {
    this.#say('stalls', `${node.id} for ${Math.floor(lastsUs / 1000)} ms`, lastsUs);
    node.process?.stall(lastsUs);
  }

  #stallDisk(node: SimNode, lastsUs: number): void {
    const { disk } = node;
    this.#say('stalls the disk of', node.id, lastsUs);
    disk.holdSyncs();
    this.#later(lastsUs, () => {
      disk.releaseSyncs();
      this.#around.world.touch();
    });
  }

  #shape(
    what: 'lossPerMille' | 'duplicatePerMille' | 'reorderPerMille' | 'extraDelayUs',
    value: number,
    lastsUs: number,
  ): void {
    const { shape } = this.#around.network;
    const before = shape[what];
    if (before >= value) return;
    shape[what] = value;
    this.#later(lastsUs, () => {
      shape[what] = before;
    });
  }

  #changeMembers(leader: SimNode, strike: Drawn): void {
    const { status, driver } = leader;
    if (status === undefined || driver === undefined) return;
    const { configuration } = status;
    const { chance } = strike;
    const members = membersOf(configuration);
    const usable = this.#nodes.filter((node) => !this.#lost.has(node));
    const outside = usable.filter((node) => !members.includes(node.id));
    const learners = usable.filter((node) => members.includes(node.id) && !isVoter(configuration, node.id));
    const voters = usable.filter((node) => isVoter(configuration, node.id));
    const changes: ConfigurationChange[] = [];
    const count = chance.pick([1, 1, 2, 3]);
    for (let step = 0; step < count; step += 1) {
      const type = chance.pick(['add-learner', 'add-voter', 'remove', 'demote'] as const);
      if (type === 'add-learner' && outside.length > 0) changes.push({ type, node: chance.pick(outside).id });
      else if (type === 'add-voter' && learners.length + outside.length > 0)
        changes.push({
          type,
          node: chance.pick(learners.length > 0 && chance.oneIn(2) ? learners : [...learners, ...outside]).id,
        });
      else if (type === 'remove' && voters.length > 2) changes.push({ type, node: chance.pick(voters).id });
      else if (type === 'demote' && voters.length > 2)
        changes.push({ type: 'add-learner', node: chance.pick(voters).id });
    }
    const result = changeConfiguration(configuration, changes);
    // One thing at a time, as an operator would: the members without data first.
    if (this.#lost.size > 0 || result.type !== 'changed' || !this.#isQuorumLeft([result.configuration], [])) return;
    if (changes.length === 0) return;
    this.#record(strike);
    this.#propose(leader, changes, chance);
  }

  /** The operator removes members whose data is gone, and adds them again with what they have now. */
  #replaceLost(): void {
    const leader = this.#nodes.find((node) => node.isLeader);
    const configuration = leader?.status?.configuration;
    if (leader === undefined || configuration === undefined) return;
    for (const node of this.#lost) {
      // Also where it may only be about to become one again.
      const isMember = [configuration, ...this.#around.configurations()].some((one) =>
        membersOf(one).includes(node.id),
      );
      if (isMember) {
        this.#propose(leader, [{ type: 'remove', node: node.id }], this.#operatorChance);
        return;
      }
      // It is out, and a new directory may come in under its name, once its process has been heard of.
      this.#lost.delete(node);
      this.#around.counters.add('lost node replaced');
      this.#rolledBack.delete(node);
      if (node.isUp) node.kill();
      node.replace();
      node.start();
      this.#around.world.in(SECOND_US, () => {
        const now = this.#nodes.find((candidate) => candidate.isLeader);
        const before = now?.status?.configuration;
        if (now === undefined || before === undefined || !node.isUp || this.#isOver) return;
        // A voter without a log counts and cannot vote: never so many that those with one are no quorum.
        const change = { type: 'add-voter', node: node.id } as const;
        const after = changeConfiguration(before, [change]);
        const isSafe = after.type === 'changed' && this.#isQuorumLeft([after.configuration], []);
        this.#propose(now, [isSafe ? change : { type: 'add-learner', node: node.id }], this.#operatorChance);
      });
      return;
    }
  }

  /** The remedy for a member whose name was taken by the directory that it had before: to remove it and add it again. */
  tend(): void {
    for (const node of this.#nodes) {
      if (node.condition === 'joining' && /another data directory/.test(node.driver?.conditionReason() ?? ''))
        this.#lost.add(node);
    }
  }

  /** Before it comes back, a removed node gets an empty disk, or keeps what it has. */
  #readmit(id: NodeId, chance: Chance): void {
    const node = this.#nodes.find((candidate) => candidate.id === id);
    if (node?.condition !== 'removed' || chance.oneIn(2)) return;
    if (this.#around.configurations().some((one) => membersOf(one).includes(id))) return;
    node.kill();
    node.replace();
    node.start();
  }

  #propose(leader: SimNode, changes: readonly ConfigurationChange[], chance: Chance): void {
    for (const { type, node } of changes) if (type !== 'remove') this.#readmit(node, chance);
    leader.process?.arrive(() => {
      const result = leader.driver?.proposeConfiguration(changes);
      const before = leader.status?.configuration;
      if (result?.type === 'accepted' && before !== undefined) {
        this.#count('membership change');
        const after = changeConfiguration(before, changes);
        if (after.type === 'changed')
          this.#proposed.push({ index: result.firstIndex, term: result.term, configuration: after.configuration });
      }
      this.#say(
        'proposes',
        `to ${leader.id}: ${changes.map(({ type, node }) => `${type} ${node}`).join(', ')} (${result?.type ?? 'down'})`,
        changes.length,
      );
    });
  }

  // ------------------------------------------------------------------------------------------------ lost data

  /** Whether the cluster can do without this node's data. */
  #canLose(node: SimNode): boolean {
    if (this.#lost.has(node)) return false;
    const { checker } = this.#around;
    this.#proposed = this.#proposed.filter(({ index, term }) => (checker.committedTerm(index) ?? term) === term);
    const proposed = this.#proposed.map(({ configuration }) => configuration);
    const configurations = this.#around.configurations();
    return configurations.length > 0 && this.#isQuorumLeft([...configurations, ...proposed], [node]);
  }

  /** Whether a quorum of each of them still has its data without these nodes. A new member without a log is no help yet. */
  #isQuorumLeft(configurations: readonly Configuration[], without: readonly SimNode[]): boolean {
    const hollow = this.#nodes.filter((other) => other.durable.lastIndex === 0);
    const lost = new Set<string>([...this.#lost, ...hollow, ...without].map(({ id }) => id));
    return configurations.every(({ voters, outgoing }) =>
      [voters, outgoing].every(
        (half: readonly NodeId[]) =>
          half.length === 0 || half.filter((voter) => lost.has(voter)).length * 2 < half.length,
      ),
    );
  }

  #rot(node: SimNode, strike: Drawn): void {
    const { chance } = strike;
    if (!this.#canLose(node)) return;
    if (node.durable.lastIndex === 0) return;
    this.#struck(strike);
    this.#lost.add(node);
    if (node.isUp) node.kill();
    const { keys, files } = node.disk.names();
    const targets = [...keys.map((key) => ({ key })), ...files.map((file) => ({ file }))];
    const target = chance.pick(targets);
    this.#say('spoils', `${JSON.stringify(target)} of ${node.id}`);
    node.disk.flipBit(target, chance.below(1_000_000));
    this.#around.checker.spoilt(node.id);
    this.#restartSoon(node, chance.between(1_000, SECOND_US));
  }

  #wipe(node: SimNode, strike: Drawn): void {
    if (!this.#canLose(node) || this.#couldBeFoundedAgain(node)) return;
    this.#struck(strike);
    this.#lost.add(node);
    if (node.isUp) node.kill();
    node.wipe();
    this.#restartSoon(node, strike.chance.between(1_000, SECOND_US));
  }

  /**
   * A majority of the first members that hold nothing, or nothing but the bootstrap configuration, found the cluster: nobody
   * among them could know that there was one already.
   */
  #couldBeFoundedAgain(emptied: SimNode): boolean {
    const founders = this.#nodes.slice(0, this.#around.profile.nodes);
    const empty = founders.filter((founder) => founder === emptied || founder.durable.lastIndex <= 1);
    return empty.length * 2 > founders.length;
  }

  /**
   * Puts an older copy in the place of a directory, where it must be noticed: the copy is of an earlier start, and everybody
   * who might answer remembers a later one. The first strike at a node makes the copy.
   */
  #rollBack(node: SimNode, strike: Drawn): void {
    const { copy, driver } = node;
    const configuration = node.status?.configuration;
    if (copy === undefined) {
      // Alone it would need nobody's vote, and so nobody who remembers.
      const isAlone = configuration === undefined || quorumVote(configuration, (id) => id === node.id) === 'won';
      if (node.condition === 'serving' && !isAlone && driver?.isConfigurationConfirmed() === true) node.copyDirectory();
      return;
    }
    const { instanceId, incarnation } = copy;
    const mayAnswer = this.#others(node).filter((other) => other.condition !== 'damaged');
    const isRemembered = mayAnswer.every((other) => other.isUp && other.hasSeenAfter(instanceId, incarnation));
    if (!isRemembered || !this.#canLose(node)) return;
    this.#struck(strike);
    this.#lost.add(node);
    if (node.isUp) node.kill();
    node.rollBack();
    this.#rolledBack.add(node);
    this.#around.checker.rolledBack(node.id);
    this.#restartSoon(node, strike.chance.between(1_000, SECOND_US));
  }

  /** What a process knew of others' directories is gone with it: an older copy that it could have noticed is none of the faults any more. */
  #forgetsOthers(ended: SimNode): void {
    for (const node of this.#rolledBack) {
      if (node === ended || node.disk.names().files.includes('damaged')) continue;
      this.#rolledBack.delete(node);
      if (node.isUp) node.kill();
      node.replace();
      this.#restartSoon(node, SECOND_US);
    }
  }

  // ------------------------------------------------------------------------------------------------

  #others(node: SimNode): SimNode[] {
    return this.#nodes.filter((other) => other !== node);
  }

  #later(delayUs: number, undo: () => void): void {
    const once = (): void => {
      if (this.#undo.delete(once)) undo();
    };
    this.#undo.add(once);
    this.#around.world.in(delayUs, once);
  }

  #struck(strike: Pick<Drawn, 'name' | 'fault'>): void {
    this.#record(strike);
    this.#count(strike.fault);
  }

  #record({ name, fault }: Pick<Drawn, 'name' | 'fault'>): void {
    this.strikes.push({ name, what: fault });
    this.#say('strikes', `${name}: ${fault}`);
  }

  #count(fault: string): void {
    this.#around.counters.add(`fault: ${fault}`);
  }

  #say(what: string, details: string, number = 0): void {
    this.#around.trace.event(this.#around.world.nowUs, 'nemesis', what, () => details, number);
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
