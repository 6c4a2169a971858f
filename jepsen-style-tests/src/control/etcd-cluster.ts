import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from '../clock.ts';
import { registerChild } from '../cluster/child-registry.ts';
import { freePorts } from '../cluster/cluster.ts';
import type { Random } from '../random.ts';
import { EtcdClient } from './etcd-client.ts';

/** `3.4.23`; `undefined` where there is no etcd. */
export function etcdVersion(): string | undefined {
  const probe = spawnSync('etcd', ['--version'], { encoding: 'utf8', timeout: 5000 });
  return /etcd Version: (\S+)/.exec(probe.stdout ?? '')?.[1];
}

/** Three etcd processes on loopback, with their own defaults but for an election time-out like ours. */
export class EtcdCluster {
  readonly endpoints: readonly string[];
  readonly #children: readonly ChildProcess[];

  private constructor(endpoints: readonly string[], children: readonly ChildProcess[]) {
    this.endpoints = endpoints;
    this.#children = children;
  }

  static async start(directory: string, random: Random): Promise<EtcdCluster> {
    mkdirSync(directory, { recursive: true });
    const names = ['e1', 'e2', 'e3'];
    const ports = await freePorts(names.length * 2, random);
    const peers = names.map((_, index) => `http://127.0.0.1:${ports[index]}`);
    const endpoints = names.map((_, index) => `http://127.0.0.1:${ports[names.length + index]}`);
    const children = names.map((name, index) => {
      const log = openSync(join(directory, `${name}.log`), 'a');
      const child = spawn(
        'etcd',
        [
          ...['--name', name, '--data-dir', join(directory, name)],
          ...['--listen-peer-urls', peers[index] as string, '--initial-advertise-peer-urls', peers[index] as string],
          ...[
            '--listen-client-urls',
            endpoints[index] as string,
            '--advertise-client-urls',
            endpoints[index] as string,
          ],
          ...['--initial-cluster', names.map((peer, at) => `${peer}=${peers[at]}`).join(',')],
          ...['--heartbeat-interval', '100', '--election-timeout', '500', '--logger', 'zap'],
        ],
        { stdio: ['ignore', log, log] },
      );
      closeSync(log);
      registerChild(child);
      return child;
    });
    const cluster = new EtcdCluster(endpoints, children);
    const client = new EtcdClient(endpoints);
    const serves = await waitFor(
      () =>
        client.grantLease(5).then(
          () => true,
          () => undefined,
        ),
      20_000,
      200,
    );
    if (serves === undefined) {
      cluster.stop();
      throw new Error(`etcd did not serve within 20 s: see ${directory}`);
    }
    return cluster;
  }

  stop(): void {
    for (const child of this.#children) child.kill('SIGKILL');
  }
}
