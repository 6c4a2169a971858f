import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { FakeClock, fakeTimeLibrary } from '../src/cluster/fake-clock.ts';
import { readJsonLines } from '../src/cluster/json-lines.ts';
import { CLOCK_FAULTS } from '../src/nemesis/clock-faults.ts';
import type { FaultContext } from '../src/nemesis/fault.ts';

const directory = mkdtempSync(join(tmpdir(), 'lockd-clock-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test('an offset stands in the file as the library reads it', () => {
  const file = join(directory, 'offsets');
  const clock = new FakeClock('/lib.so', file);
  const read = (): string => readFileSync(file, 'utf8');
  expect(read()).toBe('+0\n');
  clock.jumpTo(3_600_500);
  expect(read()).toBe('+3600.5\n');
  clock.jumpTo(-5000);
  expect(read()).toBe('-5\n');
});

test('where there is no library the faults say so', () => {
  const context = { hasFakeClocks: false } as FaultContext;
  for (const fault of CLOCK_FAULTS) expect(fault.unavailable?.(context)).toContain('libfaketime is not installed');
});

test('of a process with such a clock the wall clock jumps, and the monotonic one does not', async () => {
  const library = fakeTimeLibrary();
  // Without the library there is nothing to claim: the faults are skipped.
  if (library === undefined) return;
  const clock = new FakeClock(library, join(directory, 'process'));
  const script = "process.stdin.on('data', () => console.log(JSON.stringify([Date.now(), performance.now()])))";
  const child = spawn(process.execPath, ['-e', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...clock.environment },
  });
  const ask = async (): Promise<readonly [wallMs: number, monotonicMs: number]> => {
    const answer = new Promise<readonly [number, number]>((resolve) => (onAnswer = resolve));
    child.stdin.write('?');
    return answer;
  };
  let onAnswer: (answer: readonly [number, number]) => void = () => {};
  readJsonLines(child.stdout, (value) => onAnswer(value as readonly [number, number]));
  const [wallBefore, monotonicBefore] = await ask();
  clock.jumpTo(7_200_000);
  const [wallAfter, monotonicAfter] = await ask();
  const elapsedMs = monotonicAfter - monotonicBefore;
  expect(elapsedMs).toBeLessThan(60_000);
  expect(Math.abs(wallAfter - wallBefore - 7_200_000 - elapsedMs)).toBeLessThan(60_000);
  child.stdin.end();
  child.kill();
  await once(child, 'exit');
});
