import { createHash } from 'node:crypto';
import { pause } from '../processes/children.ts';
import type { ConnectOptions, DriverSpec, LockDriver } from './driver.ts';
import { RedisConnection } from './redis-connection.ts';

const RELEASE_SCRIPT = "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";
const RELEASE_SHA = createHash('sha1').update(RELEASE_SCRIPT).digest('hex');
const PATIENCE_MS = 30_000;

interface RedisHandle {
  readonly name: string;
  readonly value: string;
}

async function open(url: string): Promise<RedisConnection> {
  const connection = new RedisConnection(url);
  await connection.send(['SCRIPT', 'LOAD', RELEASE_SCRIPT]);
  return connection;
}

/**
 * Redis over its own protocol, the requests of one turn in one write. `redis`: SET NX PX and a release
 * that compares first, on one server. `redlock`: the same on every server at once; held with a majority, else undone
 * and tried again. Neither has a queue: whoever finds the lock taken polls, after a pause drawn evenly from
 * 0 to twice `retryMs` (an option of the spec; default 2).
 */
export async function connectRedis(spec: DriverSpec, options: ConnectOptions): Promise<LockDriver> {
  const servers = spec.type === 'redis' ? spec.endpoints.slice(0, 1) : spec.endpoints;
  const retryMs = Number(spec.options?.['retryMs'] ?? 2);
  const quorum = (servers.length >> 1) + 1;
  const clients = await Promise.all(Array.from({ length: options.connections }, () => Promise.all(servers.map(open))));
  const ttl = String(options.ttlMs);
  let next = 0;

  const release = async (worker: number, handle: RedisHandle): Promise<void> => {
    const command = ['EVALSHA', RELEASE_SHA, '1', handle.name, handle.value];
    const connection = clients[worker % clients.length] as RedisConnection[];
    if (connection.length === 1) {
      await (connection[0] as RedisConnection).send(command);
      return;
    }
    await Promise.all(connection.map((client) => client.send(command).catch(() => undefined)));
  };

  const driver: LockDriver<RedisHandle> = {
    async acquire(worker, name) {
      const connection = clients[worker % clients.length] as RedisConnection[];
      const handle = { name, value: `${process.pid}-${worker}-${++next}` };
      const command = ['SET', name, handle.value, 'NX', 'PX', ttl];
      let patienceEnds: number | undefined;
      for (;;) {
        const answers =
          connection.length === 1
            ? [await (connection[0] as RedisConnection).send(command)]
            : await Promise.all(connection.map((client) => client.send(command).catch(() => undefined)));
        let votes = 0;
        for (const answer of answers) if (answer !== null && answer !== undefined) votes++;
        if (votes >= quorum) return handle;
        if (votes > 0) await release(worker, handle);
        const now = performance.now();
        patienceEnds ??= now + PATIENCE_MS;
        if (now > patienceEnds) throw new Error(`${spec.type}: ${name} not acquired within ${PATIENCE_MS / 1000} s`);
        await pause(Math.random() * 2 * retryMs);
      }
    },
    release,
    async close() {
      for (const connection of clients) for (const client of connection) client.close();
    },
  };
  return driver;
}
