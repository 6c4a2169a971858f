import { stat } from 'node:fs/promises';
import path from 'node:path';
import { walk } from '@nodelib/fs.walk';
import type { LogIndex, Term } from '../core/ids.ts';
import { LevelDisk } from './level-disk.ts';
import { openDirectory } from './recovery.ts';
import { StorageError } from './storage-error.ts';

/** What a data directory holds, or why it must not be used. */
export type Verdict =
  /** Nothing was ever kept there. */
  | { readonly type: 'empty' }
  | {
      readonly type: 'whole';
      readonly instanceId: string;
      readonly clusterId: string | undefined;
      /** How often it has been started. */
      readonly starts: number;
      readonly term: Term;
      readonly votedFor: string | undefined;
      readonly snapshotIndex: LogIndex;
      readonly lastIndex: LogIndex;
      /** Entries after the snapshot. */
      readonly entries: number;
      readonly files: number;
      readonly byteLength: number;
      /** Of an interrupted write: the next start removes them. */
      readonly leftovers: readonly string[];
    }
  | { readonly type: 'damaged'; readonly reason: string }
  /** It cannot be judged now: in use, written by a later version, or the device does not answer. */
  | { readonly type: 'unknown'; readonly code: string; readonly reason: string };

/**
 * Reads a data directory of a stopped node and checks everything that a start would check; no more is changed than a
 * start would change first: damage that was found is remembered there, so that it is found again.
 */
export async function verifyDirectory(directory: string): Promise<Verdict> {
  const disk = new LevelDisk(directory);
  try {
    const names = await disk.listFiles();
    if (names.length === 0 && !(await disk.hasDatabase())) return { type: 'empty' };
    const found = await openDirectory(disk, () => {
      throw new NeverUsed();
    });
    if ('damage' in found) return { type: 'damaged', reason: found.damage.reason };
    await found.database.close();
    const { instanceId, clusterId, hardState, list, snapshot, marker, runs } = found;
    const files = await filesBelow(directory);
    return {
      type: 'whole',
      instanceId,
      clusterId,
      starts: marker.incarnation,
      term: hardState.term,
      votedFor: hardState.votedFor,
      snapshotIndex: snapshot?.metadata.index ?? (0 as LogIndex),
      lastIndex: list.lastIndex,
      entries: runs.reduce((sum, run) => sum + run.count, 0),
      files: files.length,
      byteLength: files.reduce((sum, file) => sum + file.byteLength, 0),
      leftovers: files
        .map((file) => file.name)
        .filter((name) => name.endsWith('.tmp') || (name.startsWith('snapshot-') && name !== snapshot?.file)),
    };
  } catch (error) {
    if (error instanceof NeverUsed) return { type: 'empty' };
    if (!(error instanceof StorageError)) throw error;
    return error.code === 'STORAGE_DAMAGED'
      ? { type: 'damaged', reason: error.message }
      : { type: 'unknown', code: error.code, reason: `${error.message}. ${error.remedy}` };
  }
}

/** Its creation was interrupted before anything could be promised; the next start goes on with it. */
class NeverUsed extends Error {}

async function filesBelow(
  directory: string,
): Promise<readonly { readonly name: string; readonly byteLength: number }[]> {
  const entries = await new Promise<readonly { readonly path: string }[]>((resolve, reject) => {
    walk(directory, { entryFilter: (entry) => entry.dirent.isFile() }, (error, found) => {
      if (error !== null) reject(error);
      else resolve(found);
    });
  });
  return Promise.all(
    entries.map(async (entry) => ({
      name: path.relative(directory, entry.path),
      byteLength: (await stat(entry.path)).size,
    })),
  );
}
