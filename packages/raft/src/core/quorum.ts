import type { Configuration } from './configuration.ts';
import type { NodeId } from './ids.ts';

/** `pending`: neither side has a majority yet. */
export type VoteResult = 'won' | 'lost' | 'pending';

/**
 * The largest number that a majority of `voters` has reached. An empty majority agrees to everything
 * (`Infinity`), so that the minimum over both halves of a joint configuration is right.
 */
export function majorityIndex(voters: readonly NodeId[], indexOf: (node: NodeId) => number): number {
  const count = voters.length;
  if (count === 0) return Infinity;
  // Insertion sort, ascending: the lists are a handful long, and `sort` would need a comparator.
  const sorted: number[] = [];
  for (const voter of voters) {
    const value = indexOf(voter);
    let position = sorted.length;
    sorted.push(value);
    while (position > 0 && (sorted[position - 1] as number) > value) {
      sorted[position] = sorted[position - 1] as number;
      position -= 1;
    }
    sorted[position] = value;
  }
  return sorted[count - (Math.floor(count / 2) + 1)] as number;
}

/** Whether a majority of `voters` said yes (§5.2). An empty majority has won. */
export function majorityVote(voters: readonly NodeId[], voteOf: (node: NodeId) => boolean | undefined): VoteResult {
  const needed = Math.floor(voters.length / 2) + 1;
  if (voters.length === 0) return 'won';
  let granted = 0;
  let missing = 0;
  for (const voter of voters) {
    const vote = voteOf(voter);
    if (vote === true) granted += 1;
    else if (vote === undefined) missing += 1;
  }
  if (granted >= needed) return 'won';
  return granted + missing >= needed ? 'pending' : 'lost';
}

/**
 * The largest number that a quorum has reached: in a joint configuration both majorities must have reached it
 * (§6). Learners do not count. 0 without any voter: nobody can agree to anything.
 */
export function quorumIndex(configuration: Configuration, indexOf: (node: NodeId) => number): number {
  const { voters, outgoing } = configuration;
  if (voters.length === 0) return 0;
  return Math.min(majorityIndex(voters, indexOf), majorityIndex(outgoing, indexOf));
}

/** The vote of a quorum: a joint configuration is won only with both majorities and lost with either. */
export function quorumVote(configuration: Configuration, voteOf: (node: NodeId) => boolean | undefined): VoteResult {
  if (configuration.voters.length === 0) return 'lost';
  const incoming = majorityVote(configuration.voters, voteOf);
  const outgoing = majorityVote(configuration.outgoing, voteOf);
  if (incoming === 'lost' || outgoing === 'lost') return 'lost';
  return incoming === 'won' && outgoing === 'won' ? 'won' : 'pending';
}
