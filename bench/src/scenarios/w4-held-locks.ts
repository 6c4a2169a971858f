import { LoadGenerator } from '../load/load-generator.ts';
import { formatCount, formatMebibytes, formatNumber } from '../report/format.ts';
import { ABSENT, type Findings, type Table } from '../report/report.ts';
import { type RunningLockd, startLockd } from '../systems/lockd-system.ts';
import { type NodeMemory, readNodeMemory } from '../systems/node-probe-client.ts';
import { makeSnapshot } from '../systems/node-snapshot.ts';
import { CONNECTIONS, type Context, freshPrefix } from './context.ts';
import { measure, type Sample } from './measure.ts';
import { findLeader, gapOf, PATIENCE_MS } from './w3-leader-kill.ts';

export interface W4Options {
  readonly held: number;
  readonly nodes: number;
}

/** Long enough that nothing expires while the cluster is stopped and started again. */
const TTL_MS = 600_000;
const IN_FLIGHT = 2048;

/** W4: many locks held at once: how long they take, what they weigh, and how a node comes back with them. */
export async function runW4(context: Context, options: W4Options): Promise<Findings> {
  const first = await startLockd(context.scratch, { nodes: options.nodes, restart: true, probe: true });
  let cluster: RunningLockd = first;
  const holder = new LoadGenerator();
  try {
    const connect = { connections: CONNECTIONS, workers: IN_FLIGHT, usage: 'uncontended', ttlMs: TTL_MS } as const;
    await holder.connect(cluster.driver, connect);
    await holder.run({ type: 'hold', prefix: freshPrefix('warm-up'), count: 2000, inFlight: 256 });
    await holder.run({ type: 'release-all', inFlight: 256 });

    const before = await readMemories(cluster);
    const hold = await measure(cluster, holder, {
      type: 'hold',
      prefix: freshPrefix('w4'),
      count: options.held,
      inFlight: IN_FLIGHT,
    });
    context.log(`w4: ${formatCount(hold.cycles)} locks held, ${formatCount(hold.cyclesPerSecond)} a second`);
    await cluster.settled();
    const after = await readMemories(cluster);
    const cycles = await measureCycles(cluster);
    context.log(`w4: with them held, ${formatCount(cycles.cyclesPerSecond)} cycles/s at 64 workers`);

    const { client } = await cluster.leader();
    if (client === null) throw new Error('the leader has no client address');
    const snapshot = await makeSnapshot(client);
    context.log(`w4: snapshot ${formatCount(snapshot.ms)} ms`);

    const { catchUpMs, gapMs } = await restartFollower(cluster);
    context.log(`w4: a follower killed and back after ${formatCount(catchUpMs)} ms`);

    const stopping = performance.now();
    await cluster.stop();
    const stopMs = performance.now() - stopping;
    cluster = await startLockd(context.scratch, { nodes: options.nodes, restart: true, probe: true, again: cluster });
    const grantMs = await firstGrant(cluster);
    context.log(`w4: all nodes stopped and started again: a leader after ${formatCount(cluster.startMs)} ms`);
    const stillHeld = (await statusOf(cluster))?.held;

    const table: Table = {
      title: `W4: ${formatCount(options.held)} held locks`,
      columns: ['what', 'measured'],
      rows: [
        ['locks acquired a second', formatCount(hold.cyclesPerSecond)],
        [
          'acquire p50 / p99 / max ms, 2,048 in flight',
          [hold.acquire.p50, hold.acquire.p99, hold.acquire.max]
            .map((micros) => formatNumber(micros / 1000))
            .join(' / '),
        ],
        ['cycles/s at 64 workers while they are held', formatCount(cycles.cyclesPerSecond)],
        ['follower killed (-9): ms until it has caught up', formatCount(catchUpMs)],
        ['… longest time without a grant meanwhile, ms', formatCount(gapMs)],
        ['all nodes stopped (SIGTERM), ms', formatCount(stopMs)],
        ['all nodes started again: ms until a leader serves', formatCount(cluster.startMs)],
        ['… an empty cluster took, ms', formatCount(first.startMs)],
        ['… ms from the leader to a first grant to a new client', formatCount(grantMs)],
        ['locks held after that', stillHeld === undefined ? ABSENT : formatCount(stillHeld)],
        ['the leader makes a snapshot of them, ms', formatCount(snapshot.ms)],
        ['… its size, MiB', formatMebibytes(snapshot.bytes)],
        ['… longest slice of that by the clock, ms', formatCount(snapshot.longestSliceMs)],
      ],
      notes: Object.keys(hold.errors).length > 0 ? [`Errors while acquiring: ${JSON.stringify(hold.errors)}.`] : [],
    };
    const memory: Table = {
      title: 'W4: memory after a full garbage collection, by node',
      columns: ['node', 'bytes per held lock', 'heap + external before MiB', 'after MiB', 'RSS after MiB'],
      rows: after.map((node) => {
        const earlier = before.find((candidate) => candidate.name === node.name);
        const live = (memory: NodeMemory): number => memory.heapUsed + memory.external;
        return [
          `${node.name} (${node.role})`,
          earlier === undefined
            ? ABSENT
            : formatCount((live(node.memory) - live(earlier.memory)) / Math.max(1, hold.cycles)),
          earlier === undefined ? ABSENT : formatMebibytes(live(earlier.memory)),
          formatMebibytes(live(node.memory)),
          formatMebibytes(node.memory.rss),
        ];
      }),
      notes: [
        'Everything the process holds counts, also the log kept for slow followers and answers kept for repeated requests.',
      ],
    };
    return {
      title: `W4: ${formatCount(options.held)} held locks`,
      systems: [],
      tables: [table, memory],
      charts: [],
      notes: [],
      data: {
        hold,
        cycles,
        before,
        after,
        catchUpMs,
        gapMs,
        stopMs,
        startMs: cluster.startMs,
        emptyStartMs: first.startMs,
        grantMs,
        stillHeld,
        snapshot,
      },
    };
  } finally {
    await holder.stop();
    await cluster.stop();
  }
}

