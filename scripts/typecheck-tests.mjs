// Type-checks the tests against the sources of the packages; no build has to come first.
// With folders as arguments, only those: node scripts/typecheck-tests.mjs packages/raft
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './lib/root.mjs';
import { tool } from './lib/run.mjs';
import { workspaceFolders } from './lib/setup.mjs';

const given = process.argv.slice(2);
let failed = 0;
for (const folder of given.length > 0 ? given : workspaceFolders()) {
  const tests = join(root, folder, 'test');
  if (!existsSync(join(tests, 'tsconfig.json'))) continue;
  // The compiler takes a project without files for a mistake.
  if (!readdirSync(tests, { recursive: true }).some((name) => name.endsWith('.ts'))) continue;
  if ((await tool('tsc', ['--project', tests])) !== 0) failed += 1;
}
process.exitCode = failed === 0 ? 0 : 1;
