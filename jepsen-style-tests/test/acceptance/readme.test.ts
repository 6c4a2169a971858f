import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { freePorts } from '../../src/cluster/cluster.ts';
import { Random } from '../../src/random.ts';
import { LOCKD_BIN, withRealCluster } from '../support/real-cluster.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');
const NODE_README = readFileSync(join(ROOT, 'packages/lockd/README.md'), 'utf8');

// Not the synchronous form: the links between the nodes run in this process.
const execute = promisify(execFile);

/** The first fenced block of this language. */
function block(language: string, containing: string, page: string = README): string {
  const blocks = [...page.matchAll(/```(\w+)\n([\s\S]*?)```/g)].filter((match) => match[1] === language);
  const found = blocks.map((match) => match[2] as string).find((text) => text.includes(containing));
  if (found === undefined) throw new Error(`no ${language} block with ${containing}`);
  return found;
}

describe('the README, as written', () => {
  test('its SDK snippet and its commands work against a running cluster', async () => {
    await withRealCluster(async ({ endpoints }) => {
      // Only the addresses differ: a test cannot count on the default ports.
      const snippet = block('js', 'withLock').replace(
        /endpoints: \[[^\]]*\]/,
        `endpoints: ${JSON.stringify(endpoints)}`,
      );
      const file = join(ROOT, `try-${process.pid}.mjs`);
      writeFileSync(file, snippet);
      try {
        const { stdout } = await execute(process.execPath, [file]);
        expect(stdout).toMatch(/holding invoice:7 with token \d+/);
        expect(stdout).toMatch(/got it for another \d+ s/);
      } finally {
        rmSync(file);
      }

      const env = { ...process.env, LOCKD_ENDPOINTS: endpoints.join(',') };
      const commands = block('sh', 'lockd.js run').trim().split('\n');
      const said: string[] = [];
      for (const command of commands) {
        const { stdout } = await execute('sh', ['-c', command.replace('sleep 5', 'sleep 0')], { cwd: ROOT, env });
        said.push(stdout);
      }
      expect(said[0]).toMatch(/leads in term \d+/);
      expect(said[1]).toMatch(/I hold nightly-report with token \d+/);
      expect(said[2]).toBe('nobody else does\n');
    });
  }, 60_000);

  test('a node inside an application, as the page of the package shows it, serves a client', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'lockd-embedded-'));
    const ports = await freePorts(6, new Random(process.pid * 31));
    // Only addresses and directory differ. Beside the package's own sources both imports mean what they mean to a user.
    const written = new Map(['7101', '7102', '7103', '7201', '7202', '7203'].map((port, at) => [port, `${ports[at]}`]));
    const snippet = block('js', 'createNode', NODE_README)
      .replaceAll(/\b7[12]0[123]\b/g, (port) => written.get(port) as string)
      .replace('./data', directory);
    const file = join(ROOT, `packages/lockd/try-${process.pid}.mjs`);
    writeFileSync(file, snippet);
    try {
      const { stdout } = await execute(process.execPath, [file]);
      expect(stdout).toMatch(/^holding report with token \d+$/m);
    } finally {
      rmSync(file);
      rmSync(directory, { recursive: true });
    }
  }, 60_000);

  test('names the binary that the tests run', () => {
    expect(README).toContain('packages/lockd/bin/lockd.js');
    expect(LOCKD_BIN).toContain('packages/lockd/bin/lockd.js');
  });
});
