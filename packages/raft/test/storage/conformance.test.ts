import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, test } from 'vitest';
import { realClock } from '../../src/node/clock.ts';
import { levelStorage } from '../../src/node/level-storage.ts';
import { LogStore } from '../../src/node/log-store.ts';
import type { LogStorage } from '../../src/node/storage.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { seededRandom } from '../../src/testing/seeded-random.ts';
import { SimulatedDisk } from '../../src/testing/simulated-disk.ts';
import { type StorageFixture, storageConformance } from '../../src/testing/storage-conformance.ts';

const api = { describe, test };

async function levelFixture(): Promise<StorageFixture> {
  const root = await mkdtemp(path.join(tmpdir(), 'lockd-storage-'));
  const opened: LogStorage[] = [];
  let generation = 0;
  return {
    open: async () => {
      const storage = levelStorage(path.join(root, String(generation)), realClock);
      opened.push(storage);
      return storage;
    },
    // The directory as it is at this moment: what a process that is killed leaves behind.
    crash: async () => {
      await cp(path.join(root, String(generation)), path.join(root, String(generation + 1)), { recursive: true });
      generation += 1;
    },
    pass: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
    dispose: async () => {
      await Promise.all(opened.map((storage) => storage.close().catch(() => undefined)));
      await rm(root, { recursive: true, force: true });
    },
  };
}

function simulatedFixture(end: 'kill' | 'losePower'): () => Promise<StorageFixture> {
  let seed = 1;
  return async () => {
    const clock = new ManualClock();
    const disk = new SimulatedDisk({ clock, random: seededRandom(seed++) });
    let ids = 0;
    return {
      open: async () => new LogStore(disk.mount(), clock, { newInstanceId: () => `instance-${++ids}` }),
      crash: async () => disk[end](),
      pass: (milliseconds) => clock.advance(milliseconds),
      dispose: async () => undefined,
    };
  };
}

storageConformance('LevelDB', levelFixture, api);
storageConformance('a simulated disk whose processes are killed', simulatedFixture('kill'), api);
storageConformance('a simulated disk that loses power', simulatedFixture('losePower'), api);
