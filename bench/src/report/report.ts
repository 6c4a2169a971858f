import type { Machine } from '../measure/machine.ts';
import type { Chart } from './chart.ts';

export interface Table {
  readonly title: string;
  readonly columns: readonly string[];
  /** Cells as text, one per column. A figure that was not measured is a dash, never a guess. */
  readonly rows: readonly (readonly string[])[];
  /** What a reader must know to read the columns. */
  readonly notes?: readonly string[];
}

/** All that one run of the bench has to say: for the terminal, for `-o json`, and for bench/results. */
export interface Report {
  readonly title: string;
  readonly machine: Machine;
  /** When the run began, ISO 8601, UTC. */
  readonly date: string;
  readonly seconds: number;
  readonly systems: readonly { readonly name: string; readonly version: string; readonly description: string }[];
  readonly tables: readonly Table[];
  readonly charts: readonly Chart[];
  readonly notes: readonly string[];
  /** The figures before rounding, in a shape of the scenario's own. */
  readonly data: unknown;
}

/** What a scenario returns; the rest of the report is the same for all of them. */
export type Findings = Pick<Report, 'title' | 'systems' | 'tables' | 'charts' | 'notes' | 'data'>;

export const ABSENT = '–';
