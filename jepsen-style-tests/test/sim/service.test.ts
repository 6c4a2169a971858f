import { expect, test } from 'vitest';
import { monotonicNs } from '../../src/clock.ts';
import { simulateService } from '../../src/sim/service/simulation.ts';

/** So long at most, in real time; a slow machine tries fewer fresh seeds. */
const FRESH_SECONDS = 20;
const FRESH_SEEDS = 30;

test('the same seed gives the same run of the whole service, event by event', async () => {
  const lines: string[][] = [[], []];
  const results = [];
  for (const kept of lines) results.push(await simulateService({ seed: 3 }, (line) => kept.push(line)));
  const [first, second] = results;
  expect(first?.failure).toBeUndefined();
  expect(second).toEqual(first);
  expect(lines[1]).toEqual(lines[0]);
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
  const from = (Number(process.env['FC_SEED']) >>> 0) + 1_000_000;
  const untilNs = monotonicNs() + FRESH_SECONDS * 1e9;
  let seed = from;
  for (; seed < from + FRESH_SEEDS && monotonicNs() < untilNs; seed += 1) {
    const { failure } = await simulateService({ seed });
    expect(failure?.message, `npm run sim -- --seed ${seed} --world service --trace`).toBeUndefined();
  }
  process.stdout.write(`simulated the service with seeds ${from}..${seed - 1}\n`);
}, 90_000);
