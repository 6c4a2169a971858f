import { describe, expect, test } from 'vitest';
import { connected, outcome } from './support/setup.ts';

describe('a cancelled wait', () => {
  test('rejects at once with the signal’s own reason, and is cancelled on the server', async () => {
    const { world, cluster, client } = await connected();
    cluster.occupy('a');
    const controller = new AbortController();
    const acquiring = outcome(client.acquire('a', { signal: controller.signal }));
    await world.settle();
    expect(cluster.waiters('a')).toBe(1);
    const reason = new Error('enough');
    controller.abort(reason);
    await Promise.resolve();
    expect(acquiring.error).toBe(reason);
    await world.settle();
    expect(cluster.waiters('a')).toBe(0);
  });

  test('rejects without sending where the signal had aborted before', async () => {
    const { world, cluster, client } = await connected();
    await expect(client.acquire('a', { signal: AbortSignal.abort('x') })).rejects.toBe('x');
    await world.settle();
    expect(cluster.sent('acquire')).toEqual([]);
  });

  test('sends nothing where the acquire had not left', async () => {
    const { world, cluster, client } = await connected();
    const controller = new AbortController();
    const acquiring = outcome(client.acquire('a', { signal: controller.signal }));
    controller.abort();
    await world.settle();
    expect(acquiring.state).toBe('rejected');
    expect(cluster.sent('acquire')).toEqual([]);
    expect(cluster.sent('cancel')).toEqual([]);
  });

  test('a grant that crosses the cancel is given back', async () => {
    const { world, cluster, client } = await connected();
    const controller = new AbortController();
    const acquiring = outcome(client.acquire('a', { signal: controller.signal }));
    // Sent and granted; the answer has not been read.
    await new Promise((resolve) => setImmediate(resolve));
    for (const callback of world.clock.turns.splice(0)) callback();
    for (const deliver of world.wire.splice(0)) deliver();
    expect(cluster.holder('a')).toBeDefined();
    controller.abort();
    await world.settle();
    expect(acquiring.state).toBe('rejected');
    expect(cluster.holder('a')).toBeUndefined();
  });

  test('a cancel is repeated on the next connection until it is acknowledged', async () => {
    const { world, cluster, client } = await connected();
    cluster.occupy('a');
    const controller = new AbortController();
    void outcome(client.acquire('a', { signal: controller.signal }));
    await world.settle();
    cluster.isDeaf = true;
    controller.abort();
    await world.settle();
    expect(cluster.waiters('a')).toBe(1);
    cluster.isDeaf = false;
    cluster.breakConnections();
    await world.settle();
    expect(cluster.waiters('a')).toBe(0);
    expect(cluster.sent('cancel')).toHaveLength(2);
    expect(new Set(cluster.sent('cancel').map((message) => message[2])).size).toBe(1);
  });

  test('a cancel that is refused for now is sent again under a new number', async () => {
    const { world, cluster, client } = await connected();
    cluster.occupy('a');
    const controller = new AbortController();
    void outcome(client.acquire('a', { signal: controller.signal }));
    await world.settle();
    let refusals = 0;
    cluster.intercept = (connection, message) => {
      if (message[0] !== 'cancel' || refusals++ >= 2) return false;
      cluster.refuse(connection, message, 'LOCKD_NO_QUORUM', true);
      return true;
    };
    controller.abort();
    await world.advance(1000);
    expect(cluster.sent('cancel').map((message) => message[2])).toEqual([2, 3, 4]);
    expect(cluster.waiters('a')).toBe(0);
  });

  test('a signal has no effect on a held lock', async () => {
    const { world, client } = await connected();
    const controller = new AbortController();
    const acquiring = client.acquire('a', { signal: controller.signal });
    await world.settle();
    const lock = await acquiring;
    controller.abort();
    await world.settle();
    expect(lock.held).toBe(true);
    expect(lock.signal.aborted).toBe(false);
  });
});

describe('the wait deadline', () => {
  test('is carried to the server, and kept here', async () => {
    const { world, cluster, client } = await connected();
    cluster.occupy('a');
    const acquiring = outcome(client.acquire('a', { wait: '2s' }));
    await world.settle();
    expect(cluster.sent('acquire')[0]?.[5]).toBe(2000);
    await world.advance(1990);
    expect(acquiring.state).toBe('pending');
    await world.advance(20);
    expect(acquiring.error).toMatchObject({ code: 'LOCKD_WAIT_TIMEOUT', retryable: true });
    expect(cluster.waiters('a')).toBe(0);
  });

  test('is 30 s where none is given', async () => {
    const { world, cluster, client } = await connected();
    cluster.occupy('a');
    const acquiring = outcome(client.acquire('a'));
    await world.advance(29_900);
    expect(acquiring.state).toBe('pending');
    await world.advance(200);
    expect(acquiring.error).toMatchObject({ code: 'LOCKD_WAIT_TIMEOUT' });
  });

  test('holds without any connection', async () => {
    const { world, cluster, client } = await connected();
    for (const endpoint of cluster.endpoints) cluster.kill(endpoint);
    const acquiring = outcome(client.acquire('a', { wait: '2s' }));
    await world.advance(2100);
    expect(acquiring.error).toMatchObject({ code: 'LOCKD_WAIT_TIMEOUT', outcome: 'not-applied' });
  });

  test('that passes on the server is told as such', async () => {
    const { world, cluster, client } = await connected();
    cluster.occupy('a');
    const acquiring = outcome(client.acquire('a', { wait: '2s' }));
    await world.settle();
    cluster.session.connection?.push(['ended', cluster.session.id, 1, 'wait-timeout']);
    await world.settle();
    expect(acquiring.error).toMatchObject({ code: 'LOCKD_WAIT_TIMEOUT', outcome: 'not-applied' });
  });

  test('0 tries once: busy rejects, and says who holds it', async () => {
    const { world, cluster, client } = await connected();
    cluster.occupy('a');
    const acquiring = outcome(client.acquire('a', { wait: 0 }));
    await world.settle();
    expect(acquiring.error).toMatchObject({ code: 'LOCKD_BUSY', because: 'holder', holder: { handle: 1 } });
  });

  test('0 without any node is answered within a bound', async () => {
    const { world, cluster, client } = await connected();
    for (const endpoint of cluster.endpoints) cluster.kill(endpoint);
    const trying = outcome(client.tryAcquire('a'));
    await world.advance(10_100);
    expect(trying.error).toMatchObject({ code: 'LOCKD_NO_QUORUM' });
  });

  test('tryAcquire makes a result of a busy name', async () => {
    const { world, cluster, client } = await connected();
    const free = cluster.occupy('a');
    const trying = outcome(client.tryAcquire('a'));
    await world.settle();
    expect(trying.value).toMatchObject({ ok: false, because: 'holder' });
    free();
    const again = outcome(client.tryAcquire('a'));
    await world.settle();
    expect(again.value).toMatchObject({ ok: true, lock: { name: 'a', held: true } });
  });

  test('an acquire that is refused for want of a leader waits and tries again', async () => {
    const { world, cluster, client } = await connected();
    let refusals = 0;
    cluster.intercept = (connection, message) => {
      if (message[0] !== 'acquire' || refusals++ >= 3) return false;
      cluster.refuse(connection, message, 'LOCKD_NO_QUORUM', true);
      return true;
    };
    const acquiring = outcome(client.acquire('a', { wait: '5s' }));
    await world.advance(3000);
    expect(acquiring.value?.held).toBe(true);
  });
});
