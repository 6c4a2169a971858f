import { expect, test } from 'vitest';
import { simulateRaft } from '../../src/sim/raft/simulation.ts';
import { expectFreshSeedsClean, expectSameRunTwice } from '../support/sim-claims.ts';

/** Seeds that once failed, for reasons that named tests in packages/raft show too, and a few others. */
const FIXED_SEEDS = [2, 4, 6, 7, 9, 12, 20];

test('the same seed gives the same run, event by event', async () => {
  const run = await expectSameRunTwice(simulateRaft, 3);
  expect(run?.events).toBeGreaterThan(1_000);
  expect(run?.simulatedMs).toBeGreaterThanOrEqual(60_000);
}, 60_000);

test('another seed gives another run', async () => {
  const [one, other] = [await simulateRaft({ seed: 15 }), await simulateRaft({ seed: 16 })];
  expect(one?.traceHash).not.toBe(other?.traceHash);
}, 60_000);

test.each(FIXED_SEEDS)(
  'seed %i is clean',
  async (seed) => {
    const { failure } = await simulateRaft({ seed });
    expect(failure).toBeUndefined();
  },
  60_000,
);

test('fresh seeds, taken from the run’s own seed, are clean', async () => {
  await expectFreshSeedsClean(simulateRaft, 'raft', 60);
}, 90_000);
