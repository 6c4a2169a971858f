import { appendFile, cp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Random } from '../random.ts';

/** One way to spoil a copy of a data directory. */
export interface Damage {
  /** The row of the table it counts in. */
  readonly kind: string;
  readonly where: string;
  spoil(directory: string): Promise<void>;
}

/** Bytes flipped in each file: every one of its first and last few, and others by chance. */
const FLIPS_PER_FILE = 40;
const EDGE_BYTES = 8;
const CUTS_PER_FILE = 8;
const GARBAGE_LENGTHS = [1, 7, 100, 5000, 40_000];

/** Everything that is done to the directory `original`, in hundreds of places. */
export async function damagesOf(original: string, random: Random): Promise<readonly Damage[]> {
  const damages: Damage[] = [];
  const files = await filesBelow(original);
  for (const { path, byteLength } of files) {
    const row = rowOf(path);
    for (const position of places(byteLength, FLIPS_PER_FILE, random)) {
      const mask = 1 << random.between(0, 7);
      damages.push({
        kind: `a flipped bit in ${row}`,
        where: `bit ${mask} of byte ${position} of ${path}`,
        spoil: async (directory) => {
          const bytes = await readFile(join(directory, path));
          bytes[position] = (bytes[position] as number) ^ mask;
          await writeFile(join(directory, path), bytes);
        },
      });
    }
    for (const keep of places(byteLength, CUTS_PER_FILE, random)) {
      damages.push({
        kind: `${row} cut short`,
        where: `${path} cut from ${byteLength} to ${keep} bytes`,
        spoil: (directory) => truncate(join(directory, path), keep),
      });
    }
    damages.push({
      kind: `${row} deleted`,
      where: `${path} deleted`,
      spoil: (directory) => rm(join(directory, path)),
    });
    damages.push({
      kind: `${row} filled with zeros`,
      where: `${path} is ${byteLength} zeros`,
      spoil: (directory) => writeFile(join(directory, path), Buffer.alloc(byteLength)),
    });
    for (const length of path.endsWith('.log') ? GARBAGE_LENGTHS : []) {
      damages.push({
        kind: 'garbage after the write-ahead file',
        where: `${length} bytes after ${path}`,
        spoil: (directory) => appendFile(join(directory, path), Buffer.alloc(length, 0xa5)),
      });
    }
  }
  damages.push({
    kind: 'the whole database deleted',
    where: 'log/ deleted',
    spoil: (directory) => rm(join(directory, 'log'), { recursive: true }),
  });
  return damages;
}

/** The database of `from` under the identity and marker of the directory it is put into. */
export function databaseFrom(from: string, where: string): Damage {
  return {
    kind: 'the database alone rolled back or exchanged',
    where,
    spoil: async (directory) => {
      await rm(join(directory, 'log'), { recursive: true });
      await cp(join(from, 'log'), join(directory, 'log'), { recursive: true });
    },
  };
}

/** LevelDB's own log and lock are no data. */
async function filesBelow(
  directory: string,
): Promise<readonly { readonly path: string; readonly byteLength: number }[]> {
  const own = (await readdir(directory, { withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ name }) => name);
  const database = (await readdir(join(directory, 'log')))
    .filter((name) => !name.startsWith('LO'))
    .map((name) => join('log', name));
  return Promise.all(
    [...own, ...database].map(async (path) => ({ path, byteLength: (await readFile(join(directory, path))).length })),
  );
}

function rowOf(path: string): string {
  if (path.endsWith('.ldb')) return 'a table file';
  if (path.endsWith('.log')) return 'the write-ahead file';
  if (path.includes('MANIFEST')) return 'the manifest';
  if (path.includes('CURRENT')) return 'CURRENT';
  return path.startsWith('snapshot-') ? 'the snapshot' : `the ${path} file`;
}

/** Ascending, without duplicates. */
function places(length: number, count: number, random: Random): readonly number[] {
  const found = new Set<number>();
  for (let i = 0; i < Math.min(EDGE_BYTES, count / 4); i++) {
    found.add(i);
    found.add(length - 1 - i);
  }
  for (let i = 0; found.size < Math.min(length, count) && i < count * 4; i++) found.add(random.between(0, length - 1));
  return [...found].filter((place) => place >= 0 && place < length).sort((a, b) => a - b);
}
