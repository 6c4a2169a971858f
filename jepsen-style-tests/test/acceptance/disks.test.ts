import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Cluster } from '../../src/cluster/cluster.ts';
import { Network } from '../../src/cluster/network.ts';
import { DISK_FAULTS, mountSmallVolume } from '../../src/nemesis/disk-faults.ts';
import type { FaultContext } from '../../src/nemesis/fault.ts';
import { Random } from '../../src/random.ts';
import { LockLoad } from '../support/lock-load.ts';
import { LOCKD_BIN } from '../support/real-cluster.ts';

/** Larger than the room that a node keeps free, so that it has some to begin with. */
const VOLUME_MB = 300;

describe('real disks that fail (rows 40 and 41)', () => {
  test.each([
    ['disk-error', 'a sync that fails with EIO stops the node; started again it has everything it acknowledged'],
    ['disk-stall', 'a leader whose disk stalls leaves its office, and grants go on'],
    ['disk-full', 'a node without room steps back, and comes back when there is room'],
  ])(
    '%s: %s',
    async (kind, _claim) => {
      const fault = DISK_FAULTS.find((candidate) => candidate.kind === kind);
      if (fault === undefined) throw new Error(`no fault is called ${kind}`);
      const directory = mkdtempSync(join(tmpdir(), 'lockd-disks-'));
      const small = mkdtempSync(join(tmpdir(), 'lockd-small-'));
      const volume = kind === 'disk-full' ? mountSmallVolume(small, VOLUME_MB) : undefined;
      const random = Random.split(process.pid, directory);
      const cluster = await Cluster.create(new Network(random), {
        nodes: 3,
        bin: LOCKD_BIN,
        directory,
        random,
        ...(volume === undefined ? {} : { dataDirs: new Map([['n2', join(small, 'n2')]]) }),
      });
      try {
        const context: FaultContext = {
          cluster,
          ttlMs: 30_000,
          victims: () => [],
          holderAtWork: () => Promise.resolve(undefined),
          writesByOthers: () => 0,
          hasFakeClocks: false,
          packets: 'not wanted',
          signal: new AbortController().signal,
          smallVolume: volume === undefined ? undefined : { node: 'n2', directory: small },
        };
        const whyNot = fault.unavailable?.(context);
        if (whyNot !== undefined) {
          process.stdout.write(`skipped ${kind}: ${whyNot}\n`);
          expect(process.env['CI_REQUIRE_ALL']).not.toBe('1');
          return;
        }
        await cluster.start();
        expect(await cluster.waitForHealth(20_000)).toBe(true);
        const endpoints = [...cluster.nodes.values()].map((node) => `ws://127.0.0.1:${node.spec.clientPort}`);
        const load = await LockLoad.start(endpoints, { clients: 3, workers: 6, names: 3 });
        const outcome = await fault.run(context, random);
        expect(outcome).toMatchObject({ worked: true });
        expect(await cluster.waitForHealth(30_000)).toBe(true);
        const grants = load.ledger.grants;
        expect(grants).toBeGreaterThan(0);
        await load.stop();
        expect(load.ledger.violations).toEqual([]);
      } finally {
        await cluster.stop();
        volume?.unmount();
        rmSync(directory, { recursive: true, force: true });
        rmSync(small, { recursive: true, force: true });
      }
    },
    120_000,
  );
});
