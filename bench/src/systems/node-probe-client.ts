import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { waitUntil } from '../processes/children.ts';

/** What a node's process holds after a full collection. Bytes. */
export interface NodeMemory {
  readonly rss: number;
  readonly heapUsed: number;
  readonly external: number;
  readonly arrayBuffers: number;
}

/** Flag for `node` that loads the probe (see node-probe-process.ts) into a server. */
export function nodeFlagForProbe(): string {
  return `--import=${pathToFileURL(join(import.meta.dirname, 'node-probe-process.js')).href}`;
}

/** Collects garbage in a node started with the probe and reads its memory. A pause of the node: not while it is measured. */
export async function readNodeMemory(probeDirectory: string, pid: number): Promise<NodeMemory> {
  const path = join(probeDirectory, `${pid}.memory.json`);
  rmSync(path, { force: true });
  process.kill(pid, 'SIGUSR2');
  let memory: NodeMemory | undefined;
  await waitUntil(
    `memory of process ${pid}`,
    () => {
      try {
        memory = JSON.parse(readFileSync(path, 'utf8')) as NodeMemory;
        return true;
      } catch {
        return false;
      }
    },
    60_000,
    20,
  );
  return memory as NodeMemory;
}
