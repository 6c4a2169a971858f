// Packs the packages as they would be published, and checks the archives: entry points, types, and what is inside.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { publicPackages, root } from './lib/root.mjs';
import { pnpm, quietTool } from './lib/run.mjs';

const archives = join(root, '.tsbuild', 'archives');
rmSync(archives, { recursive: true, force: true });
mkdirSync(archives, { recursive: true });

const filters = publicPackages.map((folder) => `--filter=./${folder}`);
let failed =
  (await pnpm([...filters, 'pack', '--pack-destination', archives], { stdio: ['ignore', 'ignore', 'inherit'] })) !== 0;

const files = readdirSync(archives);
if (files.length !== publicPackages.length) {
  process.stderr.write(`packed ${files.length} of ${publicPackages.length} packages\n`);
  failed = true;
}
for (const file of files) {
  const archive = join(archives, file);
  const content = execFileSync('tar', ['-tzf', archive], { encoding: 'utf8' }).split('\n');
  const surplus = content.filter((path) => /\.tsbuildinfo$|\/tsconfig[^/]*\.json$|^package\/test\//.test(path));
  if (!content.includes('package/LICENSE') || !content.some((path) => path.startsWith('package/dist/'))) {
    process.stderr.write(`${file}: the license or the compiled code is missing\n`);
    failed = true;
  }
  if (surplus.length > 0) {
    process.stderr.write(`${file}: should not contain ${surplus.join(', ')}\n`);
    failed = true;
  }
  if ((await quietTool('publint', ['--strict', archive])) !== 0) failed = true;
  if ((await quietTool('attw', ['--profile', 'esm-only', '--format', 'ascii', archive])) !== 0) failed = true;
}
if (!failed)
  process.stdout.write(`${files.length} archives: entry points and types resolve, nothing superfluous inside\n`);
process.exitCode = failed ? 1 : 0;
