import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Configuration, ConfigurationChange } from '../../src/core/configuration.ts';
import { decodeConfiguration, encodeConfiguration } from '../../src/core/configuration-codec.ts';
import { type NodeId, nodeId } from '../../src/core/ids.ts';
import {
  changeConfiguration,
  changeSimply,
  configurationOf,
  enterJoint,
  isJoint,
  leaveJoint,
  membersOf,
  votersOf,
} from '../../src/core/membership.ts';
import { quorumVote } from '../../src/core/quorum.ts';

const NAMES = ['a', 'b', 'c', 'd', 'e'].map(nodeId);
const change: fc.Arbitrary<ConfigurationChange> = fc.record({
  type: fc.constantFrom('add-voter', 'add-learner', 'remove'),
  node: fc.constantFrom(...NAMES),
});
const changes = fc.array(change, { minLength: 1, maxLength: 6 });
const start = fc.tuple(fc.subarray(NAMES, { minLength: 1 }), fc.subarray(NAMES)).map(([voters, learners]) =>
  configurationOf(
    voters,
    learners.filter((node) => !voters.includes(node)),
  ),
);

function resultOf(result: ReturnType<typeof changeConfiguration>): Configuration | undefined {
  return result.type === 'changed' ? result.configuration : undefined;
}

function throughJoint(from: Configuration, list: readonly ConfigurationChange[]): Configuration | undefined {
  const joint = resultOf(enterJoint(from, list, true));
  return joint === undefined ? undefined : resultOf(leaveJoint(joint));
}

/** One change at a time, each without a joint configuration. */
function oneByOne(from: Configuration, list: readonly ConfigurationChange[]): Configuration | undefined {
  return list.reduce<Configuration | undefined>(
    (current, next) => current && resultOf(changeSimply(current, [next])),
    from,
  );
}

function doQuorumsMeet(left: Configuration, right: Configuration): boolean {
  const nodes = [...new Set([...votersOf(left), ...votersOf(right)])];
  for (let mask = 0; mask < 1 << nodes.length; mask += 1) {
    const isIn = (node: NodeId): boolean => ((mask >> nodes.indexOf(node)) & 1) === 1;
    // A quorum of one and, in what is left, a quorum of the other: two decisions that know nothing of each other.
    if (quorumVote(left, isIn) === 'won' && quorumVote(right, (node) => !isIn(node)) === 'won') return false;
  }
  return true;
}

function check(configuration: Configuration): void {
  const { voters, outgoing, learners, learnersNext } = configuration;
  for (const list of [voters, outgoing, learners, learnersNext]) expect(list).toEqual([...new Set(list)].toSorted());
  expect(voters.length).toBeGreaterThan(0);
  for (const node of learners) expect(votersOf(configuration)).not.toContain(node);
  for (const node of learnersNext) {
    expect(outgoing).toContain(node);
    expect(voters).not.toContain(node);
  }
}

describe('a change of configuration', () => {
  test('leads to the same place through a joint configuration and one by one', () => {
    fc.assert(
      fc.property(start, changes, (from, list) => {
        const joint = throughJoint(from, list);
        const simple = oneByOne(from, list);
        // One by one may pass through no voters at all, where the joint way does not.
        if (joint !== undefined && simple !== undefined) expect(joint).toEqual(simple);
      }),
    );
  });

  test('goes in steps whose quorums always meet', () => {
    fc.assert(
      fc.property(start, changes, (from, list) => {
        const next = resultOf(changeConfiguration(from, list));
        if (next === undefined) return;
        check(next);
        expect(doQuorumsMeet(from, next)).toBe(true);
        if (!isJoint(next)) return;
        const left = resultOf(changeConfiguration(next, []))!;
        check(left);
        expect(doQuorumsMeet(next, left)).toBe(true);
      }),
    );
  });

  test('is encoded and decoded without loss, and nothing else is decoded', () => {
    const ids = fc
      .uniqueArray(
        fc.string({ minLength: 1, maxLength: 255, unit: 'binary' }).filter((id) => id.length <= 255),
        { maxLength: 4 },
      )
      .map((list) => list.toSorted().map(nodeId));
    fc.assert(
      fc.property(
        ids,
        ids,
        ids,
        ids,
        fc.boolean(),
        fc.nat(),
        (voters, outgoing, learners, learnersNext, autoLeave, cut) => {
          const configuration = { voters, outgoing, learners, learnersNext, autoLeave };
          const bytes = encodeConfiguration(configuration);
          expect(decodeConfiguration(bytes)).toEqual(configuration);
          expect(decodeConfiguration(bytes.subarray(0, cut % bytes.length))).toBeUndefined();
          expect(decodeConfiguration(Uint8Array.from([...bytes, 0]))).toBeUndefined();
        },
      ),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const decoded = decodeConfiguration(bytes);
        if (decoded !== undefined) expect(encodeConfiguration(decoded)).toEqual(bytes);
      }),
    );
  });

  test.each<[string, ConfigurationChange[], Partial<Configuration>]>([
    [
      'adds one voter at once',
      [{ type: 'add-voter', node: nodeId('d') }],
      { voters: ['a', 'b', 'c', 'd'].map(nodeId), outgoing: [] },
    ],
    ['adds learners at once', [{ type: 'add-learner', node: nodeId('d') }], { learners: [nodeId('d')], outgoing: [] }],
    [
      'demotes one voter at once',
      [{ type: 'add-learner', node: nodeId('c') }],
      { voters: ['a', 'b'].map(nodeId), learners: [nodeId('c')] },
    ],
    [
      'replaces a voter through a joint configuration, and keeps the demoted one a voter until it is left',
      [
        { type: 'add-voter', node: nodeId('d') },
        { type: 'add-learner', node: nodeId('c') },
      ],
      {
        voters: ['a', 'b', 'd'].map(nodeId),
        outgoing: ['a', 'b', 'c'].map(nodeId),
        learners: [],
        learnersNext: [nodeId('c')],
        autoLeave: true,
      },
    ],
  ])('%s', (_, list, expected) => {
    expect(resultOf(changeConfiguration(configurationOf(['a', 'b', 'c'].map(nodeId)), list))).toMatchObject(expected);
  });

  test('is refused where no voter would remain, or while the configuration is joint', () => {
    const single = configurationOf([nodeId('a')]);
    expect(changeConfiguration(single, [{ type: 'remove', node: nodeId('a') }]).type).toBe('invalid');
    expect(changeConfiguration(single, []).type).toBe('invalid');
    const joint = resultOf(enterJoint(single, [{ type: 'add-voter', node: nodeId('b') }], false))!;
    expect(changeConfiguration(joint, [{ type: 'add-voter', node: nodeId('c') }]).type).toBe('invalid');
    expect(membersOf(joint)).toEqual(['a', 'b']);
  });
});
