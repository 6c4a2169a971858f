import { describe, expect, test } from 'vitest';
import { simulateRaft } from '../../src/sim/raft/simulation.ts';
import type { Limits, SimulationResult } from '../../src/sim/simulation.ts';
import { Chance } from '../../src/sim/world/chance.ts';

const SEED = 7;

/** A run, and what the nemesis did in it: after each name of a strike, its kind and what it cut or stalled. */
async function runWith(limits: Limits): Promise<{ readonly result: SimulationResult; readonly faults: string[] }> {
  const faults: string[] = [];
  const result = await simulateRaft({ seed: SEED, limits }, (line, who) => {
    if (who === 'nemesis') faults.push(line.slice(line.indexOf('nemesis')));
  });
  return { result, faults };
}

describe('what is left out of a run', () => {
  test('changes no number that the rest draws', async () => {
    const whole = await runWith({});
    // A fault that does not depend on who leads or runs just then.
    const at = whole.faults.findLastIndex((fault) => /strikes \d+: (halves|ring|bridge|one-way cut)$/.test(fault));
    const name = /strikes (\d+)/.exec(whole.faults[at] ?? '')?.[1] ?? '';
    expect(Number(name)).toBeGreaterThan(1);
    // Without spare machines it would be another fault: there would be fewer to draw from.
    const calm = whole.result.restless.filter((part) => part !== 'spares');
    const { result, faults } = await runWith({ only: [name], clients: 1, calm, gapMs: 2_000 });
    expect(result.strikes.map((strike) => strike.name)).toEqual([name]);
    expect(faults.slice(0, 2)).toEqual(whole.faults.slice(at, at + 2));
    expect(result).toMatchObject({ clients: 1, failure: undefined });
  }, 60_000);

  test('is nothing where nothing is said: all strikes by their names are the whole run', async () => {
    const whole = await runWith({});
    const named = await runWith({ only: drawnNames(whole.result), untilMs: 60_000 });
    expect(named.result).toEqual(whole.result);
  }, 60_000);

  test('shortens the faults, and then the liveness phase follows as ever', async () => {
    const { result } = await runWith({ only: [], untilMs: 5_000 });
    expect(result).toMatchObject({ strikes: [], faultsEndedMs: 5_000, failure: undefined });
    expect(result.simulatedMs).toBeGreaterThan(5_000);
    expect(result.simulatedMs).toBeLessThan(30_000);
  }, 60_000);

  test('leaves no cluster that cannot found itself, be it healed before it has', async () => {
    for (const untilMs of [0, 100, 250]) {
      const { result } = await runWith({ only: [], untilMs });
      expect(result, `until ${untilMs} ms`).toMatchObject({ faultsEndedMs: untilMs, failure: undefined });
    }
  }, 60_000);
});

/** Also those that came to nothing: they looked for somebody to strike. */
function drawnNames({ strikes }: SimulationResult): string[] {
  const numbers = Array.from({ length: 1_000 }, (_, position) => String(position + 1));
  return [...numbers, ...strikes.map(({ name }) => name)];
}

test('a part of a concern draws the same whatever is drawn beside it', () => {
  const draws = (chance: Chance): number[] => Array.from({ length: 8 }, () => chance.below(1_000));
  const quiet = Chance.of(1, 'faults');
  const busy = Chance.of(1, 'faults');
  draws(busy.split('6'));
  draws(busy);
  expect(draws(busy.split('7'))).toEqual(draws(quiet.split('7')));
  expect(draws(quiet.split('7'))).not.toEqual(draws(quiet.split('8')));
  expect(draws(Chance.of(2, 'faults').split('7'))).not.toEqual(draws(quiet.split('7')));
});
