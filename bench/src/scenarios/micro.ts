import { codecCases } from '../micro/codec-cases.ts';
import { coreCases } from '../micro/core-cases.ts';
import { type MicroCase, type MicroOptions, runMicro } from '../micro/harness.ts';
import { lockTableCases } from '../micro/lock-table-cases.ts';
import { storageCases } from '../micro/storage-cases.ts';
import { formatCount, formatNumber } from '../report/format.ts';
import type { Findings } from '../report/report.ts';
import type { Context } from './context.ts';

export interface MicroScenarioOptions extends MicroOptions {
  /** Only cases whose name contains this. */
  readonly only?: string;
}

/** All hot paths that are measured by themselves. `directory` is where those that need a disk may write. */
export function microCases(directory: string): readonly MicroCase[] {
  return [...codecCases(), ...coreCases(), ...lockTableCases(), ...storageCases(directory)];
}

export async function runMicroScenario(context: Context, options: MicroScenarioOptions): Promise<Findings> {
  const cases = microCases(context.scratch.make('micro')).filter(({ name }) => name.includes(options.only ?? ''));
  const results = await runMicro(cases, options);
  return {
    title: 'Micro-benchmarks',
    systems: [],
    tables: [
      {
        title: 'Hot paths by themselves',
        columns: ['path', 'ns an operation, median', 'smallest', 'operations'],
        rows: results.map((result) => [
          result.name,
          formatNumber(result.nanosMedian),
          formatNumber(result.nanosMin),
          formatCount(result.operations),
        ]),
        notes: [
          `${options.samples} samples of ${formatCount(options.operations)} operations, taking turns, in one warm process.`,
        ],
      },
    ],
    charts: [],
    notes: [],
    data: results,
  };
}
