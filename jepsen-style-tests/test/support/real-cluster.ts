import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Cluster } from '../../src/cluster/cluster.ts';
import { Network } from '../../src/cluster/network.ts';
import { Random } from '../../src/random.ts';

export const LOCKD_BIN: string = fileURLToPath(new URL('../../../packages/lockd/bin/lockd.js', import.meta.url));

export interface RealCluster {
  readonly cluster: Cluster;
  /** Direct addresses of the nodes, no proxy between. */
  readonly endpoints: readonly string[];
  readonly directory: string;
}

/** Three real node processes in a temporary directory, all knowing one leader, while `use` runs. */
export async function withRealCluster<T>(use: (real: RealCluster) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'lockd-acceptance-'));
  // Ports must differ from those of tests that run at the same time.
  const random = Random.split(process.pid, directory);
  const cluster = await Cluster.create(new Network(random), { nodes: 3, bin: LOCKD_BIN, directory, random });
  try {
    await cluster.start();
    if (!(await cluster.waitForHealth(20_000))) throw new Error('no leader that everybody knows within 20 s');
    const endpoints = [...cluster.nodes.values()].map((node) => `ws://127.0.0.1:${node.spec.clientPort}`);
    return await use({ cluster, endpoints, directory });
  } finally {
    await cluster.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}
