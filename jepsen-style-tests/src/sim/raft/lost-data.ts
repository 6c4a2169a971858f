import type { Drawn, Strikes } from '../world/strikes.ts';
import type { Losses } from './losses.ts';
import type { Member, MemberSurroundings } from './member.ts';
import { type MemberFaults, SECOND_US } from './member-faults.ts';

/** Directories that come to nothing. Strikes only where the cluster can do without the data. */
export class LostData<Node extends Member> {
  readonly #around: MemberSurroundings;
  readonly #strikes: Strikes;
  readonly #faults: MemberFaults<Node>;
  readonly #losses: Losses<Node>;
  readonly #founders: readonly Node[];

  constructor(
    around: MemberSurroundings,
    strikes: Strikes,
    faults: MemberFaults<Node>,
    losses: Losses<Node>,
    founders: readonly Node[],
  ) {
    this.#around = around;
    this.#strikes = strikes;
    this.#faults = faults;
    this.#losses = losses;
    this.#founders = founders;
  }

  rot(node: Node, strike: Drawn): void {
    const { chance } = strike;
    if (!this.#losses.canLose(node)) return;
    if (node.durable.lastIndex === 0) return;
    this.#strikes.struck(strike);
    this.#losses.lost.add(node);
    node.kill();
    const { keys, files } = node.disk.names();
    const targets = [...keys.map((key) => ({ key })), ...files.map((file) => ({ file }))];
    const target = chance.pick(targets);
    this.#strikes.say('spoils', `${JSON.stringify(target)} of ${node.id}`);
    node.disk.flipBit(target, chance.below(1_000_000));
    this.#around.checker.spoilt(node.id);
    this.#faults.restartSoon(node, chance.between(1_000, SECOND_US));
  }

  wipe(node: Node, strike: Drawn): void {
    if (!this.#losses.canLose(node) || this.#couldBeFoundedAgain(node)) return;
    this.#strikes.struck(strike);
    this.#losses.lost.add(node);
    node.kill();
    node.wipe();
    this.#faults.restartSoon(node, strike.chance.between(1_000, SECOND_US));
  }

  /**
   * A majority of the first members that hold nothing, or nothing but the bootstrap configuration, found the cluster: nobody
   * among them could know that there was one already.
   */
  #couldBeFoundedAgain(emptied: Node): boolean {
    const empty = this.#founders.filter((founder) => founder === emptied || founder.durable.lastIndex <= 1);
    return empty.length * 2 > this.#founders.length;
  }
}
