import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Machine } from '../src/measure/machine.ts';
import { chartToSvg } from '../src/report/chart.ts';
import { formatCount, formatMillis, formatNumber, formatRatio } from '../src/report/format.ts';
import { reportToMarkdown, tableToMarkdown } from '../src/report/markdown.ts';
import type { Report } from '../src/report/report.ts';
import { saveReport } from '../src/report/save.ts';
import { w1Tables } from '../src/scenarios/w1-uncontended.ts';

const machine: Machine = {
  cores: 2,
  cpuModel: 'a processor',
  memoryBytes: 8 * 2 ** 30,
  kernel: 'linux 6.1',
  node: 'v20.19.0',
  fileSystem: 'ext4',
  syncMicros: 195,
  loadAverage: 0.25,
  commit: '0123456789',
};

const report: Report = {
  title: 'A run',
  machine,
  date: '2026-11-23T00:00:00Z',
  seconds: 12.3,
  systems: [{ name: 'lockd', version: 'this checkout', description: '3 nodes' }],
  tables: [
    {
      title: 'A table',
      columns: ['what', 'value'],
      rows: [
        ['a|b', '1'],
        ['longer', '23'],
      ],
    },
  ],
  charts: [
    {
      title: 'A <chart>',
      unit: 'cycles/s',
      scale: 'log',
      labels: ['1 worker'],
      series: [
        { name: 'lockd', values: [1100] },
        { name: 'none', values: [undefined] },
      ],
    },
  ],
  notes: ['a note'],
  data: { figure: 1 },
};

describe('figures', () => {
  test.each([
    [12_345.6, '12,346'],
    [12.345, '12.3'],
    [0.01234, '0.0123'],
    [0, '0'],
    [undefined, '–'],
    [Number.NaN, '–'],
  ])('%s is shown as %s', (value, text) => {
    expect(formatNumber(value)).toBe(text);
  });

  test('that were not measured are a dash in every form', () => {
    expect([formatCount(undefined), formatMillis(undefined), formatRatio(undefined)]).toEqual(['–', '–', '–']);
  });
});

test('a table is aligned Markdown, with bars in cells escaped', () => {
  expect(tableToMarkdown(report.tables[0] as Report['tables'][number])).toBe(
    ['### A table', '', '| what   | value |', '| ------ | ----: |', '| a\\|b   |     1 |', '| longer |    23 |'].join(
      '\n',
    ),
  );
});

test('a report names machine, commit, versions and notes', () => {
  const text = reportToMarkdown(report, ['a.svg']);
  for (const part of [
    '2 cores (a processor)',
    'fdatasync 195 µs',
    'commit 0123456789',
    '**lockd** (this checkout)',
    'a note',
    '](a.svg)',
  ])
    expect(text).toContain(part);
});

describe('a chart', () => {
  test('is one SVG without anything from outside, its texts escaped', () => {
    const svg = chartToSvg(report.charts[0] as Report['charts'][number]);
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
    expect(svg).toContain('A &lt;chart&gt;');
    expect(svg).not.toMatch(/<script|href/);
  });

  test('has no bar where nothing was measured', () => {
    const bars = chartToSvg(report.charts[0] as Report['charts'][number]).match(/<rect[^>]*><title>/g) ?? [];
    expect(bars).toHaveLength(1);
  });

  test('draws a larger value higher', () => {
    const heights = [
      ...chartToSvg({
        ...report.charts[0],
        scale: 'linear',
        labels: ['a', 'b'],
        series: [{ name: 's', values: [1, 4] }],
      } as Report['charts'][number]).matchAll(/height="([\d.]+)" fill="#0072b2"><title>/g),
    ].map((match) => Number(match[1]));
    expect(heights[1]).toBeCloseTo((heights[0] as number) * 4, 0);
  });
});

describe('saving', () => {
  let directory = '';
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lockd-bench-test-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  test('writes Markdown, the figures before rounding, and the chart', () => {
    expect(saveReport(report, 'peers', directory)).toEqual(['peers.md', 'peers.json', 'peers.svg']);
    expect(readdirSync(directory).sort()).toEqual(['peers.json', 'peers.md', 'peers.svg']);
    expect(JSON.parse(readFileSync(join(directory, 'peers.json'), 'utf8'))).toEqual(JSON.parse(JSON.stringify(report)));
    expect(readFileSync(join(directory, 'peers.md'), 'utf8')).toContain('](peers.svg)');
  });

  test('takes a plain name only', () => {
    for (const name of ['../peers', 'a/b', '', '.hidden'])
      expect(() => saveReport(report, name, directory)).toThrow(RangeError);
  });
});

test('W1 relates every system to lockd at the same number of workers, and counts CPU by process', () => {
  const acquire = { count: 1, mean: 1000, p50: 1000, p99: 2000, p999: 3000, max: 4000 };
  const sample = (cyclesPerSecond: number) => ({
    cyclesPerSecond,
    cycles: cyclesPerSecond * 5,
    acquire,
    processes: [
      { role: 'leader', name: 'n1', cpuSeconds: 2, rssBytes: 2 ** 20 },
      { role: 'follower', name: 'n2', cpuSeconds: 1, rssBytes: 2 ** 21 },
      { role: 'follower', name: 'n3', cpuSeconds: 1, rssBytes: 2 ** 20 },
      { role: 'client', name: 'client', cpuSeconds: 0.5, rssBytes: 2 ** 20 },
    ] as const,
    errors: {},
  });
  const cells = [
    { system: 'lockd', workers: 1, samples: [sample(1000), sample(1200), sample(900)] },
    { system: 'etcd', workers: 1, samples: [sample(500)] },
  ];
  const [rates, cpu] = w1Tables(cells, { repeats: 3, warmUpMs: 1, measureMs: 5000, workers: [1] });
  expect(rates?.rows[0]?.slice(0, 5)).toEqual(['lockd', '1', '1,000', '30 %', '1.00']);
  expect(rates?.rows[1]?.[8]).toBe('2.00×');
  // 2, 1 and 1 seconds over 5,000 cycles (the median sample).
  expect(cpu?.rows[0]?.slice(2, 6)).toEqual(['0.400', '0.200', '0.800', '0.100']);
});
