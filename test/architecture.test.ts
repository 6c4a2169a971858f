import { describe, expect, test } from 'vitest';
import { modulesOf, readRepository } from './architecture/repository.ts';
import { type ClockException, checkArchitecture, type Violation } from './architecture/rules.ts';
import { findLeftovers } from './architecture/tidy.ts';

/** Time, timers or chance outside a clock.ts, each with the reason why it is right there. */
const clockExceptions: readonly ClockException[] = [
  {
    path: 'packages/raft/src/testing/clock.ts',
    name: 'setImmediate',
    reason: 'before simulated time goes on, promises get to run; how long that takes does not matter',
  },
];

const repository = readRepository();

describe('this repository', () => {
  const modules = modulesOf(repository);

  test('is what gets checked', () => {
    expect([...modules.keys()]).toEqual(
      expect.arrayContaining([
        'packages/raft/src/core/ids.ts',
        'packages/client/src/protocol/index.ts',
        'packages/lockd/src/index.ts',
        'test/architecture.test.ts',
      ]),
    );
  });

  test('keeps its dependencies pointing inward, without cycles, and time in one place', () => {
    expect(checkArchitecture(modules, clockExceptions).map(asLine)).toEqual([]);
  });

  test('has no leftovers', () => {
    const leftovers = [...repository].flatMap(([path, text]) => findLeftovers(path, text));
    expect(leftovers.map(({ path, line, what }) => `${path}:${line}: ${what}`)).toEqual([]);
  });
});

