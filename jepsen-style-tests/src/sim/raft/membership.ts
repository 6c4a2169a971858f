import type { Configuration, ConfigurationChange, NodeId } from '@lockd/raft';
import { changeConfiguration, isVoter, membersOf } from '@lockd/raft';
import type { Chance } from '../world/chance.ts';
import type { Drawn, Strikes } from '../world/strikes.ts';
import type { Losses } from './losses.ts';
import type { Member, MemberSurroundings } from './member.ts';
import { SECOND_US } from './member-faults.ts';

/** What differs between worlds when members come and go. */
export interface MembershipHooks<Node> {
  /** A node is about to come back with another disk. */
  replaced(node: Node): void;
  /** The leader has just taken the change that adds it. */
  added(leader: Node, node: NodeId): void;
  /** Looked after every now and then, while there is a leader. */
  tended(leader: Node): void;
}

/** Members come and go, and an operator replaces those whose data is gone. */
export class Membership<Node extends Member> {
  readonly #around: MemberSurroundings;
  readonly #strikes: Strikes;
  readonly #nodes: readonly Node[];
  readonly #losses: Losses<Node>;
  readonly #operatorChance: Chance;
  readonly #hooks: MembershipHooks<Node>;

  constructor(
    around: MemberSurroundings,
    strikes: Strikes,
    nodes: readonly Node[],
    losses: Losses<Node>,
    operatorChance: Chance,
    hooks: MembershipHooks<Node>,
  ) {
    this.#around = around;
    this.#strikes = strikes;
    this.#nodes = nodes;
    this.#losses = losses;
    this.#operatorChance = operatorChance;
    this.#hooks = hooks;
  }

  /** Somebody looks after the cluster, also when nothing goes wrong. */
  operate(): void {
    this.#around.world.in(SECOND_US + this.#operatorChance.below(2 * SECOND_US), () => {
      if (this.#strikes.isOver) return;
      this.care();
      this.operate();
    });
  }

  care(): void {
    this.#replaceLost();
    this.tend();
  }

  /** The remedy for a member whose name was taken by the directory that it had before: to remove it and add it again. */
  tend(): void {
    for (const node of this.#nodes) {
      if (node.condition === 'joining' && /another data directory/.test(node.driver?.conditionReason() ?? ''))
        this.#losses.lost.add(node);
    }
    const leader = this.#nodes.find((node) => node.isLeader);
    if (leader !== undefined) this.#hooks.tended(leader);
  }

  /** A strike: some change, if the leader takes it. */
  change(leader: Node, strike: Drawn): void {
    const { status, driver } = leader;
    if (status === undefined || driver === undefined) return;
    const { configuration } = status;
    const { chance } = strike;
    const { lost } = this.#losses;
    const members = membersOf(configuration);
    const usable = this.#nodes.filter((node) => !lost.has(node));
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
    if (lost.size > 0 || result.type !== 'changed' || !this.#losses.isQuorumLeft([result.configuration], [])) return;
    if (changes.length === 0) return;
    this.#strikes.record(strike);
    this.#propose(leader, changes, chance);
  }

  /** The operator removes members whose data is gone, and adds them again with what they have now. */
  #replaceLost(): void {
    const { lost } = this.#losses;
    const leader = this.#nodes.find((node) => node.isLeader);
    const configuration = leader?.status?.configuration;
    if (leader === undefined || configuration === undefined) return;
    for (const node of lost) {
      if (this.#mayBeMember(node.id, configuration)) {
        this.#propose(leader, [{ type: 'remove', node: node.id }], this.#operatorChance);
        return;
      }
      // It is out, and a new directory may come in under its name, once its process has been heard of.
      lost.delete(node);
      this.#around.counters.add('lost node replaced');
      this.#hooks.replaced(node);
      node.kill();
      node.replace();
      node.start();
      this.#around.world.in(SECOND_US, () => this.#takeBack(node));
      return;
    }
  }

  #takeBack(node: Node): void {
    const now = this.#nodes.find((candidate) => candidate.isLeader);
    const before = now?.status?.configuration;
    if (now === undefined || before === undefined || !node.isUp || this.#strikes.isOver) return;
    // A voter without a log counts and cannot vote: never so many that those with one are no quorum.
    const change = { type: 'add-voter', node: node.id } as const;
    const after = changeConfiguration(before, [change]);
    const isSafe = after.type === 'changed' && this.#losses.isQuorumLeft([after.configuration], []);
    this.#propose(now, [isSafe ? change : { type: 'add-learner', node: node.id }], this.#operatorChance);
  }

  /** Also where it may only be about to become one again. */
  #mayBeMember(id: NodeId, ...known: readonly Configuration[]): boolean {
    return [...known, ...this.#around.checker.possibleConfigurations()].some((one) => membersOf(one).includes(id));
  }

  /** Before it comes back, a removed node gets an empty disk, or keeps what it has. */
  #readmit(id: NodeId, chance: Chance): void {
    const node = this.#nodes.find((candidate) => candidate.id === id);
    if (node?.condition !== 'removed' || chance.oneIn(2)) return;
    if (this.#mayBeMember(id)) return;
    node.kill();
    node.replace();
    node.start();
  }

  #propose(leader: Node, changes: readonly ConfigurationChange[], chance: Chance): void {
    for (const { type, node } of changes) if (type !== 'remove') this.#readmit(node, chance);
    leader.process?.arrive(() => {
      // A leader that was stalled takes it only now. Who is to stay broken has been chosen among the members of before.
      if (this.#strikes.isOver) return;
      const result = leader.driver?.proposeConfiguration(changes);
      const before = leader.status?.configuration;
      if (result?.type === 'accepted' && before !== undefined) {
        this.#strikes.count('membership change');
        for (const { type, node } of changes) if (type !== 'remove') this.#hooks.added(leader, node);
        if (changes.some(({ type, node }) => type === 'remove' && node === leader.id))
          this.#around.counters.add('leader removed');
        const after = changeConfiguration(before, changes);
        if (after.type === 'changed')
          this.#losses.proposed({ index: result.firstIndex, term: result.term, configuration: after.configuration });
      }
      this.#strikes.say(
        'proposes',
        `to ${leader.id}: ${changes.map(({ type, node }) => `${type} ${node}`).join(', ')} (${result?.type ?? 'down'})`,
        changes.length,
      );
    });
  }
}
