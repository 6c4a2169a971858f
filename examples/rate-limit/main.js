// A partner's API allows ten calls a second. Four processes use it.
//
//   node examples/rate-limit/main.js

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startCluster } from '@lockd/example-support/cluster';
import { chapter, check, play, startProcess, tell } from '@lockd/example-support/processes';

const WORKERS = 4;
const SECONDS = 4;
const CALLS_PER_SECOND = 10;
const folder = mkdtempSync(join(tmpdir(), 'lockd-rate-'));
const script = fileURLToPath(new URL('./worker.js', import.meta.url));

/** The API: notes when calls arrive. */
const arrivals = [];
const api = createServer((_request, response) => {
  arrivals.push(performance.now());
  response.end('ok');
});
await new Promise((resolve) => api.listen(0, '127.0.0.1', resolve));
const url = `http://127.0.0.1:${api.address().port}/`;

async function run(endpoints) {
  arrivals.length = 0;
  const workers = Array.from({ length: WORKERS }, (_, worker) =>
    startProcess(script, { name: `worker-${worker + 1}`, url, endpoints, seconds: SECONDS }),
  );
  await Promise.all(workers.map(({ ended }) => ended));
  const seconds = (arrivals.at(-1) - arrivals[0]) / 1000;
  tell(`${arrivals.length} calls in ${seconds.toFixed(1)} s`);
  // Slots that are free at the start allow one burst; after it each slot gives one call a second.
  return { calls: arrivals.length, allowed: CALLS_PER_SECOND * (Math.ceil(seconds) + 1) };
}

let cluster;
await play(
  async () => {
    chapter(`1. ${WORKERS} processes, no limit between them`);
    const wild = await run(null);
    check(`the API was called more often than the ${wild.allowed} times it allows`, wild.calls > wild.allowed);
    cluster = await startCluster(join(folder, 'cluster'));
    chapter('2. A semaphore of ten slots, each held for at least a second');
    const tame = await run(cluster.nodes.map((node) => node.client));
    check(`at most ${tame.allowed} calls`, tame.calls <= tame.allowed);
    check('and the allowed rate was used', tame.calls >= (CALLS_PER_SECOND * SECONDS) / 2);
  },
  async () => {
    await cluster?.stop();
    api.close();
    api.closeAllConnections();
    rmSync(folder, { recursive: true, force: true });
  },
);
