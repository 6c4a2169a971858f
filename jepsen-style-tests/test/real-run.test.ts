import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const main = fileURLToPath(new URL('../dist/jepsen/main.js', import.meta.url));
const out = mkdtempSync(join(tmpdir(), 'lockd-jepsen-'));
afterAll(() => rmSync(out, { recursive: true, force: true }));

/** Whatever it prints, and how it ended. */
function run(args: readonly string[]): Promise<{ readonly code: number | null; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.once('error', reject);
    child.once('exit', (code) => resolve({ code, text }));
  });
}

// Needs the build: the run starts nodes and clients as processes of their own.
test.skipIf(!existsSync(main))(
  'a short run with real processes is clean, and leaves histories and a report',
  async () => {
    const { code, text } = await run([
      ...['--seconds', '12', '--seed', '20261123', '--out', out],
      ...['--faults', 'kill-leader,isolate-leader,freeze-holder,cut-acks'],
    ]);
    expect(text).toMatch(/^seed 20261123\n/);
    expect({ code, text: code === 0 ? '' : text }).toEqual({ code: 0, text: '' });
    const files = readdirSync(out);
    expect(files).toEqual(expect.arrayContaining(['history-exclusive.jsonl', 'history-fifo.jsonl', 'report.html']));
    expect(readFileSync(join(out, 'report.html'), 'utf8')).toContain('CLEAN');
    const checked = await run(['--check', join(out, 'history-exclusive.jsonl')]);
    expect(checked.code).toBe(0);
  },
  120_000,
);

test.skipIf(!existsSync(main))('a history that must not be is rejected from the command line too', async () => {
  const bad = fileURLToPath(new URL('./known-bad/linearizability--two-holders.jsonl', import.meta.url));
  const { code, text } = await run(['--check', bad]);
  expect(code).toBe(1);
  expect(text).toContain('had k at the same time');
});
