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

/** The second column of strace's table is seconds; calls stand in the fourth. */
function countedSyncs(summary: string): number {
  let calls = 0;
  for (const line of summary.split('\n')) {
    const columns = line.trim().split(/\s+/);
    if (columns.at(-1) === 'fdatasync' || columns.at(-1) === 'fsync') calls += Number(columns[3]);
  }
  return calls;
}

describe('real processes: an acknowledged operation is on stable storage (needs strace and root)', () => {
  test.skipIf(!canTrace())(
    'with one worker, at least two nodes sync at least once per operation',
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
              ['-f', '-c', '-e', 'trace=fdatasync,fsync', '-o', file, '-p', `${cluster.node(name).pid}`],
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
          expect(
            syncs.filter((calls) => calls >= OPERATIONS).length,
            `syncs by node: ${syncs.join(', ')}`,
          ).toBeGreaterThanOrEqual(2);
          await client.close();
        });
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
    60_000,
  );
});
