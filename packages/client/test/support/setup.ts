import { type ConnectOptions, connect, type LockClient } from '@lockd/client';
import { FakeCluster } from './fake-cluster.ts';
import { fixedRandom, World } from './world.ts';

export interface Scene {
  readonly world: World;
  readonly cluster: FakeCluster;
  readonly client: LockClient;
}

/** A client that is connected to the leader of a fake cluster, in virtual time. */
export async function connected(options: Partial<ConnectOptions> = {}): Promise<Scene> {
  const world = new World();
  const cluster = new FakeCluster(world);
  const client = await connecting(world, cluster, options);
  return { world, cluster, client };
}

export async function connecting(
  world: World,
  cluster: FakeCluster,
  options: Partial<ConnectOptions> = {},
): Promise<LockClient> {
  const promise = connect({
    endpoints: cluster.endpoints,
    transport: cluster.transport,
    clock: world.clock,
    random: fixedRandom(),
    ...options,
  });
  // Looked at below; until then a failure has nobody.
  promise.catch(() => {});
  await world.settle();
  return promise;
}

/** What has become of a promise, without waiting for it. */
export function outcome<Value>(promise: Promise<Value>): {
  state: 'pending' | 'fulfilled' | 'rejected';
  value?: Value;
  error?: unknown;
} {
  const result: { state: 'pending' | 'fulfilled' | 'rejected'; value?: Value; error?: unknown } = { state: 'pending' };
  promise.then(
    (value) => {
      result.state = 'fulfilled';
      result.value = value;
    },
    (error: unknown) => {
      result.state = 'rejected';
      result.error = error;
    },
  );
  return result;
}
