// Installs and builds what changed, then runs a built program: node scripts/run-built.mjs FILE ARGS…
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './lib/root.mjs';
import { becomeNode } from './lib/run.mjs';
import { build, install } from './lib/setup.mjs';

const [file, ...args] = process.argv.slice(2);
if (file === undefined) {
  process.stderr.write('usage: node scripts/run-built.mjs FILE ARGS…\n');
  process.exit(2);
}
const code = (await install()) || (await build());
if (code !== 0) process.exit(code);
const program = join(root, file);
if (!existsSync(program)) {
  process.stderr.write(`${file} was not built: its source is missing\n`);
  process.exit(1);
}
becomeNode([program, ...args]);
