// `npm test`: everything CI runs, in the order in which it fails fastest. Needs Node and npm only.
// Stops at the first step that fails, then says where the time went and ends with "N passed, N failed".
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { root } from './lib/root.mjs';
import { run, tool } from './lib/run.mjs';
import { build, install } from './lib/setup.mjs';
import { seedFromCommit } from './property-seed.mjs';

const requireAll = process.env.CI_REQUIRE_ALL === '1';
const tests = { passed: 0, failed: 0, skipped: 0, files: [] };

// In CI the seed of the property tests comes from the commit, so the commit alone replays a failure.
if (process.env.CI && !process.env.FC_SEED) {
  const seed = seedFromCommit();
  if (seed !== undefined) process.env.FC_SEED = String(seed);
}

// Escape codes only where somebody looks.
if (!process.stdout.isTTY) process.env.NO_COLOR = '1';
const colors = process.stdout.isTTY ? [] : ['--colors=off'];

const script = (name) => run(process.execPath, [join('scripts', `${name}.mjs`)]);

const steps = [
  { name: 'install', run: install },
  { name: 'build', run: build },
  { name: 'format', run: () => tool('biome', ['ci', '--error-on-warnings', ...colors, '.']) },
  { name: 'lint', run: () => tool('oxlint', process.stdout.isTTY ? [] : ['--format=unix']) },
  { name: 'types of tests', run: () => script('typecheck-tests') },
  { name: 'architecture', run: () => vitest('architecture', ['--project=repository']) },
  { name: 'dead code', run: () => tool('knip', []) },
  { name: 'packages', run: () => script('check-packages') },
  { name: 'tests', run: () => vitest('tests', ['--project=packages', '--passWithNoTests']) },
];

const startedAt = Date.now();
let failedStep;
for (const step of steps) {
  process.stdout.write(`\n── ${step.name}\n`);
  const stepStartedAt = Date.now();
  const code = await step.run();
  step.seconds = (Date.now() - stepStartedAt) / 1000;
  if (code !== 0) {
    failedStep = step;
    break;
  }
}
report();
process.exitCode = failedStep === undefined ? 0 : 1;

/** Runs test files and adds what vitest's own report says to the totals. */
async function vitest(name, args) {
  const reportPath = join(root, '.tsbuild', `${name}.json`);
  mkdirSync(join(root, '.tsbuild'), { recursive: true });
  rmSync(reportPath, { force: true });
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportPath}`];
  const code = await tool('vitest', ['run', ...reporters, ...args]);
  let result;
  try {
    result = JSON.parse(readFileSync(reportPath, 'utf8'));
  } catch {
    // Without a report nothing is known to have passed.
    process.stderr.write('vitest left no report\n');
    return code || 1;
  }
  const skipped = result.numPendingTests + result.numTodoTests;
  tests.passed += result.numPassedTests;
  tests.failed += result.numFailedTests;
  tests.skipped += skipped;
  for (const file of result.testResults) {
    tests.files.push({ name: relative(root, file.name), seconds: (file.endTime - file.startTime) / 1000 });
    for (const test of file.assertionResults) {
      if (test.status === 'passed' || test.status === 'failed') continue;
      process.stdout.write(`skipped: ${relative(root, file.name)}: ${test.fullName}\n`);
    }
  }
  if (requireAll && skipped > 0) {
    process.stderr.write('CI_REQUIRE_ALL=1: a test that was skipped counts as failed\n');
    return code || 1;
  }
  return code;
}

function report() {
  const lines = ['', '── where the time went'];
  for (const step of steps) {
    const time = step.seconds === undefined ? 'not run' : `${step.seconds.toFixed(1)} s`;
    lines.push(`${step.name.padEnd(16)} ${time.padStart(9)}${step === failedStep ? '  FAILED' : ''}`);
  }
  lines.push(`${'all'.padEnd(16)} ${`${((Date.now() - startedAt) / 1000).toFixed(1)} s`.padStart(9)}`);
  const slow = tests.files.filter((file) => file.seconds >= 1).sort((a, b) => b.seconds - a.seconds);
  if (slow.length > 0) lines.push('', 'slowest test files');
  for (const file of slow.slice(0, 10)) lines.push(`${`${file.seconds.toFixed(1)} s`.padStart(9)}  ${file.name}`);
  if (process.env.FC_SEED) lines.push('', `property tests: FC_SEED=${process.env.FC_SEED}`);
  // A step that is not a test run, or a test file that could not be loaded, fails the whole as one test would.
  if (failedStep !== undefined) {
    lines.push('', `failed: ${failedStep.name}`);
    if (tests.failed === 0) tests.failed = 1;
  }
  const skipped = tests.skipped > 0 ? `, ${tests.skipped} skipped` : '';
  lines.push('', `${tests.passed} passed, ${tests.failed} failed${skipped}`, '');
  process.stdout.write(lines.join('\n'));
}
