import { expect, test } from 'vitest';
import { simulateService } from '../../src/sim/service/simulation.ts';
import { expectFreshSeedsClean, expectSameRunTwice } from '../support/sim-claims.ts';

test('the same seed gives the same run of the whole service, event by event', async () => {
  await expectSameRunTwice(simulateService, 3);
}, 60_000);

test.each([1, 2, 5, 10, 19, 28])(
  'seed %i is clean, and enough happens in it',
  async (seed) => {
    const { failure, counts, simulatedMs } = await simulateService({ seed });
    expect(failure).toBeUndefined();
    expect(simulatedMs).toBeGreaterThanOrEqual(60_000);
    expect(counts['client operations']).toBeGreaterThanOrEqual(200);
  },
  60_000,
);

test('fresh seeds, taken from the run’s own seed, are clean', async () => {
  await expectFreshSeedsClean(simulateService, 'service', 30);
}, 90_000);
