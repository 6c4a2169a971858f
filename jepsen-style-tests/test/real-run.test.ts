import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import type { Verdict } from '../src/checker/verdict.ts';
import { judgeControl } from '../src/control/control.ts';
import { etcdVersion } from '../src/control/etcd-cluster.ts';
import { PLANTED_IN_NODES } from '../src/jepsen/planted-bugs.ts';
import { applyEdits } from '../src/sim/planted/edit.ts';

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
      ...['--seconds', '15', '--seed', '20261123', '--out', out],
      ...['--faults', 'kill-leader,isolate-leader,members,freeze-holder,cut-acks'],
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

test.skipIf(!existsSync(main))(
  "the positive control sees what frozen holders of etcd's locks do, or says that there is no etcd",
  async () => {
    const { code, text } = await run([
      '--control',
      'etcd',
      '--seconds',
      '14',
      '--seed',
      '7',
      '--out',
      join(out, 'etcd'),
    ]);
    if (etcdVersion() === undefined) {
      expect({ code, text }).toEqual({ code: 2, text: expect.stringContaining('skipped: etcd is not installed') });
      return;
    }
    expect({ code, text: code === 0 ? '' : text }).toEqual({ code: 0, text: '' });
    expect(text).toContain('FAIL  told before lost');
    expect(text).toContain('the harness sees it');
  },
  120_000,
);

describe('a bug planted in real nodes', () => {
  test.each(PLANTED_IN_NODES)('$name fits the code as it is built', ({ edits }) => {
    const packages = fileURLToPath(new URL('../../packages/', import.meta.url));
    for (const edit of edits) {
      const built = readFileSync(`${packages}${edit.module}.js`, 'utf8');
      expect(applyEdits(built, [edit])).not.toBe(built);
    }
  });

  test('is seen: a waiter that goes to the front of the queue', async () => {
    const [planted] = PLANTED_IN_NODES;
    const { code, text } = await run([
      ...['--planted', String(planted?.name), '--seconds', '6', '--seed', '1', '--out', join(out, 'planted')],
      ...['--workload', 'fifo'],
    ]);
    expect(text).toContain(`FAIL  ${planted?.check}`);
    expect(code).toBe(1);
  }, 120_000);
});

test('a control that sees nothing, or too little, is no success', () => {
  const verdict = (check: string, outcome: Verdict['outcome']): Verdict => ({
    check,
    outcome,
    summary: '',
    judged: 1,
    failures: [],
  });
  const seen = [
    verdict('unfenced set shows the anomaly', 'pass'),
    verdict('told before lost', 'fail'),
    verdict('fenced set', 'pass'),
  ];
  expect(judgeControl(seen, 4).outcome).toBe('shown');
  expect(judgeControl(seen, 3).outcome).toBe('too-little');
  expect(judgeControl([verdict('told before lost', 'pass'), ...seen], 9)).toEqual({
    outcome: 'not-shown',
    text: 'the harness is blind: no holder was seen that believed in a lost lock',
  });
});

test.skipIf(!existsSync(main))('a history that must not be is rejected from the command line too', async () => {
  const bad = fileURLToPath(new URL('./known-bad/linearizability--two-holders.jsonl', import.meta.url));
  const { code, text } = await run(['--check', bad]);
  expect(code).toBe(1);
  expect(text).toContain('had k at the same time');
});
