import { quorumVote } from '@lockd/raft';
import type { Chance } from '../world/chance.ts';
import type { RaftChecker } from './checker.ts';
import type { Member } from './member.ts';

/** Counts runs whose liveness says nothing: no quorum is left that could be healed. Their safety is checked like any other's. */
export const NOT_JUDGED = 'liveness not judged: no quorum is left';

/**
 * Whom to heal at the end. As few nodes as may be, sometimes, but a quorum of every configuration that may count. None where
 * members were removed after others had lost their data: what was a minority then may be half of the rest.
 */
export function drawCore<Node extends Member>(
  nodes: readonly Node[],
  lost: ReadonlySet<Node>,
  checker: RaftChecker,
  chance: Chance,
): Node[] | undefined {
  const configurations = checker.possibleConfigurations();
  let core = nodes.filter((node) => !lost.has(node));
  // Healed before the cluster has founded itself: that may need any of them.
  if (configurations.length === 0) return core;
  const suffices = (some: readonly Node[]): boolean =>
    configurations.every(
      (configuration) =>
        quorumVote(configuration, (id) => some.some((node) => node.id === id && node.durable.lastIndex > 0)) === 'won',
    );
  if (!suffices(core)) return undefined;
  for (const node of chance.sample(core, chance.below(core.length))) {
    const smaller = core.filter((other) => other !== node);
    if (suffices(smaller)) core = smaller;
  }
  return core;
}