// A check that never fails proves nothing: each rule is shown what it forbids, and what it allows beside it.
describe('the rules', () => {
  const ids = `export type LogIndex = number;\nexport function logIndex(value: number): LogIndex { return value }\n`;
  const base = {
    'packages/raft/src/index.ts': `export * from './core/ids.ts';\n`,
    'packages/raft/src/core/ids.ts': ids,
    'packages/client/src/protocol/index.ts': `export const version = 1;\n`,
    'packages/lockd/src/index.ts': `export const lockd = 1;\n`,
  };
  const check = (files: Readonly<Record<string, string>>, exceptions: readonly ClockException[] = []): string[] =>
    checkArchitecture(new Map(Object.entries({ ...base, ...files })), exceptions).map(
      ({ rule, path }) => `${rule} ${path}`,
    );

  test('accept a tree that obeys them', () => {
    expect(
      check({
        'packages/raft/src/core/log.ts': `import { type LogIndex } from './ids.ts';\nexport type Log = LogIndex[];\n`,
        'packages/raft/src/node/driver.ts': `import { open } from 'node:fs';\nimport '../core/log.ts';\nopen;\n`,
        'packages/lockd/src/lock-table/lock-table.ts': `import { type LogIndex } from '@lockd/raft';\nimport { version } from '@lockd/client/protocol';\n`,
        'packages/lockd/src/server.ts': `import '@lockd/raft/node';\nimport './lock-table/lock-table.ts';\nimport 'ws';\n`,
        'packages/lockd/src/cli/main.ts': `import '@lockd/client';\nimport '../server.ts';\n`,
        'packages/lockd/src/clock.ts': `export const now = () => Date.now();\n`,
        'packages/lockd/test/server.test.ts': `import 'lockd';\nimport '@lockd/client';\nimport '../src/server.ts';\nsetTimeout(() => {}, 1);\n`,
        'bench/src/main.ts': `import 'lockd';\n`,
        'examples/one/main.js': `import 'lockd';\n`,
        'packages/lockd/src/sender.ts': `clock.setTimeout(1); queueMicrotask(f); const o = { Date: 1 }; o.Date;\n`,
      }),
    ).toEqual([]);
  });

  const forbiddenImports: readonly (readonly [string, string, string])[] = [
    ['raft does not know lockd', 'packages/raft/src/node/a.ts', `import 'lockd';`],
    [
      'raft does not know the client',
      'packages/raft/src/node/a.ts',
      `import type { X } from '@lockd/client/protocol';`,
    ],
    ['nor do its tests', 'packages/raft/test/a.test.ts', `import '@lockd/client';`],
    ['the client does not know lockd', 'packages/client/src/a.ts', `const lockd = await import('lockd');`],
    ['the client does not know raft', 'packages/client/src/a.ts', `export * from '@lockd/raft';`],
    ['lockd does not use the SDK', 'packages/lockd/src/a.ts', `import { connect } from '@lockd/client';`],
    ['lockd does not use test helpers', 'packages/lockd/src/a.ts', `import '@lockd/raft/testing';`],
    ['nobody imports lockd, not itself either', 'packages/lockd/src/a.ts', `import 'lockd';`],
    ['the core does not use Node', 'packages/raft/src/core/a.ts', `import { readFileSync } from 'node:fs';`],
    ['not even its types', 'packages/raft/src/core/a.ts', `export type F = import('node:fs').Stats;`],
    ['the core uses no package', 'packages/raft/src/core/a.ts', `import 'level';`],
    ['the core stays inside itself', 'packages/raft/src/core/a.ts', `import '../index.ts';`],
    ['the protocol stays inside itself', 'packages/client/src/protocol/a.ts', `import 'node:net';`],
    ['the lock table does not use Node', 'packages/lockd/src/lock-table/a.ts', `import 'node:crypto';`],
    ['the lock table does not drive raft', 'packages/lockd/src/lock-table/a.ts', `import '@lockd/raft/node';`],
    ['of raft it knows ids', 'packages/lockd/src/lock-table/a.ts', `import { RaftNode } from '@lockd/raft';`],
    ['not all of raft', 'packages/lockd/src/lock-table/a.ts', `import * as raft from '@lockd/raft';`],
    ['the lock table stays inside itself', 'packages/lockd/src/lock-table/a.ts', `import '../index.ts';`],
    ['packages are imported by name', 'packages/lockd/src/a.ts', `import '../../raft/src/index.ts';`],
    ['scripts need Node only', 'scripts/a.mjs', `import 'ws';`],
  ];
  test.each(forbiddenImports)('%s', (_, path, text) => {
    expect(check({ [path]: text })).toEqual([`imports ${path}`]);
  });

  test('sources do not import tests', () => {
    const files = { 'packages/raft/src/node/a.ts': `import '../../test/b.ts';`, 'packages/raft/test/b.ts': '' };
    expect(check(files)).toEqual(['imports packages/raft/src/node/a.ts']);
  });

  test('an import that leads nowhere is reported, not passed over', () => {
    expect(check({ 'packages/lockd/src/a.ts': `import './gone.ts';` })).toEqual(['unresolved packages/lockd/src/a.ts']);
  });

  test('a file that does not parse is reported, not passed over', () => {
    expect(() => check({ 'packages/lockd/src/a.ts': 'import {' })).toThrow('does not parse');
  });

  test('modules that load one another are reported once', () => {
    expect(
      check({
        'packages/lockd/src/a.ts': `import { type B } from './b.ts';`,
        'packages/lockd/src/b.ts': `import './c.ts';`,
        'packages/lockd/src/c.ts': `export * from './a.ts';`,
        'packages/lockd/src/d.ts': `import './d.ts';`,
      }),
    ).toEqual(['cycle packages/lockd/src/a.ts', 'cycle packages/lockd/src/d.ts']);
  });

  test('types may refer to one another within a folder, and not across folders', () => {
    const files = {
      'packages/lockd/src/a.ts': `import type { B } from './b.ts';`,
      'packages/lockd/src/b.ts': `import type { A } from './a.ts';`,
    };
    expect(check(files)).toEqual([]);
    const across = {
      'packages/lockd/src/b.ts': `import type { A } from './a.ts';\nexport type { C } from './other/c.ts';`,
      'packages/lockd/src/other/c.ts': `export type A = import('../a.ts').A;`,
    };
    expect(check({ ...files, ...across })).toEqual(['cycle packages/lockd/src/a.ts']);
  });

  const forbiddenTime: readonly string[] = [
    'export const now = Date.now();',
    'export const later = new Date();',
    'performance.now();',
    'globalThis.performance.now();',
    'setTimeout(() => {}, 1);',
    'setInterval(() => {}, 1);',
    'setImmediate(() => {});',
    'Math.random();',
    `Math['random']();`,
    'process.hrtime.bigint();',
    `import { setTimeout as sleep } from 'node:timers/promises';`,
    'const wait = { setTimeout };',
  ];
  test.each(forbiddenTime)('time and chance come in through clock.ts: %s', (text) => {
    expect(check({ 'packages/lockd/src/a.ts': text })).toEqual(['clock packages/lockd/src/a.ts']);
  });

  test('a package has one clock', () => {
    expect(check({ 'packages/lockd/src/clock.ts': '', 'packages/lockd/src/cli/clock.ts': '' })).toEqual([
      'one-clock packages/lockd/src/cli/clock.ts',
    ]);
  });

  test('a simulated clock is not a second one, and does not touch the real one', () => {
    const path = 'packages/lockd/src/testing/clock.ts';
    expect(check({ 'packages/lockd/src/clock.ts': '', [path]: '' })).toEqual([]);
    expect(check({ [path]: 'Date.now();' })).toEqual([`clock ${path}`]);
  });

  test('an exception holds for one name in one file, and not longer than it is needed', () => {
    const path = 'packages/lockd/src/a.ts';
    const exception = { path, name: 'Date', reason: 'shown to people' };
    expect(check({ [path]: 'new Date(0);' }, [exception])).toEqual([]);
    expect(check({ [path]: 'setImmediate(f);' }, [exception])).toEqual([`clock ${path}`, `unused-exception ${path}`]);
  });
});

describe('the search for leftovers', () => {
  const kinds = (path: string, text: string): string[] => findLeftovers(path, text).map(({ what }) => what);

  test('finds markers, machine paths, focused tests and prints', () => {
    expect(kinds('docs/a.md', 'first TODO: write this')).toEqual(['marker']);
    expect(kinds('packages/lockd/src/a.ts', '// FIXME later')).toEqual(['marker']);
    expect(kinds('docs/a.md', 'see `/home/somebody/x`')).toEqual(['machine path']);
    expect(kinds('packages/lockd/test/a.test.ts', 'test.only(name, run);')).toEqual(['only']);
    expect(kinds('packages/client/src/a.ts', 'console.log(1);')).toEqual(['console']);
  });

  test('leaves programs and relative paths alone', () => {
    expect(kinds('packages/lockd/src/cli/main.ts', 'console.log(1);')).toEqual([]);
    expect(kinds('bench/src/report.ts', 'console.log(1);')).toEqual([]);
    expect(kinds('docs/a.md', 'a framework/thing, docs/home/x, todos, ./home/y')).toEqual([]);
  });
});

function asLine({ rule, path, message }: Violation): string {
  return `${path}: ${rule}: ${message}`;
}
