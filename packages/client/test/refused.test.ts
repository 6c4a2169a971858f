import type { ErrorCode } from '@lockd/client/protocol';
import { describe, expect, test } from 'vitest';
import type { FakeCluster } from './support/fake-cluster.ts';
import { connected, outcome, type Scene } from './support/setup.ts';

describe('what may have been applied and is then refused for now keeps its number', () => {
  test('a repeated acquire that was granted gets its grant, and nothing waits behind it', async () => {
    const { world, cluster, client } = await connected();
    cluster.isMute = true;
    const acquiring = outcome(client.acquire('a'));
    await world.settle();
    expect(cluster.grants).toHaveLength(1);
    await breaksAndRefuses({ world, cluster, client }, 'acquire', 3, 'LOCKD_NO_QUORUM');
    await world.advance(5000);
    expect(new Set(cluster.sent('acquire').map((message) => message[2]))).toEqual(new Set([1]));
    expect(acquiring.value?.token).toBe(cluster.grants[0]?.token);
    expect(cluster.grants).toHaveLength(1);
    expect(cluster.waiters('a')).toBe(0);
    void outcome(acquiring.value?.release() ?? Promise.resolve());
    await world.settle();
    expect(cluster.holder('a')).toBeUndefined();
  });

  test('also where it would not have waited, and the refusal is for load', async () => {
    const { world, cluster, client } = await connected();
    cluster.isMute = true;
    const trying = outcome(client.tryAcquire('a'));
    await world.settle();
    await breaksAndRefuses({ world, cluster, client }, 'acquire', 1, 'LOCKD_OVERLOADED');
    expect(trying.state).toBe('pending');
    await world.advance(1000);
    expect(trying.value).toMatchObject({ ok: true, lock: { held: true } });
    expect(cluster.grants).toHaveLength(1);
  });

  test('a repeated release that was applied resolves, and is applied once', async () => {
    const { world, cluster, client } = await connected();
    const acquiring = client.acquire('a');
    await world.settle();
    const lock = await acquiring;
    cluster.isMute = true;
    const releasing = outcome(lock.release());
    await world.settle();
    expect(cluster.holder('a')).toBeUndefined();
    await breaksAndRefuses({ world, cluster, client }, 'release', 2, 'LOCKD_NO_QUORUM');
    await world.advance(5000);
    expect(new Set(cluster.sent('release').map((message) => message[2]))).toEqual(new Set([2]));
    expect(releasing.state).toBe('fulfilled');
  });

  test('one that was never applied takes effect under it, although later ones came first', async () => {
    const { world, cluster, client } = await connected();
    cluster.isDeaf = true;
    const first = outcome(client.acquire('a'));
    await world.settle();
    cluster.isDeaf = false;
    await breaksAndRefuses({ world, cluster, client }, 'acquire', 1, 'LOCKD_NO_QUORUM');
    const second = outcome(client.acquire('b'));
    await world.settle();
    expect(second.value?.held).toBe(true);
    expect(first.state).toBe('pending');
    await world.advance(1000);
    expect(first.value).toMatchObject({ held: true, handle: 1 });
  });

  test('given up meanwhile, it holds nothing in the end', async () => {
    const { world, cluster, client } = await connected();
    cluster.isMute = true;
    const acquiring = outcome(client.acquire('a', { wait: '1s' }));
    await world.settle();
    expect(cluster.holder('a')).toBeDefined();
    await breaksAndRefuses({ world, cluster, client }, 'acquire', 30, 'LOCKD_NO_QUORUM');
    await world.advance(1100);
    expect(acquiring.error).toMatchObject({ code: 'LOCKD_WAIT_TIMEOUT', outcome: 'unknown' });
    await world.advance(30_000);
    expect(cluster.holder('a')).toBeUndefined();
    expect(cluster.waiters('a')).toBe(0);
  });

  test('a refusal that does not say "not applied" is no answer either', async () => {
    const { world, cluster, client } = await connected();
    let refusals = 0;
    cluster.intercept = (connection, message) => {
      if (message[0] !== 'acquire' || refusals++ > 0) return false;
      connection.push(['error', message[1], message[2], 'LOCKD_NO_QUORUM', 'who knows', 'unknown', true, null]);
      return true;
    };
    const acquiring = outcome(client.acquire('a'));
    await world.advance(1000);
    expect(cluster.sent('acquire').map((message) => message[2])).toEqual([1, 1]);
    expect(acquiring.value?.held).toBe(true);
  });
});

describe('what was sent once and refused for now', () => {
  test('is sent again under a new number', async () => {
    const { world, cluster, client } = await connected();
    refuses(cluster, 'acquire', 1, 'LOCKD_NO_QUORUM');
    const acquiring = outcome(client.acquire('a'));
    await world.advance(1000);
    expect(cluster.sent('acquire').map((message) => message[2])).toEqual([1, 2]);
    expect(acquiring.value?.handle).toBe(2);
  });

  test('keeps its place among the requests of its client', async () => {
    const { world, cluster, client } = await connected();
    refuses(cluster, 'acquire', 20, 'LOCKD_NO_QUORUM');
    for (let index = 0; index < 20; index++) void outcome(client.acquire('a', { metadata: { index: String(index) } }));
    await world.advance(1000);
    const order = cluster.sent('acquire').map((message) => message[7]?.metadata?.['index']);
    expect(order.slice(20)).toEqual(order.slice(0, 20));
  });

  test('is not sent any more once the client is closed', async () => {
    const { world, cluster, client } = await connected();
    refuses(cluster, 'acquire', 1, 'LOCKD_NO_QUORUM');
    const acquiring = outcome(client.acquire('a'));
    await world.settle();
    cluster.intercept = (_connection, message) => message[0] === 'close';
    void client.close();
    expect(acquiring.state).toBe('pending');
    await world.advance(3000);
    expect(acquiring.error).toMatchObject({ code: 'LOCKD_CLOSED' });
    expect(cluster.sent('acquire')).toHaveLength(1);
  });
});

/** Refuses the next operations of this kind as a node without a leader, or with too much to do, refuses them. */
function refuses(cluster: FakeCluster, kind: 'acquire' | 'release', times: number, code: ErrorCode): void {
  let refusals = 0;
  cluster.intercept = (connection, message) => {
    if (message[0] !== kind || refusals++ >= times) return false;
    cluster.refuse(connection, message, code, true);
    return true;
  };
}

/** The connection breaks with the answer under way, and the next one refuses what is sent again on it. */
async function breaksAndRefuses(
  { world, cluster }: Scene,
  kind: 'acquire' | 'release',
  times: number,
  code: ErrorCode,
): Promise<void> {
  cluster.isMute = false;
  refuses(cluster, kind, times, code);
  cluster.breakConnections();
  await world.settle();
}
