import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

// A linter that skipped its rules would be as silent as one that found nothing.
describe('the linter, shown a package that breaks the rules, reports', () => {
  let folder: string;
  let found: readonly string[];

  const broken: Readonly<Record<string, string>> = {
    'packages/raft/src/core/core.ts': `
      import { readFileSync } from 'node:fs';
      import { other } from './other.ts';
      export const core = [readFileSync, other, Date.now(), Math.random()];
    `,
    'packages/raft/src/core/other.ts': `
      import { core } from './core.ts';
      export const other: unknown = () => core;
    `,
    'packages/lockd/src/promises.ts': `
      async function work(): Promise<boolean> { return true; }
      export function forget(): void { work(); }
      export function mistake(): void { if (work()) forget(); }
      export function choose(kind: 'a' | 'b'): void { switch (kind) { case 'a': forget(); } }
      setTimeout(forget, 1);
    `,
  };

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'lockd-lint-'));
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
    for (const file of ['.oxlintrc.json', '.gitignore', 'tsconfig.base.json']) {
      copyFileSync(join(root, file), join(folder, file));
    }
    const tsconfig = { extends: './tsconfig.base.json', compilerOptions: { types: ['node'] }, include: ['packages'] };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(tsconfig));
    for (const [path, text] of Object.entries(broken)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    execFileSync('git', ['init', '--quiet'], { cwd: folder });
    const linter = join(root, 'node_modules', '.bin', 'oxlint');
    const { stdout } = spawnSync(linter, ['--format=json'], { cwd: folder, encoding: 'utf8' });
    const report = JSON.parse(stdout) as { diagnostics: { code: string; filename: string }[] };
    found = report.diagnostics.map(({ code, filename }) => `${filename}: ${code}`);
  });
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  test.each([
    ['a Node module in the core', 'packages/raft/src/core/core.ts: eslint(no-restricted-imports)'],
    ['the clock', 'packages/raft/src/core/core.ts: eslint(no-restricted-globals)'],
    ['chance', 'packages/raft/src/core/core.ts: eslint(no-restricted-properties)'],
    ['an import cycle', 'packages/raft/src/core/core.ts: import(no-cycle)'],
    ['a timer', 'packages/lockd/src/promises.ts: eslint(no-restricted-globals)'],
    ['a forgotten promise', 'packages/lockd/src/promises.ts: typescript(no-floating-promises)'],
    ['a promise taken for a condition', 'packages/lockd/src/promises.ts: typescript(no-misused-promises)'],
    ['a switch that forgets a case', 'packages/lockd/src/promises.ts: typescript(switch-exhaustiveness-check)'],
  ])('%s', (_, diagnostic) => {
    expect(found).toContain(diagnostic);
  });
});
