import type { LoadGenerator } from '../load/load-generator.ts';
import type { Workload, WorkloadResult } from '../load/workload.ts';
import { Histogram, type HistogramSummary } from '../measure/histogram.ts';
import { CpuAccount, type ProcessCost } from '../measure/process-group.ts';
import { median } from '../measure/statistics.ts';
import type { RunningSystem } from '../systems/system.ts';

/** One repeat of one workload against one system. */
export interface Sample {
  readonly cyclesPerSecond: number;
  readonly cycles: number;
  /** Microseconds. */
  readonly acquire: HistogramSummary;
  readonly handOff?: HistogramSummary;
  readonly grantsByWorker?: readonly number[];
  readonly processes: readonly ProcessCost[];
  readonly errors: Readonly<Record<string, number>>;
}

/** Runs a workload with the accounting of all server processes and of the load generator. */
export async function measure(system: RunningSystem, load: LoadGenerator, workload: Workload): Promise<Sample> {
  const servers = await system.processes();
  const account = new CpuAccount([...servers, { role: 'client', name: 'client', pid: load.pid }]);
  // Workloads without a warm-up say no phases: then all of it is measured.
  let ended = false;
  account.begin();
  const result: WorkloadResult = await load.run(workload, (phase) => {
    ended = phase === 'measured';
    if (ended) account.end();
    else account.begin();
  });
  if (!ended) account.end();
  return {
    cyclesPerSecond: result.cycles / result.seconds,
    cycles: result.cycles,
    acquire: Histogram.fromData(result.acquire).summary(),
    ...(result.handOff === undefined ? {} : { handOff: Histogram.fromData(result.handOff).summary() }),
    ...(result.grantsByWorker === undefined ? {} : { grantsByWorker: result.grantsByWorker }),
    processes: account.costs(),
    errors: result.errors,
  };
}

/** CPU seconds per 1,000 cycles of all processes with a role; undefined where the accounting is missing. */
export function cpuPerThousand(sample: Sample, ...roles: readonly ProcessCost['role'][]): number | undefined {
  const chosen = sample.processes.filter((cost) => roles.includes(cost.role));
  if (chosen.length === 0 || sample.cycles === 0) return undefined;
  let sum = 0;
  for (const { cpuSeconds } of chosen) {
    if (cpuSeconds === undefined) return undefined;
    sum += cpuSeconds;
  }
  return (sum / sample.cycles) * 1000;
}

/** Largest resident memory among the processes with a role. */
export function largestRss(sample: Sample, ...roles: readonly ProcessCost['role'][]): number | undefined {
  const values = sample.processes.filter((cost) => roles.includes(cost.role)).map((cost) => cost.rssBytes ?? 0);
  return values.length === 0 ? undefined : Math.max(...values);
}

/** Median over the repeats in which the figure exists. */
export function medianOf(
  samples: readonly Sample[],
  figure: (sample: Sample) => number | undefined,
): number | undefined {
  const values = samples.map(figure).filter((value) => value !== undefined);
  return values.length === 0 ? undefined : median(values);
}

export function mergeErrors(samples: readonly Sample[]): Readonly<Record<string, number>> {
  const merged: Record<string, number> = {};
  for (const { errors } of samples)
    for (const [key, count] of Object.entries(errors)) merged[key] = (merged[key] ?? 0) + count;
  return merged;
}
