import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PAGE = readFileSync(join(ROOT, 'docs/guarantees.md'), 'utf8');

interface Evidence {
  readonly promise: string;
  readonly file: string;
  readonly name: string;
}

/** Lines of the form: - `file` "name of a test", under the heading of their promise. */
function evidenceIn(page: string): readonly Evidence[] {
  let promise = '';
  return page.split('\n').flatMap((line) => {
    promise = /^## (\d\..*)/.exec(line)?.[1] ?? promise;
    const found = /^- `(?<file>[^`]+)` "(?<name>[^"]+)"$/.exec(line)?.groups;
    return found === undefined ? [] : [{ promise, file: found['file'] as string, name: found['name'] as string }];
  });
}

function isThere({ file, name }: Evidence): boolean {
  const path = join(ROOT, file);
  return existsSync(path) && readFileSync(path, 'utf8').includes(`'${name}'`);
}

describe('docs/guarantees.md', () => {
  test('names tests that exist', () => {
    expect(evidenceIn(PAGE).filter((evidence) => !isThere(evidence))).toEqual([]);
  });

  test('has evidence for each of the nine promises', () => {
    const promises = PAGE.match(/^## \d\..*/gm) ?? [];
    const shown = new Set(evidenceIn(PAGE).map((evidence) => `## ${evidence.promise}`));
    expect(promises).toHaveLength(9);
    expect(promises.filter((promise) => !shown.has(promise))).toEqual([]);
  });

  test('would be caught naming a test that does not exist', () => {
    const invented = evidenceIn('## 1. x\n- `test/lint.test.ts` "nobody wrote this"');
    expect(invented.filter((evidence) => !isThere(evidence))).toHaveLength(1);
  });
});
