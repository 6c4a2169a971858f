import { LoadGenerator } from '../load/load-generator.ts';
import { spreadPercent } from '../measure/statistics.ts';
import type { Chart } from '../report/chart.ts';
import { formatCount, formatMebibytes, formatMillis, formatNumber, formatRatio } from '../report/format.ts';
import type { Table } from '../report/report.ts';
import type { RunningSystem } from '../systems/system.ts';
import { CONNECTIONS, type Context, freshPrefix, SESSION_TTL_MS, type Timing } from './context.ts';
import { cpuPerThousand, largestRss, measure, medianOf, mergeErrors, type Sample } from './measure.ts';

export interface W1Options extends Timing {
  readonly workers: readonly number[];
  /** Open loop: cycles a second for each measurement. */
  readonly ratePerSecond?: number;
  readonly connections?: number;
  /** Flags for the load generator's `node`. */
  readonly loadNodeOptions?: readonly string[];
}

/** All repeats of one system at one number of workers. */
export interface W1Cell {
  readonly system: string;
  readonly workers: number;
  readonly samples: readonly Sample[];
}

/**
 * W1: acquire and release of names nobody else wants. Systems take turns within each repeat, so that what disturbs
 * the machine for a while disturbs all of them.
 */
export async function runW1(
  context: Context,
  systems: readonly RunningSystem[],
  options: W1Options,
): Promise<readonly W1Cell[]> {
  const most = Math.max(...options.workers);
  const loads = new Map<RunningSystem, LoadGenerator>();
  const cells = new Map<string, { system: string; workers: number; samples: Sample[] }>();
  try {
    for (const system of systems) {
      const load = new LoadGenerator(options.loadNodeOptions);
      loads.set(system, load);
      await load.connect(system.driver, {
        connections: options.connections ?? CONNECTIONS,
        workers: most,
        usage: 'uncontended',
        ttlMs: SESSION_TTL_MS,
      });
    }
    for (const [system, load] of loads) await rampUp(context, system, load);
    for (let repeat = 1; repeat <= options.repeats; repeat++) {
      for (const workers of options.workers) {
        for (const [system, load] of loads) {
          const sample = await measure(system, load, {
            type: 'cycles',
            prefix: freshPrefix('w1'),
            workers,
            warmUpMs: options.warmUpMs,
            measureMs: options.measureMs,
            ...(options.ratePerSecond === undefined ? {} : { ratePerSecond: options.ratePerSecond }),
          });
          context.log(
            `w1 ${repeat}/${options.repeats} ${system.name}, ${workers} worker${workers === 1 ? '' : 's'}: ` +
              `${formatCount(sample.cyclesPerSecond)} cycles/s, p50 ${formatMillis(sample.acquire.p50)} ms` +
              errorText(sample.errors),
          );
          const key = `${system.name} ${workers}`;
          const cell = cells.get(key) ?? { system: system.name, workers, samples: [] };
          cell.samples.push(sample);
          cells.set(key, cell);
        }
      }
    }
  } finally {
    await Promise.all([...loads.values()].map((load) => load.stop()));
  }
  return [...cells.values()].sort((a, b) => a.workers - b.workers);
}

const RAMP_UP_WORKERS = 64;
const RAMP_UP_MS = 10_000;

/**
 * Load that is not measured, for servers and load generator alike: code that a virtual machine has not compiled yet
 * takes several times as long, and the first figures taken would be of that.
 */
export async function rampUp(context: Context, system: RunningSystem, load: LoadGenerator): Promise<void> {
  context.log(`warming up ${system.name} …`);
  await load.run({
    type: 'cycles',
    prefix: freshPrefix('warm-up'),
    workers: RAMP_UP_WORKERS,
    warmUpMs: 0,
    measureMs: RAMP_UP_MS,
  });
}

export function errorText(errors: Readonly<Record<string, number>>): string {
  const entries = Object.entries(errors);
  return entries.length === 0 ? '' : ` (errors: ${entries.map(([key, count]) => `${count} × ${key}`).join(', ')})`;
}

