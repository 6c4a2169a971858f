import { LoadGenerator } from '../load/load-generator.ts';
import type { GapReport } from '../load/workload.ts';
import { median } from '../measure/statistics.ts';
import { pause, waitUntil } from '../processes/children.ts';
import { formatCount } from '../report/format.ts';
import type { Table } from '../report/report.ts';
import type { RunningSystem, ServerProcess } from '../systems/system.ts';
import { CONNECTIONS, type Context, freshPrefix, SESSION_TTL_MS } from './context.ts';
import { errorText } from './w1-uncontended.ts';

export interface W3Options {
  readonly kills: number;
  readonly workers: number;
}

export interface W3Cell {
  readonly system: string;
  readonly gapsMs: readonly number[];
}

/** A worker whose request has had no answer for so long turns to another name: without it etcd's clients wait 7 s. */
export const PATIENCE_MS = 500;
const RECOVERY_DEADLINE_MS = 60_000;

/** W3: kill -9 of the leader under load: how long was nobody granted anything? */
export async function runW3(
  context: Context,
  systems: readonly RunningSystem[],
  options: W3Options,
): Promise<readonly W3Cell[]> {
  const cells: W3Cell[] = [];
  for (const system of systems) {
    if (system.restart === undefined) continue;
    const gapsMs: number[] = [];
    const load = new LoadGenerator();
    try {
      await load.connect(system.driver, {
        connections: CONNECTIONS,
        workers: options.workers,
        usage: 'uncontended',
        ttlMs: SESSION_TTL_MS,
      });
      await load.run({
        type: 'watch-gaps',
        prefix: freshPrefix('w3'),
        workers: options.workers,
        patienceMs: PATIENCE_MS,
      });
      for (let kill = 1; kill <= options.kills; kill++) {
        const leader = await findLeader(system);
        await pause(1000);
        const gap = await gapOf(load, () => void process.kill(leader.pid, 'SIGKILL'));
        gapsMs.push(gap.longestGapMs);
        context.log(
          `w3 ${kill}/${options.kills} ${system.name}: ${formatCount(gap.longestGapMs)} ms without a grant after kill -9 of ${leader.name}${errorText(gap.errors)}`,
        );
        await system.restart(leader.name);
      }
      await load.finish();
    } finally {
      await load.stop();
    }
    cells.push({ system: system.name, gapsMs });
  }
  return cells;
}

/** The leader's process; waits for one. */
export async function findLeader(system: RunningSystem): Promise<ServerProcess> {
  let leader: ServerProcess | undefined;
  await waitUntil(
    `a leader of ${system.name}`,
    async () => {
      leader = (await system.processes()).find((server) => server.role === 'leader');
      return leader !== undefined;
    },
    RECOVERY_DEADLINE_MS,
    100,
  );
  return leader as ServerProcess;
}

/**
 * Does something bad and waits until grants flow again: at least `settleMs` after it, with a grant within the last
 * 50 ms. Rejects when that takes longer than a minute.
 */
export async function gapOf(
  load: LoadGenerator,
  fault: () => void | Promise<void>,
  settleMs = 2500,
): Promise<GapReport> {
  await load.mark();
  const begun = performance.now();
  await fault();
  let report: GapReport | undefined;
  await waitUntil(
    'grants after a fault',
    async () => {
      if (performance.now() - begun < settleMs) return false;
      report = await load.report();
      return report.grants > 0 && report.msSinceLastGrant < 50;
    },
    RECOVERY_DEADLINE_MS,
    20,
  );
  return report as GapReport;
}

export function w3Table(cells: readonly W3Cell[], options: W3Options): Table {
  return {
    title: 'W3: kill -9 of the leader, longest time without any grant',
    columns: ['system', 'kills', 'median ms', 'smallest ms', 'largest ms'],
    rows: cells.map((cell) => [
      cell.system,
      String(cell.gapsMs.length),
      formatCount(median(cell.gapsMs)),
      formatCount(Math.min(...cell.gapsMs)),
      formatCount(Math.max(...cell.gapsMs)),
    ]),
    notes: [
      `${options.workers} workers in a closed loop, each turning to another name after ${PATIENCE_MS} ms without an answer. Redis and Redlock have no leader: with one server its death is the end, with three the others go on.`,
    ],
  };
}
