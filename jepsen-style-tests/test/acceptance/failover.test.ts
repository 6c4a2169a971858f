import { connect, type HeldLock } from '@lockd/client';
import { describe, expect, test } from 'vitest';
import { monotonicNs, waitFor } from '../../src/clock.ts';
import { LockLoad } from '../support/lock-load.ts';
import { withRealCluster } from '../support/real-cluster.ts';

const KILLS = 5;

describe('real processes: kill -9', () => {
  test('of the leader, five times under load: tokens rise, holders never overlap, grants resume', async () => {
    await withRealCluster(async ({ cluster, endpoints }) => {
      const load = await LockLoad.start(endpoints, { clients: 4, workers: 8, names: 4 });
      const gapsMs: number[] = [];
      for (let kill = 0; kill < KILLS; kill++) {
        const before = load.ledger.grants;
        expect(
          await waitFor(() => (load.ledger.grants > before + 50 ? true : undefined), 20_000),
          'the load gets grants',
        ).toBe(true);
        const leader = cluster.leader();
        if (leader === undefined) throw new Error('nobody leads');
        const startNs = monotonicNs();
        await cluster.node(leader.name).kill();
        // Grants that were on their way when it died do not count as resumed.
        const next = await cluster.waitForLeader(20_000, leader);
        const grantsThen = load.ledger.grants;
        expect(
          await waitFor(() => (load.ledger.grants > grantsThen ? true : undefined), 20_000, 5),
          `grants resume under ${next}`,
        ).toBe(true);
        gapsMs.push(Math.round((monotonicNs() - startNs) / 1e6));
        await cluster.node(leader.name).start();
        expect(await cluster.waitForHealth(20_000)).toBe(true);
      }
      await load.stop();
      expect(load.ledger.violations).toEqual([]);
      process.stdout.write(`grants resumed after ${gapsMs.join(', ')} ms (polled); ${load.ledger.grants} grants\n`);
    });
  }, 120_000);

  test('of all nodes at once under load: what was granted is still held, later tokens are larger, everyone gets an answer', async () => {
    await withRealCluster(async ({ cluster, endpoints }) => {
      const load = await LockLoad.start(endpoints, { clients: 4, workers: 8, names: 4 });
      const keeper = await connect({ endpoints: [...endpoints], sessionTtl: '60s' });
      const kept: HeldLock[] = [];
      for (let lock = 0; lock < 20; lock++) kept.push(await keeper.acquire(`kept:${lock}`));
      const waiting = keeper.acquire('kept:0', { wait: '60s' });
      const before = load.ledger.grants;
      await waitFor(() => (load.ledger.grants > before + 50 ? true : undefined), 20_000);

      await Promise.all([...cluster.nodes.values()].map((node) => node.kill()));
      await Promise.all([...cluster.nodes.values()].map((node) => node.start()));
      expect(await cluster.waitForHealth(20_000)).toBe(true);

      const grantsThen = load.ledger.grants;
      expect(
        await waitFor(() => (load.ledger.grants > grantsThen + 50 ? true : undefined), 20_000),
        'every worker goes on',
      ).toBe(true);
      const reader = await connect({ endpoints: [...endpoints] });
      for (const lock of kept) {
        const found = await reader.inspect(lock.name);
        expect(found.holders.map((holder) => holder.token)).toEqual([lock.token]);
        expect(lock.held).toBe(true);
      }
      const largest = Math.max(...kept.map((lock) => lock.token));
      const later = await reader.acquire('later');
      expect(later.token).toBeGreaterThan(largest);
      await kept[0]?.release();
      const second = await waiting;
      expect(second.token).toBeGreaterThan(later.token);
      await load.stop();
      expect(load.ledger.violations).toEqual([]);
      await Promise.all([keeper.close(), reader.close()]);
    });
  }, 120_000);
});
