/**
 * Loaded into a node by `--import`; part of no product. Four times a second it appends to the file LOOP_PROBE_DIR/<pid>: the time
 * of the monotonic clock, and since the last line the longest delay of the event loop, the processor time of each snapshot
 * slice, and the longest garbage collection. On a busy machine a short slice may take long.
 */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks';
import { every, monotonicNs } from '../clock.ts';

const directory = process.env['LOOP_PROBE_DIR'];
const RESOLUTION_MS = 2;
const READER = new URL('../../../packages/lockd/dist/lock-table/snapshot-reader.js', import.meta.url);

if (directory !== undefined && process.argv.includes('start')) {
  const slicesMs: number[] = [];
  const { TableSnapshotReader } = (await import(READER.href)) as {
    TableSnapshotReader: { prototype: { next: (this: unknown) => unknown } };
  };
  const { prototype } = TableSnapshotReader;
  const next = prototype.next;
  prototype.next = function (this: unknown): unknown {
    const before = process.cpuUsage();
    try {
      return next.call(this);
    } finally {
      const { user, system } = process.cpuUsage(before);
      slicesMs.push((user + system) / 1000);
    }
  };
  let collectionMs = 0;
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) collectionMs = Math.max(collectionMs, duration);
  }).observe({ entryTypes: ['gc'] });
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  every(250, () => {
    const delayMs = Math.max(0, delay.max / 1e6 - RESOLUTION_MS);
    const slices = slicesMs.splice(0).map((ms) => ms.toFixed(2));
    appendFileSync(
      join(directory, String(process.pid)),
      `${monotonicNs()} ${delayMs.toFixed(2)} ${slices.join(',')} ${collectionMs.toFixed(2)}\n`,
    );
    delay.reset();
    collectionMs = 0;
  });
}
