import type { Configuration, ConfigurationChange } from './configuration.ts';
import type { NodeId } from './ids.ts';

/** The configuration that a change leads to, or why there is none. */
export type ChangeResult =
  | { readonly type: 'changed'; readonly configuration: Configuration }
  | { readonly type: 'invalid'; readonly reason: string };

export const NO_MEMBERS: Configuration = { voters: [], outgoing: [], learners: [], learnersNext: [], autoLeave: false };

/** The configuration a cluster of these voters starts with. */
export function configurationOf(voters: readonly NodeId[], learners: readonly NodeId[] = []): Configuration {
  return { ...NO_MEMBERS, voters: sorted(voters), learners: sorted(learners) };
}

export function isJoint(configuration: Configuration): boolean {
  return configuration.outgoing.length > 0;
}

/** Whether the node's vote counts, in either half. */
export function isVoter(configuration: Configuration, node: NodeId): boolean {
  return configuration.voters.includes(node) || configuration.outgoing.includes(node);
}

export function isMember(configuration: Configuration, node: NodeId): boolean {
  return (
    isVoter(configuration, node) || configuration.learners.includes(node) || configuration.learnersNext.includes(node)
  );
}

/** Everybody whose vote counts, sorted, without duplicates. */
export function votersOf(configuration: Configuration): readonly NodeId[] {
  return isJoint(configuration) ? union(configuration.voters, configuration.outgoing) : configuration.voters;
}

/** Everybody who gets the log, sorted, without duplicates. */
export function membersOf(configuration: Configuration): readonly NodeId[] {
  return union(votersOf(configuration), union(configuration.learners, configuration.learnersNext));
}

/** Whether both count the same votes. */
export function sameVoters(left: Configuration, right: Configuration): boolean {
  return sameList(left.voters, right.voters) && sameList(left.outgoing, right.outgoing);
}

/**
 * Where `changes`, taken in order, lead from `current` (§6). One voter more or less is a simple change: any two
 * majorities of the old and the new configuration share a node (thesis §4.1). Anything larger enters a joint
 * configuration that is left automatically. No changes at all means: leave the joint configuration now.
 */
export function changeConfiguration(current: Configuration, changes: readonly ConfigurationChange[]): ChangeResult {
  if (changes.length === 0) return leaveJoint(current);
  if (isJoint(current)) return invalid('a joint configuration must be left first');
  const simple = changeSimply(current, changes);
  return simple.type === 'changed' ? simple : enterJoint(current, changes, true);
}

/** Changes at most one voter, without a joint configuration. */
export function changeSimply(current: Configuration, changes: readonly ConfigurationChange[]): ChangeResult {
  if (isJoint(current)) return invalid('a joint configuration must be left first');
  const next = incoming(current, changes);
  const moved =
    next.voters.filter((node) => !current.voters.includes(node)).length +
    current.voters.filter((node) => !next.voters.includes(node)).length;
  if (moved > 1) return invalid('more than one voter changes');
  return checked(next);
}

/** Enters the joint configuration of the current voters and those that the changes lead to. */
export function enterJoint(
  current: Configuration,
  changes: readonly ConfigurationChange[],
  autoLeave: boolean,
): ChangeResult {
  if (isJoint(current)) return invalid('the configuration is joint already');
  if (current.voters.length === 0) return invalid('there are no voters to decide it');
  return checked(incoming({ ...current, outgoing: current.voters, autoLeave }, changes));
}

/** Leaves the joint configuration: the old majority no longer counts, and its demoted voters become learners. */
export function leaveJoint(current: Configuration): ChangeResult {
  if (!isJoint(current)) return invalid('the configuration is not joint');
  return checked({
    voters: current.voters,
    outgoing: [],
    learners: union(current.learners, current.learnersNext),
    learnersNext: [],
    autoLeave: false,
  });
}

function incoming(from: Configuration, changes: readonly ConfigurationChange[]): Configuration {
  let { voters, learners, learnersNext } = from;
  for (const { type, node } of changes) {
    if (type === 'add-learner' && learners.includes(node)) continue;
    voters = without(voters, node);
    learners = without(learners, node);
    learnersNext = without(learnersNext, node);
    if (type === 'add-voter') voters = union(voters, [node]);
    // While its old vote still counts it is no learner yet: a node is a voter or a learner, not both.
    else if (type === 'add-learner' && from.outgoing.includes(node)) learnersNext = union(learnersNext, [node]);
    else if (type === 'add-learner') learners = union(learners, [node]);
  }
  return { ...from, voters, learners, learnersNext };
}

function checked(configuration: Configuration): ChangeResult {
  return configuration.voters.length === 0 ? invalid('no voter would remain') : { type: 'changed', configuration };
}

function invalid(reason: string): ChangeResult {
  return { type: 'invalid', reason };
}

function sorted(list: readonly NodeId[]): readonly NodeId[] {
  return [...new Set(list)].sort((left, right) => (left < right ? -1 : 1));
}

function union(left: readonly NodeId[], right: readonly NodeId[]): readonly NodeId[] {
  return right.length === 0 ? left : sorted([...left, ...right]);
}

function without(list: readonly NodeId[], node: NodeId): readonly NodeId[] {
  return list.includes(node) ? list.filter((member) => member !== node) : list;
}

function sameList(left: readonly NodeId[], right: readonly NodeId[]): boolean {
  return left.length === right.length && left.every((node, position) => node === right[position]);
}
