import { describe, expect, test } from 'vitest';
import { cpuBetween, parseProcStat, parsePs, readProcessUsage } from '../src/measure/process-cpu.ts';

describe('/proc/<pid>/stat', () => {
  const line = (command: string): string =>
    `4711 (${command}) S 1 4711 4711 0 -1 4194560 1000 0 0 0 250 50 0 0 20 0 11 0 12345 1000000000 2560 18446744073709551615 1 1 0 0 0 0 0`;

  test('gives user and system time together, and resident pages', () => {
    expect(parseProcStat(line('node'), 100, 4096)).toEqual({ cpuSeconds: 3, rssBytes: 2560 * 4096 });
  });

  test('is read right although a command may hold spaces and parentheses', () => {
    expect(parseProcStat(line('a (b) c) S 9'), 100, 4096)).toEqual(parseProcStat(line('node'), 100, 4096));
  });

  test('of another shape is refused', () => {
    expect(() => parseProcStat('4711 (node) S 1', 100, 4096)).toThrow('not a line');
  });
});

describe('ps', () => {
  test.each([
    ['  0:01.50  2048\n', 1.5, 2048 * 1024],
    ['12:34.00 10\n', 754, 10 * 1024],
    ['01:02:03 1\n', 3723, 1024],
    ['2-00:00:01 1\n', 172_801, 1024],
  ])('%j', (output, cpuSeconds, rssBytes) => {
    expect(parsePs(output)).toEqual({ cpuSeconds, rssBytes });
  });

  test('of another shape is refused', () => {
    expect(() => parsePs('')).toThrow('not an answer');
  });
});

describe('a running process', () => {
  test('is charged for work', () => {
    const before = readProcessUsage(process.pid);
    const begun = process.cpuUsage();
    // Not by a clock: on a busy machine this process may get little of it.
    while (process.cpuUsage(begun).user < 100_000);
    const after = readProcessUsage(process.pid);
    expect(cpuBetween(before, after)).toBeGreaterThan(0.05);
    expect(after?.rssBytes).toBeGreaterThan(1024 * 1024);
  });

  test('that is gone has no figures', () => {
    expect(readProcessUsage(2 ** 22 + 7)).toBeUndefined();
    expect(cpuBetween(undefined, readProcessUsage(process.pid))).toBeUndefined();
  });
});
