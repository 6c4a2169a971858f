// Removes what builds and test runs leave; dependencies and data directories stay.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './lib/root.mjs';
import { workspaceFolders } from './lib/setup.mjs';

for (const folder of workspaceFolders()) {
  for (const output of ['dist', '.tsbuild']) rmSync(join(root, folder, output), { recursive: true, force: true });
}
