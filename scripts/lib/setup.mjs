import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { root } from './root.mjs';
import { pnpm, tool } from './run.mjs';

// What a script says about itself goes to stderr: stdout belongs to the program it starts.
const say = (text) => process.stderr.write(`${text}\n`);
const toStderr = { stdio: ['ignore', 2, 2] };

const stampPath = join(root, 'node_modules', '.lockd-installed');

/** Installs what the lockfile says, unless the last install was from the same files. Returns an exit code. */
export async function install() {
  const state = installState();
  if (existsSync(stampPath) && readFileSync(stampPath, 'utf8') === state) return 0;
  say('installing dependencies');
  const code = await pnpm(['install', '--frozen-lockfile'], toStderr);
  if (code === 0) writeFileSync(stampPath, state);
  else say('The installation failed. After a change of dependencies, `npm run deps` brings the lockfile up to date.');
  return code;
}

/** Forgets the last installation, so that the next `install` runs again. */
export function forgetInstall() {
  rmSync(stampPath, { force: true });
}

/** Compiles what changed, and removes what earlier compilations left behind. Returns an exit code. */
export async function build() {
  removeStaleOutput();
  return tool('tsc', ['-b'], toStderr);
}

function installState() {
  const hash = createHash('sha256');
  hash.update(`${process.platform} ${process.arch} ${process.versions.modules}\n`);
  for (const path of [
    'pnpm-lock.yaml',
    'pnpm-workspace.yaml',
    ...workspaceFolders().map((f) => join(f, 'package.json')),
  ]) {
    hash.update(`${path}\n`).update(readFileSync(join(root, path)));
  }
  return hash.digest('hex');
}

/** The folders of all packages, the root included, as in pnpm-workspace.yaml. */
export function workspaceFolders() {
  const below = (folder) =>
    existsSync(join(root, folder)) ? readdirSync(join(root, folder)).map((name) => join(folder, name)) : [];
  return ['.', ...below('packages'), 'bench', 'jepsen-style-tests', ...below('examples')].filter((folder) =>
    existsSync(join(root, folder, 'package.json')),
  );
}

// `tsc -b` keeps the output of deleted sources, which would then be tested and published.
function removeStaleOutput() {
  for (const folder of workspaceFolders()) {
    const dist = join(root, folder, 'dist');
    if (!existsSync(dist) || !existsSync(join(root, folder, 'tsconfig.json'))) continue;
    for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
      const match = /^(.*?)(\.d\.ts|\.js)(\.map)?$/.exec(entry.name);
      if (!entry.isFile() || match === null) continue;
      const output = join(entry.parentPath ?? entry.path, entry.name);
      const source = join(root, folder, 'src', relative(dist, join(output, '..')), `${match[1]}.ts`);
      if (!existsSync(source)) rmSync(output);
    }
  }
}
