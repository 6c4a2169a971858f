import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Configuration } from '../../src/core/configuration.ts';
import { type NodeId, nodeId } from '../../src/core/ids.ts';
import { configurationOf, NO_MEMBERS } from '../../src/core/membership.ts';
import { majorityIndex, quorumIndex, quorumVote } from '../../src/core/quorum.ts';

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map(nodeId);
const voters = fc.subarray(NAMES, { minLength: 1 });
const configurations: fc.Arbitrary<Configuration> = fc
  .tuple(voters, fc.oneof(fc.constant([]), voters), fc.subarray(NAMES))
  .map(([incoming, outgoing, learners]) => ({ ...NO_MEMBERS, voters: incoming, outgoing, learners }));

function subsets(list: readonly NodeId[]): NodeId[][] {
  return list.reduce<NodeId[][]>((found, node) => [...found, ...found.map((subset) => [...subset, node])], [[]]);
}

/** Every set of nodes that contains a majority of both halves, by enumeration. */
function quorumsOf({ voters: incoming, outgoing }: Configuration): NodeId[][] {
  const isMajority = (half: readonly NodeId[], set: readonly NodeId[]): boolean =>
    half.length === 0 || half.filter((node) => set.includes(node)).length * 2 > half.length;
  const everybody = [...new Set([...incoming, ...outgoing])];
  return subsets(everybody).filter((set) => isMajority(incoming, set) && isMajority(outgoing, set));
}

describe('quorum arithmetic', () => {
  test('finds the largest index that some quorum has reached', () => {
    const indexes = fc.array(fc.nat(20), { minLength: 7, maxLength: 7 });
    fc.assert(
      fc.property(configurations, indexes, (configuration, reached) => {
        const indexOf = (node: NodeId): number => reached[NAMES.indexOf(node)]!;
        const best = Math.max(...quorumsOf(configuration).map((set) => Math.min(...set.map(indexOf))));
        expect(quorumIndex(configuration, indexOf)).toBe(best);
      }),
    );
  });

  test('calls a vote won when some quorum said yes, and lost when none can any more', () => {
    const votes = fc.array(fc.constantFrom(true, false, undefined), { minLength: 7, maxLength: 7 });
    fc.assert(
      fc.property(configurations, votes, (configuration, cast) => {
        const voteOf = (node: NodeId): boolean | undefined => cast[NAMES.indexOf(node)];
        const quorums = quorumsOf(configuration);
        const isWon = quorums.some((set) => set.every((node) => voteOf(node) === true));
        const isOpen = quorums.some((set) => set.every((node) => voteOf(node) !== false));
        expect(quorumVote(configuration, voteOf)).toBe(isWon ? 'won' : isOpen ? 'pending' : 'lost');
      }),
    );
  });

  test('never counts a learner', () => {
    const configuration = configurationOf([nodeId('a')], [nodeId('b'), nodeId('c')]);
    expect(quorumIndex(configuration, (node) => (node === 'a' ? 1 : 9))).toBe(1);
    expect(quorumVote(configuration, (node) => (node === 'a' ? undefined : true))).toBe('pending');
  });

  test('lets nobody decide where there are no voters', () => {
    expect(quorumIndex(NO_MEMBERS, () => 9)).toBe(0);
    expect(quorumVote(NO_MEMBERS, () => true)).toBe('lost');
    expect(majorityIndex([], () => 9)).toBe(Infinity);
  });
});
