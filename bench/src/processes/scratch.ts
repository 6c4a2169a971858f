import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A directory for one run's data and logs, removed at the end whatever happens. */
export interface Scratch {
  readonly directory: string;
  /** A fresh directory inside. */
  make(name: string): string;
  remove(): void;
}

/** Under `parent`, or the system's directory for temporary files. Kept afterwards when `keep` (to look at logs). */
export function createScratch(parent: string | undefined, keep: boolean): Scratch {
  const root = parent ?? tmpdir();
  mkdirSync(root, { recursive: true });
  const directory = mkdtempSync(join(root, 'lockd-bench-'));
  const remove = (): void => {
    if (!keep) rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  };
  process.on('exit', remove);
  let next = 0;
  return {
    directory,
    make(name) {
      const path = join(directory, `${++next}-${name}`);
      mkdirSync(path);
      return path;
    },
    remove,
  };
}
