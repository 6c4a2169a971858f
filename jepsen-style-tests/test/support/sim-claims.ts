import { expect } from 'vitest';
import { monotonicNs } from '../../src/clock.ts';
import { optionsOf } from '../../src/sim/options.ts';
import type { Simulate, SimulationResult, WorldName } from '../../src/sim/simulation.ts';

/** So long at most, in real time; a slow machine tries fewer fresh seeds. */
const FRESH_SECONDS = 20;

/** Runs a seed twice, and expects the same, event by event. What came of it. */
export async function expectSameRunTwice(simulate: Simulate, seed: number): Promise<SimulationResult | undefined> {
  const lines: string[][] = [[], []];
  const results: SimulationResult[] = [];
  for (const kept of lines) results.push(await simulate({ seed }, (line) => kept.push(line)));
  const [first, second] = results;
  expect(first?.failure).toBeUndefined();
  expect(second).toEqual(first);
  expect(lines[1]).toEqual(lines[0]);
  return first;
}

/** Seeds that no run before this one has tried, taken from the run's own seed; it is printed which. */
export async function expectFreshSeedsClean(simulate: Simulate, world: WorldName, seedsMax: number): Promise<void> {
  const from = (Number(process.env['FC_SEED']) >>> 0) + 1_000_000;
  const untilNs = monotonicNs() + FRESH_SECONDS * 1e9;
  let seed = from;
  for (; seed < from + seedsMax && monotonicNs() < untilNs; seed += 1) {
    const { failure } = await simulate({ seed });
    expect(failure?.message, `npm run sim -- ${optionsOf({ seed, world })} --trace`).toBeUndefined();
  }
  process.stdout.write(`simulated the world ${world} with seeds ${from}..${seed - 1}\n`);
}
