import { mkdirSync, readdirSync } from 'node:fs';
import { resolve } from 'node:path';

/** The directory of one run cannot be used; the message says what to do. */
export class RunDirectoryError extends Error {
  override readonly name = 'RunDirectoryError';
}

/**
 * The absolute path of a directory for one run, made if it is missing. Nodes that found data of another run there would
 * be a cluster that nobody planned, and its histories would be mixed with the new ones: what is not empty is refused.
 */
export function emptyDirectory(path: string): string {
  const directory = resolve(path);
  mkdirSync(directory, { recursive: true });
  const [first] = readdirSync(directory);
  if (first !== undefined)
    throw new RunDirectoryError(
      `${directory} holds ${first}, perhaps of an earlier run: name a new or an empty directory, or remove this one`,
    );
  return directory;
}
