import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { programVersion } from '../measure/machine.ts';
import { type Child, startChild, tailOf, waitUntil } from '../processes/children.ts';
import { findFreePorts } from '../processes/ports.ts';
import type { LockSystem, ServerProcess } from './system.ts';

const JAR = '/usr/share/java/zookeeper.jar';
const SERVERS = [1, 2, 3] as const;

/** Three ZooKeeper servers from Debian's jar, with its example configuration's times and sync of the transaction log on. */
export const zookeeperSystem: LockSystem = {
  name: 'ZooKeeper',
  description:
    '3 servers, every write synced on a majority; ephemeral create and delete at the leader (contended: the sequential-node recipe)',
  unavailable() {
    if (!existsSync(JAR)) return 'ZooKeeper is not installed (Debian: apt-get install zookeeper)';
    return programVersion('java', ['-version']) === undefined
      ? 'ZooKeeper needs Java (Debian: apt-get install default-jre-headless)'
      : undefined;
  },
  async start(scratch) {
    const directory = scratch.make('zookeeper');
    const firstPort = await findFreePorts(SERVERS.length * 3);
    const clientPort = (index: number): number => firstPort + index * 3;
    const members = SERVERS.map(
      (id, index) => `server.${id}=127.0.0.1:${clientPort(index) + 1}:${clientPort(index) + 2}`,
    );
    const launch = (index: number): Child => {
      const home = join(directory, `z${SERVERS[index]}`);
      mkdirSync(home, { recursive: true });
      writeFileSync(join(home, 'myid'), String(SERVERS[index]));
      writeFileSync(
        join(home, 'zoo.cfg'),
        [
          'tickTime=2000',
          'initLimit=10',
          'syncLimit=5',
          `dataDir=${home}`,
          'clientPortAddress=127.0.0.1',
          `clientPort=${clientPort(index)}`,
          'maxClientCnxns=0',
          'admin.enableServer=false',
          '4lw.commands.whitelist=srvr',
          ...members,
          '',
        ].join('\n'),
      );
      return startChild(
        'java',
        [
          '-Xmx2g',
          '-Dzookeeper.log.dir=.',
          '-cp',
          `/etc/zookeeper/conf_example:${JAR}`,
          'org.apache.zookeeper.server.quorum.QuorumPeerMain',
          join(home, 'zoo.cfg'),
        ],
        { logFile: join(home, 'zookeeper.log'), cwd: home },
      );
    };
    const children = SERVERS.map((_, index) => launch(index));
    const modes = (): Promise<readonly string[]> =>
      Promise.all(SERVERS.map((_, index) => askServer(clientPort(index)).then(readMode, () => 'down')));
    const stop = async (): Promise<void> => {
      await Promise.all(children.map((child) => child.stop()));
    };
    let leader = 0;
    try {
      await waitUntil(
        'all servers of ZooKeeper',
        async () => {
          const now = await modes();
          leader = now.indexOf('leader');
          return leader >= 0 && !now.includes('down');
        },
        40_000,
        200,
      );
    } catch (error) {
      await stop();
      throw new Error(`ZooKeeper did not start; the end of a log:\n${tailOf(join(directory, 'z1', 'zookeeper.log'))}`, {
        cause: error,
      });
    }
    const version = /Zookeeper version: ([^\s,-]+)/.exec(await askServer(clientPort(leader)))?.[1] ?? 'unknown version';
    const order = [leader, ...SERVERS.keys()].filter((index, position, all) => all.indexOf(index) === position);
    const indexOf = (name: string): number => SERVERS.findIndex((id) => `z${id}` === name);
    return {
      name: 'ZooKeeper',
      version: `ZooKeeper ${version}`,
      driver: { type: 'zookeeper', endpoints: order.map((index) => `127.0.0.1:${clientPort(index)}`) },
      async processes() {
        const now = await modes();
        return children.map(
          (child, index): ServerProcess => ({
            name: `z${SERVERS[index]}`,
            role: now[index] === 'leader' ? 'leader' : 'follower',
            pid: child.pid,
          }),
        );
      },
      async restart(name) {
        const index = indexOf(name);
        await (children[index] as Child).ended;
        children[index] = launch(index);
        await waitUntil('ZooKeeper to serve again', async () => !(await modes()).includes('down'), 40_000, 200);
      },
      stop,
    };
  },
};

/** Answer to the four-letter command `srvr`. */
function askServer(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: 2000 });
    let text = '';
    socket.setEncoding('utf8');
    socket.on('connect', () => socket.write('srvr'));
    socket.on('data', (chunk: string) => {
      text += chunk;
    });
    socket.on('timeout', () => socket.destroy(new Error('zookeeper: no answer')));
    socket.on('error', reject);
    socket.on('close', () => resolve(text));
  });
}

function readMode(answer: string): string {
  return /^Mode: (\w+)/m.exec(answer)?.[1] ?? 'down';
}
