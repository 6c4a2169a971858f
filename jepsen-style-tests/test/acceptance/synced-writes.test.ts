import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '@lockd/client';
import { describe, expect, test } from 'vitest';
import { waitFor } from '../../src/clock.ts';
import { withRealCluster } from '../support/real-cluster.ts';

const OPERATIONS = 100;

/** Tracing another process needs strace and, on most systems, either root or a permissive ptrace setting. */
function canTrace(): boolean {
  return (
    process.platform === 'linux' &&
    spawnSync('strace', ['-o', '/dev/null', '-e', 'trace=none', '-p', `${process.pid}`, '-V']).status === 0 &&
    process.getuid?.() === 0
  );
}

/** Syncs of the log: LevelDB's write-ahead files, not the marker's. A call that strace tells in two lines counts once. */
function countedSyncs(trace: string): number {
  return trace.match(/ f(data)?sync\(\d+<[^>]*\.log>/g)?.length ?? 0;
}

describe('real processes: an acknowledged operation is on stable storage (needs strace and root)', () => {
  test.skipIf(!canTrace())(
    'with one worker, each operation is synced on two nodes before it is acknowledged',
    async () => {
      const directory = mkdtempSync(join(tmpdir(), 'lockd-strace-'));
      try {
        await withRealCluster(async ({ cluster, endpoints }) => {
          const client = await connect({ endpoints: [...endpoints] });
          await (await client.acquire('warm-up')).release();
          const tracers = cluster.names.map((name) => {
            const file = join(directory, name);
            const tracer = spawn(
              'strace',
              ['-f', '-y', '-e', 'trace=fdatasync,fsync', '-o', file, '-p', `${cluster.node(name).pid}`],
              { stdio: ['ignore', 'ignore', 'pipe'] },
            );
            let said = '';
            tracer.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
            return { file, tracer, isAttached: () => said.includes('attached') };
          });
          for (const tracer of tracers)
            expect(await waitFor(() => (tracer.isAttached() ? true : undefined), 10_000), 'strace attaches').toBe(true);
          for (let operation = 0; operation < OPERATIONS / 2; operation++)
            await (await client.acquire('traced')).release();
          const ended = tracers.map(({ tracer }) => once(tracer, 'exit'));
          for (const { tracer } of tracers) execFileSync('kill', ['-INT', `${tracer.pid}`]);
          await Promise.all(ended);
          const syncs = tracers.map(({ file }) => countedSyncs(readFileSync(file, 'utf8')));
          // Each answer waited for two nodes, and with one worker no sync before it can have held a later operation. The
          // third node may lag and write several at once.
          const total = syncs.reduce((sum, calls) => sum + calls, 0);
          expect(total, `syncs by node: ${syncs.join(', ')}`).toBeGreaterThanOrEqual(2 * OPERATIONS);
          expect(syncs.filter((calls) => calls > 0).length).toBeGreaterThanOrEqual(2);
          await client.close();
        });
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
    60_000,
  );
});
