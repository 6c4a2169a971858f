import type { Findings, Table } from './report/report.ts';
import { type Context, startSystems, stopSystems } from './scenarios/context.ts';
import { runW1, type W1Options, w1Chart, w1Tables } from './scenarios/w1-uncontended.ts';
import { runW2, type W2Options, w2Table } from './scenarios/w2-contended.ts';
import { runW3, type W3Options, w3Table } from './scenarios/w3-leader-kill.ts';
import type { LockSystem } from './systems/system.ts';

export interface CompareOptions {
  readonly title: string;
  readonly w1?: W1Options;
  readonly w2?: W2Options;
  readonly w3?: W3Options;
}

/** Runs the asked workloads against all systems that can be started here, all within one run and taking turns. */
export async function compare(
  context: Context,
  systems: readonly LockSystem[],
  options: CompareOptions,
): Promise<Findings> {
  const { running, skipped } = await startSystems(context, systems);
  try {
    const tables: Table[] = [];
    const w1 = options.w1 === undefined ? undefined : await runW1(context, running, options.w1);
    if (w1 !== undefined && options.w1 !== undefined) tables.push(...w1Tables(w1, options.w1));
    const w2 = options.w2 === undefined ? undefined : await runW2(context, running, options.w2);
    if (w2 !== undefined && options.w2 !== undefined) tables.push(w2Table(w2, options.w2));
    const w3 = options.w3 === undefined ? undefined : await runW3(context, running, options.w3);
    if (w3 !== undefined && options.w3 !== undefined && w3.length > 0) tables.push(w3Table(w3, options.w3));
    return {
      title: options.title,
      systems: running.map(({ name, version }) => ({
        name,
        version,
        description: systems.find((system) => system.name === name)?.description ?? '',
      })),
      tables,
      charts: w1 === undefined ? [] : [w1Chart(w1)],
      notes: skipped,
      data: { w1, w2, w3 },
    };
  } finally {
    await stopSystems(running);
  }
}
