// A three-node cluster of its own for the story, on free ports, with its data in a temporary folder.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const LOCKD = fileURLToPath(new URL('../../packages/lockd/bin/lockd.js', import.meta.url));

/** The first of `count` neighbouring ports that are free on loopback. */
async function freePorts(count) {
  for (let attempt = 0; attempt < 50; attempt++) {
    const first = 20_000 + Math.floor(Math.random() * 10_000);
    const taken = await Promise.all(Array.from({ length: count }, (_, offset) => isTaken(first + offset)));
    if (!taken.includes(true)) return first;
  }
  throw new Error('found no free ports on loopback');
}

function isTaken(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(true));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(false)));
  });
}

/** Starts three nodes and resolves once a leader serves: `{ leader, nodes: [{ name, pid, client }], stop() }`. */
export async function startCluster(dataDir) {
  const clientPort = await freePorts(3);
  const peerPort = await freePorts(3);
  const args = [
    'cluster',
    '--data-dir',
    dataDir,
    '--client-port',
    `${clientPort}`,
    '--peer-port',
    `${peerPort}`,
    '--restart',
    '-o',
    'json',
  ];
  const child = spawn(process.execPath, [LOCKD, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk) => {
    errors = (errors + chunk).slice(-4000);
  });
  const ready = new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const event = JSON.parse(line);
      if (event.event === 'ready') resolve(event);
    });
    child.once('exit', (code) => reject(new Error(`the cluster ended with ${code} before it was ready:\n${errors}`)));
  });
  const { leader, nodes } = await ready;
  return {
    leader,
    nodes,
    async stop() {
      if (child.exitCode !== null) return;
      child.kill('SIGTERM');
      await once(child, 'exit');
    },
  };
}

/** Who leads now, from the nodes themselves; retried for up to ten seconds, because there may be nobody for a moment. */
export async function findLeader(endpoints) {
  for (let attempt = 0; attempt < 20; attempt++) {
    const status = await lockd('status', '--endpoints', endpoints.join(','), '-o', 'json');
    const leader = status.nodes.find((node) => node.name === status.leader);
    if (leader !== undefined && leader.reachable) return leader;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  throw new Error('no leader within ten seconds');
}

async function lockd(...args) {
  const child = spawn(process.execPath, [LOCKD, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  const chunks = [];
  child.stdout.on('data', (chunk) => chunks.push(chunk));
  await once(child, 'close');
  return JSON.parse(Buffer.concat(chunks).toString());
}
