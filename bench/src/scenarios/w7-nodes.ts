import type { Findings } from '../report/report.ts';
import { startLockd } from '../systems/lockd-system.ts';
import type { Context } from './context.ts';
import { runW1, type W1Cell, type W1Options, w1Chart, w1Tables } from './w1-uncontended.ts';

export interface W7Options extends W1Options {
  readonly sizes: readonly number[];
}

/** W7: W1 on clusters of several sizes, one after the other: on one machine they would take each other's cores. */
export async function runW7(context: Context, options: W7Options): Promise<Findings> {
  const cells: W1Cell[] = [];
  for (const nodes of options.sizes) {
    const cluster = await startLockd(context.scratch, { nodes });
    try {
      cells.push(...(await runW1(context, [{ ...cluster, name: `${nodes} nodes` }], options)));
    } finally {
      await cluster.stop();
    }
  }
  return {
    title: `W7: ${options.sizes.join(', ')} nodes`,
    systems: [],
    tables: w1Tables(cells, options).map((table) => ({
      ...table,
      title: table.title.replace('W1', 'W7, W1 by size of the cluster'),
    })),
    charts: [w1Chart(cells)],
    notes: ['All nodes share this machine’s cores: more nodes mean less CPU for each.'],
    data: cells,
  };
}
