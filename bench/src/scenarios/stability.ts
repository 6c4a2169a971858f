import { LoadGenerator } from '../load/load-generator.ts';
import type { GapReport } from '../load/workload.ts';
import { median } from '../measure/statistics.ts';
import { pause } from '../processes/children.ts';
import { formatCount } from '../report/format.ts';
import { ABSENT, type Findings, type Table } from '../report/report.ts';
import { type LockdNodeStatus, startLockd } from '../systems/lockd-system.ts';
import { CONNECTIONS, type Context, freshPrefix, SESSION_TTL_MS } from './context.ts';
import { errorText } from './w1-uncontended.ts';
import { gapOf, PATIENCE_MS } from './w3-leader-kill.ts';

export interface StabilityOptions {
  readonly nodes: number;
  /** How long full load lasts before the faults begin. */
  readonly seconds: number;
  readonly kills: number;
  readonly stops: number;
  /** Workers of the full load; the faults are met by 64 of them at most. */
  readonly workers: number;
  /** Locks held all the time, so that the collector has a heap to walk. */
  readonly held: number;
  readonly garbageMbPerSecond: number;
}

const LOOK_EVERY_MS = 30_000;
/** How long a stopped leader stays stopped after the others have gone on: it then wakes up deposed. */
const STOPPED_FOR_MS = 2000;

/**
 * Full load with GC pressure, during which no leader may change; then leaders are killed and stopped, and the time
 * until the next grant is taken.
 */
export async function runStability(context: Context, options: StabilityOptions): Promise<Findings> {
  const cluster = await startLockd(context.scratch, {
    nodes: options.nodes,
    restart: true,
    garbageMbPerSecond: options.garbageMbPerSecond,
  });
  const holder = new LoadGenerator();
  const load = new LoadGenerator();
  try {
    const connect = { connections: CONNECTIONS, usage: 'uncontended', ttlMs: SESSION_TTL_MS } as const;
    await holder.connect(cluster.driver, { ...connect, workers: 1024 });
    const held = await holder.run({
      type: 'hold',
      prefix: freshPrefix('stability'),
      count: options.held,
      inFlight: 1024,
    });
    context.log(`stability: ${formatCount(held.cycles)} locks held${errorText(held.errors)}`);
    await load.connect(cluster.driver, { ...connect, workers: options.workers });

    await load.run({
      type: 'watch-gaps',
      prefix: freshPrefix('stability'),
      workers: options.workers,
      patienceMs: 30_000,
    });
    await pause(2000);
    const first = await cluster.leader();
    await load.mark();
    const begun = performance.now();
    const end = begun + options.seconds * 1000;
    let last = first;
    while (performance.now() < end) {
      await pause(Math.min(LOOK_EVERY_MS, Math.max(0, end - performance.now())));
      last = await cluster.leader();
      const { grants, longestGapMs } = await load.report();
      const seconds = (performance.now() - begun) / 1000;
      context.log(
        `stability ${seconds.toFixed(0)} s: ${formatCount(grants / seconds)} grants/s, longest gap ${formatCount(longestGapMs)} ms, leader ${last.name}, term ${last.term}`,
      );
    }
    const seconds = (performance.now() - begun) / 1000;
    const steady = await load.report();
    await load.finish();
    // Every election that succeeded, and every candidacy that got as far as asking for votes, has raised the term.
    const leaderChanges = last.term - first.term;

    await load.run({
      type: 'watch-gaps',
      prefix: freshPrefix('stability'),
      workers: Math.min(64, options.workers),
      patienceMs: PATIENCE_MS,
    });
    const kills: GapReport[] = [];
    for (let kill = 1; kill <= options.kills; kill++) {
      const leader = await settledLeader(cluster);
      const gap = await gapOf(load, () => void process.kill(leader.pid, 'SIGKILL'));
      kills.push(gap);
      context.log(
        `stability: kill -9 ${kill}/${options.kills} of ${leader.name}: ${formatCount(gap.longestGapMs)} ms${errorText(gap.errors)}`,
      );
    }
    const stops: GapReport[] = [];
    for (let stop = 1; stop <= options.stops; stop++) {
      const leader = await settledLeader(cluster);
      try {
        const gap = await gapOf(load, () => void process.kill(leader.pid, 'SIGSTOP'), STOPPED_FOR_MS);
        stops.push(gap);
        context.log(
          `stability: SIGSTOP ${stop}/${options.stops} of ${leader.name}: ${formatCount(gap.longestGapMs)} ms${errorText(gap.errors)}`,
        );
      } finally {
        process.kill(leader.pid, 'SIGCONT');
      }
    }
    await load.finish();

    const table: Table = {
      title: 'Stability',
      columns: ['what', 'measured'],
      rows: [
        [`leader changes in ${seconds.toFixed(0)} s of full load`, formatCount(leaderChanges)],
        ['… grants/s', formatCount(steady.grants / seconds)],
        ['… longest time without a grant, ms', formatCount(steady.longestGapMs)],
        ['… failed requests', formatCount(Object.values(steady.errors).reduce((sum, count) => sum + count, 0))],
        ...faultRows('kill -9 of the leader', kills),
        ...faultRows('SIGSTOP of the leader', stops),
      ],
      notes: [
        `${options.workers} workers, ${formatCount(held.cycles)} locks held, ${options.garbageMbPerSecond} MB of short-lived objects a second made in every node’s process. After a fault: time until the next grant to anybody, from the last one before it.`,
      ],
    };
    return {
      title: 'Stability',
      systems: [],
      tables: [table],
      charts: [],
      notes: leaderChanges === 0 ? [] : [`${leaderChanges} leader changes without a fault: the aim is none.`],
      data: { leaderChanges, seconds, steady, kills, stops },
    };
  } finally {
    await Promise.all([load.stop(), holder.stop()]);
    await cluster.stop();
  }
}

/** The leader of a cluster whose nodes have all caught up. */
async function settledLeader(cluster: Awaited<ReturnType<typeof startLockd>>): Promise<LockdNodeStatus> {
  await cluster.settled();
  return cluster.leader();
}

function faultRows(what: string, gaps: readonly GapReport[]): readonly (readonly string[])[] {
  const times = gaps.map((gap) => gap.longestGapMs);
  return [
    [`${what}, times`, String(times.length)],
    ['… time to the next grant, median ms', times.length === 0 ? ABSENT : formatCount(median(times))],
    ['… worst ms', times.length === 0 ? ABSENT : formatCount(Math.max(...times))],
  ];
}
