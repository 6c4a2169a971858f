import { quorumVote } from '@lockd/raft';
import type { Drawn, Strikes } from '../world/strikes.ts';
import type { Losses } from './losses.ts';
import { type MemberFaults, SECOND_US } from './member-faults.ts';
import type { SimNode, Surroundings } from './sim-node.ts';

/** Directories that come back as they were at an earlier start, where that must be noticed. */
export class OlderCopies {
  readonly #around: Surroundings;
  readonly #strikes: Strikes;
  readonly #faults: MemberFaults<SimNode>;
  readonly #losses: Losses<SimNode>;
  /** Nodes with an older copy of their directory, which everybody who runs remembers. */
  readonly #rolledBack = new Set<SimNode>();

  constructor(
    around: Surroundings,
    strikes: Strikes,
    faults: MemberFaults<SimNode>,
    losses: Losses<SimNode>,
    nodes: readonly SimNode[],
  ) {
    this.#around = around;
    this.#strikes = strikes;
    this.#faults = faults;
    this.#losses = losses;
    for (const node of nodes) node.onEnd = () => this.#forgetsOthers(node);
  }

  /**
   * Puts an older copy in the place of a directory, where it must be noticed: the copy is of an earlier start, and everybody
   * who might answer remembers a later one. The first strike at a node makes the copy.
   */
  rollBack(node: SimNode, strike: Drawn): void {
    const { copy, driver } = node;
    const configuration = node.status?.configuration;
    if (copy === undefined) {
      // Alone it would need nobody's vote, and so nobody who remembers.
      const isAlone = configuration === undefined || quorumVote(configuration, (id) => id === node.id) === 'won';
      if (node.condition === 'serving' && !isAlone && driver?.isConfigurationConfirmed() === true) node.copyDirectory();
      return;
    }
    const { instanceId, incarnation } = copy;
    const mayAnswer = this.#faults.others(node).filter((other) => other.condition !== 'damaged');
    const isRemembered = mayAnswer.every((other) => other.isUp && other.hasSeenAfter(instanceId, incarnation));
    if (!isRemembered || !this.#losses.canLose(node)) return;
    this.#strikes.struck(strike);
    this.#losses.lost.add(node);
    node.kill();
    node.rollBack();
    this.#rolledBack.add(node);
    this.#around.checker.rolledBack(node.id);
    this.#faults.restartSoon(node, strike.chance.between(1_000, SECOND_US));
  }

  /** It has another disk: there is nothing older about it. */
  replaced(node: SimNode): void {
    this.#rolledBack.delete(node);
  }

  /** What a process knew of others' directories is gone with it: an older copy that it could have noticed is none of the faults any more. */
  #forgetsOthers(ended: SimNode): void {
    for (const node of this.#rolledBack) {
      if (node === ended || node.disk.names().files.includes('damaged')) continue;
      this.#rolledBack.delete(node);
      node.kill();
      node.replace();
      this.#faults.restartSoon(node, SECOND_US);
    }
  }
}
