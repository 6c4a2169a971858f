import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { runOf } from '../../src/core/entry-run.ts';
import { logIndex, term } from '../../src/core/ids.ts';
import { NO_MEMBERS } from '../../src/core/membership.ts';
import { type Clock, realClock } from '../../src/node/clock.ts';
import { levelStorage } from '../../src/node/level-storage.ts';
import { LogStore } from '../../src/node/log-store.ts';
import type { LogStorage } from '../../src/node/storage.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { seededRandom } from '../../src/testing/seeded-random.ts';
import { SimulatedDisk } from '../../src/testing/simulated-disk.ts';

/** More than one call can be given as arguments. One client that waits for each answer makes a block an operation. */
const BLOCKS = 150_000;
const WRITES = 3;
/** Every entry is larger, and so a block of its own. */
const maxBlockBytes = 1;

async function fill(storage: LogStorage, blocks: number): Promise<void> {
  await storage.recover();
  for (let write = 1; write <= WRITES; write++) {
    const first = ((write - 1) * blocks) / WRITES + 1;
    const run = runOf(
      first,
      term(1),
      Array.from({ length: blocks / WRITES }, () => Uint8Array.of(1)),
    );
    await storage.persist({ write, runs: [run], term: run.term, lastIndex: run.lastIndex, hardState: undefined });
  }
}

async function install(storage: LogStorage, index: number): Promise<void> {
  const sink = await storage.createSnapshot({
    index: logIndex(index),
    term: term(2),
    configuration: NO_MEMBERS,
  });
  await sink.write(Uint8Array.of(1));
  await sink.commit({ replaceLog: true });
}

// Busy machines.
vi.setConfig({ testTimeout: 60_000 });

describe('a log of very many blocks', () => {
  test('is replaced by a snapshot that is installed', async () => {
    const disk = new SimulatedDisk({ clock: new ManualClock(), random: seededRandom(1) });
    let ids = 0;
    const open = (): LogStore =>
      new LogStore(disk.mount(), new ManualClock(), { newInstanceId: () => `instance-${++ids}`, maxBlockBytes });
    const storage = open();
    await fill(storage, BLOCKS);
    await install(storage, BLOCKS * 2);
    await storage.close();
    expect(await open().recover()).toMatchObject({ runs: [], snapshot: { index: BLOCKS * 2 } });
  });

  test('is dropped from LevelDB in pieces, between which others have their turn', async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'lockd-large-log-'));
    let turns = 0;
    const clock: Clock = {
      ...realClock,
      endOfTurn: (callback) => {
        turns += 1;
        realClock.endOfTurn(callback);
      },
    };
    const storage = levelStorage(directory, clock, { maxBlockBytes });
    try {
      await fill(storage, 6000);
      turns = 0;
      await install(storage, 7000);
      expect(turns).toBe(6);
      await storage.close();
      expect(await storage.recover()).toMatchObject({ runs: [], snapshot: { index: 7000 } });
    } finally {
      await storage.close();
      await rm(directory, { recursive: true, force: true });
    }
  });
});
