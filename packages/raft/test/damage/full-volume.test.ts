import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runOf } from '../../src/core/entry-run.ts';
import { logIndex, term } from '../../src/core/ids.ts';
import { realClock } from '../../src/node/clock.ts';
import { levelStorage } from '../../src/node/level-storage.ts';
import { StorageError } from '../../src/node/storage-error.ts';

/*
 * Row 41, on a small volume that really has no room left: what was acknowledged is there when there is room again, what was
 * refused may be, and the directory is never damaged by it.
 */

const VOLUME_MB = 16;
const ENTRY_BYTES = 20_000;

let volume: string;
let whyNot: string | undefined;

beforeAll(() => {
  volume = mkdtempSync(path.join(tmpdir(), 'lockd-volume-'));
  if (process.platform !== 'linux' || process.getuid?.() !== 0) whyNot = 'mounting a tmpfs needs root on Linux';
  else if (spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${VOLUME_MB}m`, 'tmpfs', volume]).status !== 0)
    whyNot = 'a tmpfs cannot be mounted here';
});

afterAll(() => {
  if (whyNot === undefined) spawnSync('umount', ['-l', volume]);
  rmSync(volume, { recursive: true, force: true });
});

describe('a volume without room', () => {
  test('refuses writes as STORAGE_FULL, and holds what it acknowledged when there is room again', async ({ skip }) => {
    skip(whyNot !== undefined, `no small volume: ${whyNot}`);
    const ballast = path.join(volume, 'ballast');
    for (let round = 0; round < 5; round++) {
      const directory = path.join(volume, `data-${round}`);
      // Opening again needs room too: LevelDB turns the write-ahead file into a table file.
      writeFileSync(ballast, Buffer.alloc(11 * 1024 * 1024 + round * 1000));
      let storage = levelStorage(directory, realClock);
      const first = await storage.recover();
      expect(first).not.toHaveProperty('damage');
      let acknowledged = 0;
      let refusal: unknown;
      while (refusal === undefined) {
        const index = acknowledged + 1;
        try {
          await storage.persist({
            write: 0,
            hardState: undefined,
            runs: [runOf(index, term(1), [Buffer.alloc(ENTRY_BYTES, index)])],
            term: term(1),
            lastIndex: logIndex(index),
          });
          acknowledged = index;
        } catch (error) {
          refusal = error;
        }
      }
      expect(refusal).toBeInstanceOf(StorageError);
      expect((refusal as StorageError).code).toBe('STORAGE_FULL');
      expect(acknowledged).toBeGreaterThan(20);
      await storage.close().catch(() => undefined);
      rmSync(ballast);

      storage = levelStorage(directory, realClock);
      const recovered = await storage.recover();
      if ('damage' in recovered) throw new Error(recovered.damage.reason);
      const last = recovered.runs[recovered.runs.length - 1];
      expect(last?.lastIndex).toBeGreaterThanOrEqual(acknowledged);
      expect(last?.lastIndex).toBeLessThanOrEqual(acknowledged + 1);
      for (const run of recovered.runs) {
        expect(Buffer.from(run.entry(run.firstIndex)).equals(Buffer.alloc(ENTRY_BYTES, run.firstIndex))).toBe(true);
      }
      await storage.close();
      rmSync(directory, { recursive: true });
    }
  }, 60_000);
});
