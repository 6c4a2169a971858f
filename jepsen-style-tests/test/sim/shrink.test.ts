import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { shrink } from '../../src/sim/shrink.ts';
import type { SimulationRequest, SimulationResult } from '../../src/sim/simulation.ts';

const DRAWN = 40;
const PARTS = ['loss', 'drift'];

/** A world that breaks a promise when everything in `needs` is there, and another one when strike 1 is there alone. */
function world(needs: {
  readonly strikes: readonly number[];
  readonly nodes?: number;
  readonly clients?: number;
  readonly part?: string;
}): (request: SimulationRequest) => Promise<SimulationResult> {
  return ({ seed, nodes = 7, limits = {} }) => {
    const drawn = Array.from({ length: DRAWN }, (_, position) => String(position + 1));
    const names = limits.only === undefined ? drawn : drawn.filter((name) => limits.only?.includes(name));
    const clients = Math.min(5, limits.clients ?? 5);
    const restless = PARTS.filter((part) => limits.calm?.includes(part) !== true);
    const breaks =
      needs.strikes.every((strike) => names.includes(String(strike))) &&
      nodes >= (needs.nodes ?? 0) &&
      clients >= (needs.clients ?? 0) &&
      (needs.part === undefined || restless.includes(needs.part));
    const promise = breaks ? 'one' : names.length === 1 && names[0] === '1' ? 'another' : undefined;
    const endMs = Math.min(60_000, limits.untilMs ?? 60_000);
    return Promise.resolve({
      seed,
      nodes,
      clients,
      steps: 0,
      events: 0,
      simulatedMs: endMs + 1_000,
      faultsEndedMs: endMs,
      traceHash: '',
      counts: {},
      strikes: names.map((name) => ({ name, what: 'fault' })),
      restless,
      failure:
        promise === undefined ? undefined : { promise, isForeseen: true, message: promise, stack: '', events: [] },
    });
  };
}

const request = { seed: 1 };

describe('a failing run is shrunk', () => {
  test('to just the strikes that it needs', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(fc.integer({ min: 1, max: DRAWN }), { maxLength: 6 }), async (strikes) => {
        const simulate = world({ strikes });
        const { result, isMinimal } = await shrink(simulate, request, await simulate(request), () => false);
        expect(result.strikes.map(({ name }) => Number(name))).toEqual([...strikes].sort((a, b) => a - b));
        expect(result.failure?.promise).toBe('one');
        expect(isMinimal).toBe(true);
      }),
    );
  });

  test('to as few nodes and clients as it needs, and to the unrest it needs', async () => {
    const simulate = world({ strikes: [20], nodes: 4, clients: 2, part: 'drift' });
    const { result, request: left } = await shrink(simulate, request, await simulate(request), () => false);
    expect(result).toMatchObject({ nodes: 4, clients: 2, restless: ['drift'] });
    expect(left.limits).toMatchObject({ only: ['20'], clients: 2, calm: ['loss'], untilMs: 0 });
  });

  test('and never to one that breaks another promise', async () => {
    const simulate = world({ strikes: [1, 2] });
    const { result } = await shrink(simulate, request, await simulate(request), () => false);
    expect(result.strikes.map(({ name }) => name)).toEqual(['1', '2']);
  });

  test('and never to one that breaks the same promise in another way', async () => {
    const told = async (of: SimulationRequest): Promise<SimulationResult> => {
      const result = await world({ strikes: [] })(of);
      const message = `one: ${result.strikes.length > 9 ? 'no service' : 'not everyone has caught up'} after 7 ms`;
      return { ...result, failure: { promise: 'one', isForeseen: true, message, stack: '', events: [] } };
    };
    const { result } = await shrink(told, request, await told(request), () => false);
    expect(result.strikes.length).toBe(10);
  });

  test('and ends also where a world calls restless what is calm already', async () => {
    const simulate = world({ strikes: [20] });
    const restless = async (of: SimulationRequest): Promise<SimulationResult> => ({
      ...(await simulate(of)),
      restless: PARTS,
    });
    const { request: left } = await shrink(restless, request, await restless(request), () => false);
    expect(left.limits?.calm).toEqual(PARTS);
  });

  test('as far as there is time for it: what it comes to still fails', async () => {
    for (const allowed of [0, 1, 7, 23]) {
      const simulate = world({ strikes: [3, 17, 31], nodes: 5 });
      let runs = -1;
      const shrunk = await shrink(simulate, request, await simulate(request), () => {
        runs += 1;
        return runs > allowed;
      });
      expect(shrunk.isMinimal).toBe(false);
      expect((await simulate(shrunk.request)).failure?.promise).toBe('one');
    }
  });
});
