import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root: every script works from here, whatever directory it was called in. */
export const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

export function readJson(...path) {
  return JSON.parse(readFileSync(join(root, ...path), 'utf8'));
}

/** Packages that are published, by folder. */
export const publicPackages = ['packages/raft', 'packages/client', 'packages/lockd'];
