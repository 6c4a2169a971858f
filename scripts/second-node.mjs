// Runs the same seeds of the simulator on this Node.js and on another version, and compares the hashes of their traces:
// node scripts/second-node.mjs [A..B]. The other one is LOCKD_OTHER_NODE, or comes from the package `node` through npx.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './lib/root.mjs';
import { build, install } from './lib/setup.mjs';

/** A registry that does not answer must not hold up the rest. */
const FETCH_MAX_MS = 180_000;

const [seeds = '1..8'] = process.argv.slice(2);
const major = Number(process.versions.node.split('.')[0]);
const wanted = major === 20 ? 24 : 20;

const code = (await install()) || (await build());
if (code !== 0) process.exit(code);

const other = findOther();
if (other === undefined) process.exit(0);
const nodes = [process.execPath, other];
const outputs = nodes.map((node) => {
  const version = ask(node, ['-p', 'process.version']).trim();
  const started = performance.now();
  const hashes = ask(node, [join(root, 'jepsen-style-tests/dist/sim/main.js'), '--seeds', seeds, '--hash']);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(`Node.js ${version}: ${hashes.split('\n').length - 1} seeds in ${seconds} s\n`);
  return { version, lines: hashes.split('\n') };
});
const [here, there] = outputs;
const differing = here.lines.flatMap((line, position) =>
  line === there.lines[position] ? [] : [`${here.version}: ${line}\n${there.version}: ${there.lines[position]}`],
);
if (here.version === there.version) {
  process.stdout.write(`FAIL both are Node.js ${here.version}: nothing was compared\n`);
  process.exit(1);
}
if (differing.length > 0) {
  process.stdout.write(`FAIL the same seed is not the same run\n${differing.join('\n')}\n`);
  process.exit(1);
}
process.stdout.write(`seeds ${seeds}: the same traces on Node.js ${here.version} and ${there.version}\n`);

function findOther() {
  if (process.env.LOCKD_OTHER_NODE) return process.env.LOCKD_OTHER_NODE;
  try {
    return ask('npx', ['--yes', `node@${wanted}`, '-p', 'process.execPath'], FETCH_MAX_MS).trim();
  } catch (error) {
    const reason = String(error.stderr || error.message)
      .trim()
      .split('\n')[0];
    process.stdout.write(
      `skipped: no Node.js ${wanted} to compare traces with (${reason}); LOCKD_OTHER_NODE names one\n`,
    );
    return undefined;
  }
}

function ask(command, args, timeout) {
  return execFileSync(command, args, {
    cwd: root,
    timeout,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 1 << 26,
  });
}