interface MeasuredNode {
  readonly name: string;
  readonly role: string;
  readonly memory: NodeMemory;
}

export async function readMemories(cluster: RunningLockd): Promise<readonly MeasuredNode[]> {
  const nodes: MeasuredNode[] = [];
  // One after the other: a full collection stops a node, and one stopped node of three is no news to the cluster.
  for (const { name, role, pid } of await cluster.processes())
    nodes.push({ name, role, memory: await readNodeMemory(cluster.probeDirectory, pid) });
  return nodes;
}

async function measureCycles(cluster: RunningLockd): Promise<Sample> {
  const load = new LoadGenerator();
  try {
    await load.connect(cluster.driver, { connections: CONNECTIONS, workers: 64, usage: 'uncontended', ttlMs: TTL_MS });
    return await measure(cluster, load, {
      type: 'cycles',
      prefix: freshPrefix('w4'),
      workers: 64,
      warmUpMs: 1500,
      measureMs: 4000,
    });
  } finally {
    await load.stop();
  }
}

async function restartFollower(cluster: RunningLockd): Promise<{ readonly catchUpMs: number; readonly gapMs: number }> {
  const load = new LoadGenerator();
  try {
    await load.connect(cluster.driver, { connections: CONNECTIONS, workers: 4, usage: 'uncontended', ttlMs: TTL_MS });
    await findLeader(cluster);
    const follower = (await cluster.processes()).find((server) => server.role === 'follower');
    if (follower === undefined) throw new Error('no follower to kill');
    await load.run({ type: 'watch-gaps', prefix: freshPrefix('w4'), workers: 4, patienceMs: PATIENCE_MS });
    let catchUpMs = 0;
    const { longestGapMs } = await gapOf(load, async () => {
      const begun = performance.now();
      process.kill(follower.pid, 'SIGKILL');
      await cluster.settled();
      catchUpMs = performance.now() - begun;
    });
    await load.finish();
    return { catchUpMs, gapMs: longestGapMs };
  } finally {
    await load.stop();
  }
}

async function firstGrant(cluster: RunningLockd): Promise<number> {
  const load = new LoadGenerator();
  try {
    const begun = performance.now();
    await load.connect(cluster.driver, { connections: 1, workers: 1, usage: 'uncontended', ttlMs: TTL_MS });
    await load.run({ type: 'hold', prefix: freshPrefix('w4'), count: 1, inFlight: 1 });
    return performance.now() - begun;
  } finally {
    await load.stop();
  }
}

/** What the nodes themselves say they hold, where `lockd status` tells. */
async function statusOf(cluster: RunningLockd): Promise<{ readonly held?: number } | undefined> {
  const { leader, nodes } = await cluster.status();
  return nodes.find((node) => node.name === leader) as { readonly held?: number } | undefined;
}
