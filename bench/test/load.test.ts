import { describe, expect, test } from 'vitest';
import type { LockDriver } from '../src/drivers/driver.ts';
import { createMemoryDriver } from '../src/drivers/memory-driver.ts';
import { runContended } from '../src/load/contended.ts';
import { runCycles } from '../src/load/cycles.ts';
import { GapWatch } from '../src/load/gap-watch.ts';
import { Holding } from '../src/load/holding.ts';
import { Histogram } from '../src/measure/histogram.ts';
import { jainFairness } from '../src/measure/statistics.ts';
import { pause, waitUntil } from '../src/processes/children.ts';

const cycles = { type: 'cycles', prefix: 'test', workers: 4, warmUpMs: 10, measureMs: 60 } as const;
const memory = (delayMs = 0): LockDriver => createMemoryDriver(delayMs);

/** A service that stops answering `fromMs` after its first request, for `forMs`. */
function stallingDriver(fromMs: number, forMs: number): LockDriver {
  let begun: number | undefined;
  return {
    async acquire() {
      begun ??= performance.now();
      const since = performance.now() - begun;
      if (since >= fromMs && since < fromMs + forMs) await pause(fromMs + forMs - since);
      else await pause(1);
      return 1;
    },
    release: async () => undefined,
    close: async () => undefined,
  };
}

describe('the closed loop', () => {
  test('counts the cycles of the measured time only, and says when it begins and ends', async () => {
    const phases: string[] = [];
    const result = await runCycles(memory(), cycles, (phase) => phases.push(phase));
    expect(phases).toEqual(['measuring', 'measured']);
    expect(result.cycles).toBeGreaterThan(0);
    expect(result.seconds).toBeGreaterThan(0.05);
    expect(result.errors).toEqual({});
  });

  test('records an acquire that began inside the measured time and ended after it', async () => {
    let answer = (): void => undefined;
    const nextAnswer = (): Promise<void> =>
      new Promise((resolve) => {
        answer = resolve;
      });
    // Answered as the measured time begins, and then not before it is over.
    let gate = nextAnswer();
    const driver: LockDriver = {
      acquire: () => gate,
      release: async () => undefined,
      close: async () => undefined,
    };
    const result = await runCycles(driver, { ...cycles, warmUpMs: 1, measureMs: 20 }, () => {
      const answerNow = answer;
      gate = nextAnswer();
      answerNow();
    });
    expect(Histogram.fromData(result.acquire).count).toBe(cycles.workers);
    expect(result.cycles).toBe(cycles.workers);
  });

  test('counts refusals by their code and goes on', async () => {
    const refusing: LockDriver = {
      acquire: () => Promise.reject(Object.assign(new Error('no'), { code: 'LOCKD_OVERLOADED' })),
      release: async () => undefined,
      close: async () => undefined,
    };
    const result = await runCycles(refusing, cycles, () => undefined);
    expect(Object.keys(result.errors)).toEqual(['LOCKD_OVERLOADED']);
    expect(result.cycles).toBe(0);
  });
});

describe('the open loop', () => {
  test('begins as many cycles as the rate says', async () => {
    const result = await runCycles(memory(), { ...cycles, measureMs: 200, ratePerSecond: 1000 }, () => undefined);
    expect(Histogram.fromData(result.acquire).count).toBeGreaterThan(180);
    expect(Histogram.fromData(result.acquire).count).toBeLessThan(220);
  });

  test('lets a stall be felt by every request that was due in it, where the closed loop shows it once', async () => {
    const workload = { ...cycles, workers: 1, warmUpMs: 0, measureMs: 400 };
    const closed = await runCycles(stallingDriver(100, 200), workload, () => undefined);
    const open = await runCycles(stallingDriver(100, 200), { ...workload, ratePerSecond: 200 }, () => undefined);
    const slow = (result: typeof open): number => {
      const histogram = Histogram.fromData(result.acquire);
      let percent = 0;
      while (percent < 100 && histogram.percentile(percent) < 20_000) percent++;
      return 100 - percent;
    };
    expect(slow(open)).toBeGreaterThan(25);
    expect(slow(closed)).toBeLessThan(10);
  });
});

test('the contended loop hands one name around fairly where the service does', async () => {
  const workload = { type: 'contended', prefix: 'test', workers: 8, warmUpMs: 10, measureMs: 100 } as const;
  const result = await runContended(memory(), workload, () => undefined);
  expect(result.cycles).toBeGreaterThan(8);
  expect(result.grantsByWorker?.reduce((sum, count) => sum + count, 0)).toBe(result.cycles);
  expect(jainFairness(result.grantsByWorker ?? [])).toBeGreaterThan(0.9);
  expect(Histogram.fromData(result.handOff as NonNullable<typeof result.handOff>).count).toBeGreaterThan(0);
});

test('the watch for gaps finds the longest time without a grant', async () => {
  const watch = new GapWatch(stallingDriver(100, 400), {
    type: 'watch-gaps',
    prefix: 'test',
    workers: 4,
    patienceMs: 1000,
  });
  await pause(50);
  watch.mark();
  await waitUntil(
    'the stall to pass',
    () => watch.report().longestGapMs > 300 && watch.report().msSinceLastGrant < 20,
    5000,
    5,
  );
  expect(watch.report().longestGapMs).toBeLessThan(2000);
  expect(watch.report().grants).toBeGreaterThan(0);
  watch.mark();
  await pause(50);
  expect(watch.report().longestGapMs).toBeLessThan(300);
  await watch.finish();
});

test('locks that are held stay held until all are released', async () => {
  const holding = new Holding(memory());
  const held = await holding.hold({ type: 'hold', prefix: 'test', count: 100, inFlight: 7 });
  expect(held.cycles).toBe(100);
  expect((await holding.releaseAll(5)).cycles).toBe(100);
  expect((await holding.releaseAll(5)).cycles).toBe(0);
});
