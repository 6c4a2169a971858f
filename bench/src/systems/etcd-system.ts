import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { programVersion } from '../measure/machine.ts';
import { type Child, startChild, tailOf, waitUntil } from '../processes/children.ts';
import { findFreePorts } from '../processes/ports.ts';
import type { LockSystem, ServerProcess } from './system.ts';

const NODES = ['e1', 'e2', 'e3'] as const;

/** Three etcd processes with their defaults (100 ms heartbeat, 1 s election time-out, fsync on). */
export const etcdSystem: LockSystem = {
  name: 'etcd',
  description:
    '3 nodes, every write synced on a majority; create-if-absent and delete over gRPC to the leader (contended: the server’s Lock call)',
  unavailable: () =>
    programVersion('etcd', ['--version']) === undefined
      ? 'etcd is not installed (Debian: apt-get install etcd-server)'
      : undefined,
  async start(scratch) {
    const directory = scratch.make('etcd');
    const firstPort = await findFreePorts(NODES.length * 2);
    const clientUrl = (index: number): string => `http://127.0.0.1:${firstPort + index}`;
    const peerUrl = (index: number): string => `http://127.0.0.1:${firstPort + NODES.length + index}`;
    const initialCluster = NODES.map((name, index) => `${name}=${peerUrl(index)}`).join(',');
    const launch = (index: number): Child => {
      const name = NODES[index] as string;
      const data = join(directory, name);
      mkdirSync(data, { recursive: true, mode: 0o700 });
      return startChild(
        'etcd',
        [
          `--name=${name}`,
          `--data-dir=${data}`,
          `--listen-client-urls=${clientUrl(index)}`,
          `--advertise-client-urls=${clientUrl(index)}`,
          `--listen-peer-urls=${peerUrl(index)}`,
          `--initial-advertise-peer-urls=${peerUrl(index)}`,
          `--initial-cluster=${initialCluster}`,
          '--initial-cluster-state=new',
          '--log-level=warn',
          // The history of keys would otherwise grow without bound under this load.
          '--auto-compaction-mode=revision',
          '--auto-compaction-retention=10000',
          '--quota-backend-bytes=8589934592',
        ],
        { logFile: join(directory, `${name}.log`) },
      );
    };
    const children = NODES.map((_, index) => launch(index));
    const leads = async (index: number): Promise<boolean> => {
      try {
        const answer = await fetch(`${clientUrl(index)}/metrics`, { signal: AbortSignal.timeout(2000) });
        return /^etcd_server_is_leader 1$/m.test(await answer.text());
      } catch {
        return false;
      }
    };
    const findLeader = async (): Promise<number | undefined> => {
      const answers = await Promise.all(NODES.map((_, index) => leads(index)));
      const index = answers.indexOf(true);
      return index < 0 ? undefined : index;
    };
    const stop = async (): Promise<void> => {
      await Promise.all(children.map((child) => child.stop()));
    };
    let leader = 0;
    try {
      await waitUntil(
        'a leader of etcd',
        async () => {
          const found = await findLeader();
          if (found !== undefined) leader = found;
          return found !== undefined;
        },
        20_000,
      );
    } catch (error) {
      await stop();
      throw new Error(`etcd did not start; the end of a log:\n${tailOf(join(directory, 'e1.log'))}`, { cause: error });
    }
    const order = [leader, ...NODES.keys()].filter((index, position, all) => all.indexOf(index) === position);
    return {
      name: 'etcd',
      version: programVersion('etcd', ['--version']) ?? 'etcd',
      driver: { type: 'etcd', endpoints: order.map(clientUrl) },
      async processes() {
        const now = await findLeader();
        return children.map(
          (child, index): ServerProcess => ({
            name: NODES[index] as string,
            role: index === now ? 'leader' : 'follower',
            pid: child.pid,
          }),
        );
      },
      async restart(name) {
        const index = NODES.indexOf(name as (typeof NODES)[number]);
        await (children[index] as Child).ended;
        children[index] = launch(index);
        const isHealthy = async (): Promise<boolean> =>
          (await fetch(`${clientUrl(index)}/health`).catch(() => undefined))?.ok === true;
        await waitUntil('etcd to serve again', isHealthy, 30_000);
      },
      stop,
    };
  },
};
