/**
 * Loaded into a node by `--import`; part of no product. Four times a second it appends the longest delay of the event loop
 * since the last line to the file LOOP_PROBE_DIR/<pid>, in milliseconds, with the time of the monotonic clock.
 */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { every, monotonicNs } from '../clock.ts';

const directory = process.env['LOOP_PROBE_DIR'];
const RESOLUTION_MS = 2;

if (directory !== undefined && process.argv.includes('start')) {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  every(250, () => {
    appendFileSync(
      join(directory, String(process.pid)),
      `${monotonicNs()} ${(delay.max / 1e6 - RESOLUTION_MS).toFixed(2)}\n`,
    );
    delay.reset();
  });
}
