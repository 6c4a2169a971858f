import { LoadGenerator } from '../load/load-generator.ts';
import { formatCount, formatMebibytes, formatMillis, formatNumber } from '../report/format.ts';
import { ABSENT, type Findings, type Table } from '../report/report.ts';
import { startLockd } from '../systems/lockd-system.ts';
import type { Context, Timing } from './context.ts';
import { cpuPerThousand, measure } from './measure.ts';
import { readMemories } from './w4-held-locks.ts';

export interface W5Options extends Timing {
  readonly sessions: number;
  readonly nodes: number;
}

const TTL_MS = 3_600_000;

/** W5: many sessions: what they weigh, and how many renewals a second the leader confirms. */
export async function runW5(context: Context, options: W5Options): Promise<Findings> {
  const cluster = await startLockd(context.scratch, { nodes: options.nodes, probe: true });
  const load = new LoadGenerator();
  try {
    const before = await readMemories(cluster);
    const opened = await measure(cluster, load, {
      type: 'open-sessions',
      endpoints: cluster.endpoints,
      count: options.sessions,
      ttlMs: TTL_MS,
    });
    context.log(`w5: ${formatCount(opened.cycles)} sessions open, ${formatCount(opened.cyclesPerSecond)} a second`);
    const after = await readMemories(cluster);
    const samples = [];
    for (let repeat = 1; repeat <= options.repeats; repeat++) {
      const sample = await measure(cluster, load, {
        type: 'renew-sessions',
        warmUpMs: options.warmUpMs,
        measureMs: options.measureMs,
      });
      context.log(`w5 ${repeat}/${options.repeats}: ${formatCount(sample.cyclesPerSecond)} renewals/s`);
      samples.push(sample);
    }
    samples.sort((a, b) => a.cyclesPerSecond - b.cyclesPerSecond);
    const renewals = samples[samples.length >> 1];
    const table: Table = {
      title: `W5: ${formatCount(opened.cycles)} sessions`,
      columns: ['what', 'measured'],
      rows: [
        ['sessions opened a second', formatCount(opened.cyclesPerSecond)],
        ['renewals a second', formatCount(renewals?.cyclesPerSecond)],
        [
          '… one frame of up to 256, p50 / p99 ms',
          `${formatMillis(renewals?.acquire.p50)} / ${formatMillis(renewals?.acquire.p99)}`,
        ],
        [
          'CPU ms per 1,000 renewals, leader',
          cpuMillis(renewals === undefined ? undefined : cpuPerThousand(renewals, 'leader')),
        ],
        ['… client', cpuMillis(renewals === undefined ? undefined : cpuPerThousand(renewals, 'client'))],
        ['needed at a TTL of 15 s (one every 5 s), renewals a second', formatCount(opened.cycles / 5)],
        ...after.map((node) => {
          const earlier = before.find((candidate) => candidate.name === node.name);
          const bytes =
            earlier === undefined
              ? undefined
              : (node.memory.heapUsed + node.memory.external - earlier.memory.heapUsed - earlier.memory.external) /
                Math.max(1, opened.cycles);
          return [
            `bytes per session, ${node.name} (${node.role}); RSS ${formatMebibytes(node.memory.rss)} MiB`,
            formatCount(bytes),
          ];
        }),
      ],
      notes: [
        'Over the wire protocol itself, 256 sessions a connection; the leader’s bytes include those connections.',
        ...(Object.keys(opened.errors).length > 0 ? [`Errors while opening: ${JSON.stringify(opened.errors)}.`] : []),
      ],
    };
    return {
      title: table.title,
      systems: [],
      tables: [table],
      charts: [],
      notes: [],
      data: { before, after, opened, samples },
    };
  } finally {
    await load.stop();
    await cluster.stop();
  }
}

function cpuMillis(secondsPerThousand: number | undefined): string {
  return secondsPerThousand === undefined ? ABSENT : formatNumber(secondsPerThousand * 1000);
}
