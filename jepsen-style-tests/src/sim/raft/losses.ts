import type { Configuration, NodeId } from '@lockd/raft';
import type { RaftChecker } from './checker.ts';
import type { Member } from './member.ts';

/** A change that a leader has taken, and that may not be on any disk yet. */
interface Proposed {
  readonly index: number;
  readonly term: number;
  readonly configuration: Configuration;
}

/** Whose data is gone, and what the cluster can still do without: beyond a minority nothing could be promised. */
export class Losses<Node extends Member> {
  readonly #checker: RaftChecker;
  readonly #nodes: readonly Node[];
  /** Nodes whose data is gone or refused, until the cluster has removed them. */
  readonly lost: Set<Node> = new Set();
  #proposed: Proposed[] = [];

  constructor(checker: RaftChecker, nodes: readonly Node[]) {
    this.#checker = checker;
    this.#nodes = nodes;
  }

  /** A leader has taken this change: it counts from now on, until something else is committed in its place. */
  proposed(change: Proposed): void {
    this.#proposed.push(change);
  }

  /** Whether the cluster can do without this node's data. */
  canLose(node: Node): boolean {
    if (this.lost.has(node)) return false;
    this.#proposed = this.#proposed.filter(({ index, term }) => (this.#checker.committedTerm(index) ?? term) === term);
    const proposed = this.#proposed.map(({ configuration }) => configuration);
    const configurations = this.#checker.possibleConfigurations();
    return configurations.length > 0 && this.isQuorumLeft([...configurations, ...proposed], [node]);
  }

  /** Whether a quorum of each of them still has its data without these nodes. A new member without a log is no help yet. */
  isQuorumLeft(configurations: readonly Configuration[], without: readonly Node[]): boolean {
    const hollow = this.#nodes.filter((other) => other.durable.lastIndex === 0);
    const lost = new Set<string>([...this.lost, ...hollow, ...without].map(({ id }) => id));
    return configurations.every(({ voters, outgoing }) =>
      [voters, outgoing].every(
        (half: readonly NodeId[]) =>
          half.length === 0 || half.filter((voter) => lost.has(voter)).length * 2 < half.length,
      ),
    );
  }
}