export function w1Tables(cells: readonly W1Cell[], options: W1Options): readonly Table[] {
  const names = new Set(cells.map((cell) => cell.system));
  const reference = names.has('lockd') && names.size > 1 ? 'lockd' : undefined;
  const loop =
    options.ratePerSecond === undefined
      ? 'Closed loop: acquire is the time one request took.'
      : `Open loop at ${formatCount(options.ratePerSecond)} cycles/s: acquire counts from the instant the request was due.`;
  return [
    {
      title: 'W1: acquire + release, uncontended',
      columns: [
        'system',
        'workers',
        'cycles/s',
        'spread',
        'p50 ms',
        'p99 ms',
        'p99.9 ms',
        'max ms',
        ...(reference === undefined ? [] : ['lockd is']),
        'errors',
      ],
      rows: cells.map((cell) => {
        const rate = medianOf(cell.samples, (sample) => sample.cyclesPerSecond);
        const ours = cells.find((other) => other.system === reference && other.workers === cell.workers);
        const ourRate = ours === undefined ? undefined : medianOf(ours.samples, (sample) => sample.cyclesPerSecond);
        return [
          cell.system,
          String(cell.workers),
          formatCount(rate),
          `${spreadPercent(cell.samples.map((sample) => sample.cyclesPerSecond)).toFixed(0)} %`,
          formatMillis(medianOf(cell.samples, (sample) => sample.acquire.p50)),
          formatMillis(medianOf(cell.samples, (sample) => sample.acquire.p99)),
          formatMillis(medianOf(cell.samples, (sample) => sample.acquire.p999)),
          formatMillis(Math.max(...cell.samples.map((sample) => sample.acquire.max))),
          ...(reference === undefined ? [] : [ratioCell(cell.system, reference, ourRate, rate)]),
          formatCount(Object.values(mergeErrors(cell.samples)).reduce((sum, count) => sum + count, 0)),
        ];
      }),
      notes: [
        `Medians of ${options.repeats} interleaved repeats of ${options.measureMs / 1000} s over ${options.connections ?? CONNECTIONS} connections; max is the largest of all repeats; spread is (largest − smallest) / median of cycles/s. Before the first, ${RAMP_UP_MS / 1000} s of load at ${RAMP_UP_WORKERS} workers were not measured. ${loop}`,
      ],
    },
    {
      title: 'W1: CPU seconds per 1,000 cycles, by process (= ms of CPU a cycle)',
      columns: [
        'system',
        'workers',
        'leader',
        'followers, each',
        'all servers',
        'client',
        'RSS servers, largest MiB',
        'RSS client MiB',
      ],
      rows: cells.map((cell) => {
        const followers = cell.samples[0]?.processes.filter((cost) => cost.role === 'follower').length ?? 0;
        const each = medianOf(cell.samples, (sample) => cpuPerThousand(sample, 'follower'));
        return [
          cell.system,
          String(cell.workers),
          formatNumber(medianOf(cell.samples, (sample) => cpuPerThousand(sample, 'leader'))),
          formatNumber(each === undefined || followers === 0 ? undefined : each / followers),
          formatNumber(medianOf(cell.samples, (sample) => cpuPerThousand(sample, 'leader', 'follower', 'server'))),
          formatNumber(medianOf(cell.samples, (sample) => cpuPerThousand(sample, 'client'))),
          formatMebibytes(medianOf(cell.samples, (sample) => largestRss(sample, 'leader', 'follower', 'server'))),
          formatMebibytes(medianOf(cell.samples, (sample) => largestRss(sample, 'client'))),
        ];
      }),
      notes: ['From the operating system’s own accounting of each process over the measured time; RSS at its end.'],
    },
  ];
}

export function ratioCell(
  system: string,
  reference: string,
  ours: number | undefined,
  theirs: number | undefined,
): string {
  return system === reference || ours === undefined || theirs === undefined ? '' : formatRatio(ours / theirs);
}

export function w1Chart(cells: readonly W1Cell[]): Chart {
  const workers = [...new Set(cells.map((cell) => cell.workers))];
  const systems = [...new Set(cells.map((cell) => cell.system))];
  return {
    title: 'Uncontended acquire + release, by number of workers',
    unit: 'cycles/s',
    scale: 'log',
    labels: workers.map((count) => `${count} worker${count === 1 ? '' : 's'}`),
    series: systems.map((name) => ({
      name,
      values: workers.map((count) => {
        const cell = cells.find((candidate) => candidate.system === name && candidate.workers === count);
        return cell === undefined ? undefined : medianOf(cell.samples, (sample) => sample.cyclesPerSecond);
      }),
    })),
  };
}
