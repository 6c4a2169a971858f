import { describe, expect, test } from 'vitest';
import { RandomCluster, type RandomClusterOptions } from './random-cluster.ts';

/** The first seed follows the run's seed; a failure names the one to replay. */
const FIRST_SEED = Math.abs(Number(process.env['FC_SEED'] ?? 1)) % 1_000_000_000;

/** Clusters of each kind; raise it to search. */
const SEEDS = Number(process.env['RAFT_SEEDS'] ?? 40);

function runSeeds(
  count: number,
  options: Omit<RandomClusterOptions, 'seed'>,
  faultyMs: number,
): { proposed: number; committed: number; reads: number } {
  const total = { proposed: 0, committed: 0, reads: 0 };
  for (let seed = FIRST_SEED; seed < FIRST_SEED + count; seed += 1) {
    const cluster = new RandomCluster({ ...options, seed });
    try {
      cluster.run(faultyMs);
    } catch (error) {
      throw new Error(`seed ${seed}: ${String(error)}\n${cluster.lastEvents.slice(-60).join('\n')}`, { cause: error });
    }
    total.proposed += cluster.proposed;
    total.committed += cluster.checker.committedCount;
    total.reads += cluster.readsServed;
  }
  return total;
}

describe('a cluster under random faults', () => {
  test('keeps every promise of figure 3, and recovers once it is healed', { timeout: 60_000 + SEEDS * 2_000 }, () => {
    const total = runSeeds(SEEDS, {}, 8_000);
    expect(total.committed).toBeGreaterThan(SEEDS * 20);
    expect(total.reads).toBeGreaterThan(SEEDS * 10);
  });

  test('keeps them while its members change', { timeout: 60_000 + SEEDS * 2_000 }, () => {
    const total = runSeeds(SEEDS, { changesMembers: true }, 8_000);
    expect(total.committed).toBeGreaterThan(SEEDS * 20);
  });
});
