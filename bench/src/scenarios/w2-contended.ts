import { LoadGenerator } from '../load/load-generator.ts';
import { jainFairness } from '../measure/statistics.ts';
import { formatCount, formatMillis, formatNumber } from '../report/format.ts';
import type { Table } from '../report/report.ts';
import type { RunningSystem } from '../systems/system.ts';
import { CONNECTIONS, type Context, freshPrefix, SESSION_TTL_MS, type Timing } from './context.ts';
import { cpuPerThousand, measure, medianOf, type Sample } from './measure.ts';
import { errorText, ratioCell } from './w1-uncontended.ts';

export interface W2Options extends Timing {
  readonly waiters: number;
}

export interface W2Cell {
  readonly system: string;
  readonly samples: readonly Sample[];
}

/** Before a system's first repeat: see `rampUp`. */
const FIRST_WARM_UP_MS = 3000;

/** W2: one name that everybody wants, handed from one to the next. */
export async function runW2(
  context: Context,
  systems: readonly RunningSystem[],
  options: W2Options,
): Promise<readonly W2Cell[]> {
  const cells = new Map(systems.map((system) => [system, [] as Sample[]]));
  for (let repeat = 1; repeat <= options.repeats; repeat++) {
    for (const [system, samples] of cells) {
      const load = new LoadGenerator();
      try {
        await load.connect(system.driver, {
          connections: CONNECTIONS,
          workers: options.waiters,
          usage: 'contended',
          ttlMs: SESSION_TTL_MS,
        });
        const workload = {
          type: 'contended',
          prefix: freshPrefix('w2'),
          workers: options.waiters,
          warmUpMs: options.warmUpMs,
          measureMs: options.measureMs,
        } as const;
        if (repeat === 1) await load.run({ ...workload, warmUpMs: 0, measureMs: FIRST_WARM_UP_MS });
        const sample = await measure(system, load, workload);
        samples.push(sample);
        context.log(
          `w2 ${repeat}/${options.repeats} ${system.name}: ${formatCount(sample.cyclesPerSecond)} hand-offs/s${errorText(sample.errors)}`,
        );
      } finally {
        await load.stop();
      }
    }
  }
  return [...cells].map(([system, samples]) => ({ system: system.name, samples }));
}

export function w2Table(cells: readonly W2Cell[], options: W2Options): Table {
  const ours = cells.find((cell) => cell.system === 'lockd');
  const comparing = cells.length > 1 && ours !== undefined;
  const rateOf = (cell: W2Cell): number | undefined => medianOf(cell.samples, (sample) => sample.cyclesPerSecond);
  return {
    title: `W2: one contended name, ${options.waiters} waiters`,
    columns: [
      'system',
      'hand-offs/s',
      'hand-off p50 ms',
      'p99 ms',
      'max ms',
      'Jain fairness',
      'CPU ms/grant, servers',
      'client',
      ...(comparing ? ['lockd is'] : []),
    ],
    rows: cells.map((cell) => [
      cell.system,
      formatCount(rateOf(cell)),
      formatMillis(medianOf(cell.samples, (sample) => sample.handOff?.p50)),
      formatMillis(medianOf(cell.samples, (sample) => sample.handOff?.p99)),
      formatMillis(medianOf(cell.samples, (sample) => sample.handOff?.max)),
      (medianOf(cell.samples, (sample) => jainFairness(sample.grantsByWorker ?? [])) ?? 0).toFixed(2),
      formatNumber(medianOf(cell.samples, (sample) => cpuPerThousand(sample, 'leader', 'follower', 'server'))),
      formatNumber(medianOf(cell.samples, (sample) => cpuPerThousand(sample, 'client'))),
      ...(comparing && ours !== undefined ? [ratioCell(cell.system, 'lockd', rateOf(ours), rateOf(cell))] : []),
    ]),
    notes: [
      'A hand-off is the time from the call of release to the next holder’s grant. Jain’s index over the waiters’ numbers of grants: 1 is even, 1/waiters is one taking all.',
    ],
  };
}
