import { LoadGenerator } from '../load/load-generator.ts';
import { formatCount, formatMillis, formatNumber, formatRatio } from '../report/format.ts';
import type { Findings, Table } from '../report/report.ts';
import { type RunningLockd, startLockd } from '../systems/lockd-system.ts';
import { CONNECTIONS, type Context, freshPrefix, type Timing } from './context.ts';
import { cpuPerThousand, measure, medianOf, type Sample } from './measure.ts';
import { rampUp } from './w1-uncontended.ts';

export const DIMENSIONS = ['held locks', 'sessions', 'waiters', 'names', 'log entries'] as const;
export type Dimension = (typeof DIMENSIONS)[number];

export interface W6Options extends Timing {
  readonly nodes: number;
  /** Size at the first step; the next two are 10 and 100 times it. */
  readonly base: number;
  readonly dimensions: readonly Dimension[];
}

interface Step {
  readonly dimension: Dimension;
  readonly size: number;
  readonly samples: readonly Sample[];
}

const WORKERS = 64;
const TTL_MS = 3_600_000;

/**
 * W6: the same uncontended cycles while something else grows by 10 and by 100. What one operation costs must not
 * depend on how much there is.
 */
export async function runW6(context: Context, options: W6Options): Promise<Findings> {
  const steps: Step[] = [];
  for (const dimension of options.dimensions) {
    const cluster = await startLockd(context.scratch, { nodes: options.nodes });
    const background = new LoadGenerator();
    const load = new LoadGenerator();
    try {
      const connect = { connections: CONNECTIONS, usage: 'contended', ttlMs: TTL_MS } as const;
      await background.connect(cluster.driver, { ...connect, workers: 1024 });
      await load.connect(cluster.driver, { ...connect, workers: WORKERS });
      await rampUp(context, cluster, load);
      let reached = 0;
      for (const size of [options.base, options.base * 10, options.base * 100]) {
        await grow(cluster, background, load, dimension, reached, size);
        reached = size;
        const samples: Sample[] = [];
        for (let repeat = 0; repeat < options.repeats; repeat++) {
          samples.push(
            await measure(cluster, load, {
              type: 'cycles',
              prefix: freshPrefix('w6'),
              workers: WORKERS,
              warmUpMs: options.warmUpMs,
              measureMs: options.measureMs,
              ...(dimension === 'names' ? { namesPerWorker: Math.ceil(size / WORKERS) } : {}),
            }),
          );
        }
        const step = { dimension, size, samples };
        steps.push(step);
        context.log(
          `w6 ${formatCount(size)} ${dimension}: ${formatCount(medianOf(samples, (sample) => sample.cyclesPerSecond))} cycles/s`,
        );
      }
    } finally {
      await Promise.all([background.stop(), load.stop()]);
      await cluster.stop();
    }
  }
  const serverCpu = (step: Step): number | undefined =>
    medianOf(step.samples, (sample) => cpuPerThousand(sample, 'leader', 'follower'));
  const table: Table = {
    title: `W6: cost of a cycle at ${WORKERS} workers while something grows`,
    columns: [
      'what grows',
      'to',
      'cycles/s',
      'p50 ms',
      'p99 ms',
      'CPU ms/cycle, leader',
      'all servers',
      'to the first step',
    ],
    rows: steps.map((step) => {
      const first = steps.find((candidate) => candidate.dimension === step.dimension) as Step;
      const now = serverCpu(step);
      const then = serverCpu(first);
      return [
        step.dimension,
        formatCount(step.size),
        formatCount(medianOf(step.samples, (sample) => sample.cyclesPerSecond)),
        formatMillis(medianOf(step.samples, (sample) => sample.acquire.p50)),
        formatMillis(medianOf(step.samples, (sample) => sample.acquire.p99)),
        formatNumber(medianOf(step.samples, (sample) => cpuPerThousand(sample, 'leader'))),
        formatNumber(now),
        now === undefined || then === undefined ? '' : formatRatio(now / then),
      ];
    }),
    notes: ['The last column is the servers’ CPU per cycle in relation to the first step: it should stay near 1.'],
  };
  return { title: 'W6: growth', systems: [], tables: [table], charts: [], notes: [], data: steps };
}

async function grow(
  cluster: RunningLockd,
  background: LoadGenerator,
  load: LoadGenerator,
  dimension: Dimension,
  from: number,
  to: number,
): Promise<void> {
  const count = to - from;
  switch (dimension) {
    case 'held locks':
      await background.run({ type: 'hold', prefix: freshPrefix('w6'), count, inFlight: 1024 });
      return;
    case 'sessions':
      await background.run({ type: 'open-sessions', endpoints: cluster.endpoints, count, ttlMs: TTL_MS });
      return;
    case 'waiters':
      await background.run({ type: 'queue', prefix: freshPrefix('w6'), count });
      return;
    case 'names':
      // The measured cycles themselves go round so many names.
      return;
    case 'log entries': {
      // Two entries a cycle.
      const before = (await cluster.leader()).lastIndex;
      while ((await cluster.leader()).lastIndex - before < count)
        await load.run({ type: 'cycles', prefix: freshPrefix('w6'), workers: WORKERS, warmUpMs: 0, measureMs: 1000 });
    }
  }
}
