/**
 * Loaded into a server's process by node's flag --import; part of no product. On SIGUSR2 it collects garbage and
 * writes the process's memory to BENCH_PROBE_DIR/<pid>.memory.json. With BENCH_GARBAGE_MB it makes so
 * many megabytes of objects a second, each living for about two seconds, so that the collector has work in
 * both generations while the server serves.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const directory = process.env['BENCH_PROBE_DIR'];
const garbageMb = Number(process.env['BENCH_GARBAGE_MB'] ?? 0);
/** `lockd cluster` itself loads this too; only the nodes matter. */
const isNode = process.argv.includes('start');

if (directory !== undefined && isNode) {
  process.on('SIGUSR2', () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    collect();
    collect();
    const path = join(directory, `${process.pid}.memory.json`);
    writeFileSync(`${path}.new`, JSON.stringify(process.memoryUsage()));
    renameSync(`${path}.new`, path);
  });
}

if (garbageMb > 0 && isNode) {
  const INTERVAL_MS = 20;
  const LIFETIME_MS = 2000;
  const OBJECT_BYTES = 100;
  const perInterval = Math.ceil((garbageMb * 1024 * 1024 * INTERVAL_MS) / 1000 / OBJECT_BYTES);
  const generations: object[][] = [];
  setInterval(() => {
    const objects: object[] = [];
    for (let count = 0; count < perInterval; count++)
      objects.push({ count, text: `garbage ${count}`, next: objects[count - 1] });
    generations.push(objects);
    if (generations.length > LIFETIME_MS / INTERVAL_MS) generations.shift();
  }, INTERVAL_MS).unref();
}
