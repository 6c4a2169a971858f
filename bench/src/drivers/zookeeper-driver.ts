import type { ConnectOptions, DriverSpec, LockDriver } from './driver.ts';
import { ZooKeeperConnection, ZooKeeperError } from './zookeeper-connection.ts';
import { CREATE_FLAGS, ERROR } from './zookeeper-wire.ts';

const ROOT = '/lockd-bench';

/**
 * ZooKeeper over its own protocol. Uncontended: create an ephemeral node, then delete it: two writes, no reads.
 * Contended: the recipe of its documentation: an ephemeral sequential node, the children, a watch on the one before.
 */
export async function connectZooKeeper(spec: DriverSpec, options: ConnectOptions): Promise<LockDriver> {
  const connections = Array.from(
    { length: options.connections },
    (_, index) =>
      new ZooKeeperConnection(spec.endpoints, spec.options?.['connectTo'] === 'all' ? index : 0, options.ttlMs),
  );
  const connectionOf = (worker: number): ZooKeeperConnection =>
    connections[worker % connections.length] as ZooKeeperConnection;
  const createParent = async (path: string): Promise<void> => {
    try {
      await connectionOf(0).create(path, CREATE_FLAGS.persistent);
    } catch (error) {
      if (!(error instanceof ZooKeeperError && error.code === ERROR.nodeExists)) throw error;
    }
  };
  await createParent(ROOT);
  // Each connection once, so that the first measured request does not pay for it.
  await Promise.all(connections.map((connection) => connection.children('/')));

  const parents = new Map<string, Promise<void>>();
  const waitInQueue = async (worker: number, name: string): Promise<string> => {
    const connection = connectionOf(worker);
    const parent = nodeFor(name);
    let created = parents.get(name);
    if (created === undefined) {
      created = createParent(parent);
      parents.set(name, created);
    }
    await created;
    const own = await connection.create(`${parent}/n-`, CREATE_FLAGS.ephemeralSequential);
    const ownName = own.slice(parent.length + 1);
    for (;;) {
      const before = (await connection.children(parent)).filter((child) => child < ownName).sort();
      const predecessor = before.at(-1);
      if (predecessor === undefined) return own;
      await connection.gone(`${parent}/${predecessor}`);
    }
  };
  const driver: LockDriver<string> = {
    acquire:
      options.usage === 'contended'
        ? waitInQueue
        : (worker, name) => connectionOf(worker).create(nodeFor(name), CREATE_FLAGS.ephemeral),
    release: (worker, path) => connectionOf(worker).delete(path),
    async close() {
      await Promise.all(connections.map((connection) => connection.close()));
    },
  };
  return driver;
}

function nodeFor(name: string): string {
  return `${ROOT}/${name.replaceAll('/', '-')}`;
}
