// Three machines start the same nightly job at slightly different times. It runs once a night; and when the machine
// that runs it dies in the middle, another one runs it again.
//
//   node examples/nightly-job/main.js

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startCluster } from '@lockd/example-support/cluster';
import { chapter, check, play, startProcess, tell } from '@lockd/example-support/processes';

const MACHINES = ['web-1', 'web-2', 'web-3'];
const NIGHTS = ['Monday', 'Tuesday', 'Wednesday'];
const folder = mkdtempSync(join(tmpdir(), 'lockd-nightly-'));
const script = fileURLToPath(new URL('./machine.js', import.meta.url));

function startMachine(name, options, onEvent) {
  // Each machine's cron is late in its own way.
  return startProcess(script, { name, skewMs: 30 * MACHINES.indexOf(name), jobMs: 200, ...options }, onEvent);
}

function tellRun(event) {
  if (event.event === 'started') tell(`${event.night}: ${event.name} runs the job (token ${event.token})`);
}

async function onceANight(endpoints) {
  chapter(`1. ${MACHINES.length} machines, ${NIGHTS.length} nights`);
  const machines = MACHINES.map((name) => startMachine(name, { endpoints, nights: NIGHTS }, tellRun));
  const events = (await Promise.all(machines.map(({ ended }) => ended))).flat();
  for (const night of NIGHTS) {
    const runs = events.filter((event) => event.event === 'finished' && event.night === night).length;
    check(`${night}: the job ran ${runs === 1 ? 'once' : `${runs} times`}`, runs === 1);
  }
  const nights = events.filter((event) => event.event === 'night-over').length;
  check('every machine knew that it was done', nights === MACHINES.length * NIGHTS.length);
}

async function crashInTheMiddle(endpoints) {
  chapter('2. The machine that runs it dies in the middle');
  let killed;
  const options = { endpoints, nights: ['Thursday'], jobMs: 1000 };
  const onEvent = (event, child) => {
    tellRun(event);
    if (event.event === 'started' && killed === undefined) {
      killed = event.name;
      child.kill('SIGKILL');
      tell(`kill -9 ${event.name}: the job is not complete`);
    }
  };
  const machines = MACHINES.map((name) => startMachine(name, options, onEvent));
  const events = (await Promise.all(machines.map(({ ended }) => ended))).flat();
  const finished = events.filter((event) => event.event === 'finished');
  check('another machine ran it to the end, once', finished.length === 1 && finished[0].name !== killed);
}

let cluster;
await play(
  async () => {
    cluster = await startCluster(join(folder, 'cluster'));
    const endpoints = cluster.nodes.map((node) => node.client);
    await onceANight(endpoints);
    await crashInTheMiddle(endpoints);
  },
  async () => {
    await cluster?.stop();
    rmSync(folder, { recursive: true, force: true });
  },
);
