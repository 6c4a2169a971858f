import { type HeldLock, LockdError, LockLost } from '@lockd/client';
import { describe, expect, test } from 'vitest';
import { connected, outcome } from './support/setup.ts';
import type { World } from './support/world.ts';

async function soon<Value>(world: World, promise: Promise<Value>): Promise<Value> {
  await world.settle();
  return promise;
}

describe('withLock', () => {
  test('runs under the lock, and settles after the release is acknowledged', async () => {
    const { world, cluster, client } = await connected();
    const running = client.withLock('a', (lock) => {
      expect(lock.held).toBe(true);
      expect(cluster.holder('a')?.token).toBe(lock.token);
      return 42;
    });
    const checked = running.then((value) => [value, cluster.holder('a')]);
    await world.settle();
    expect(await checked).toEqual([42, undefined]);
  });

  test('passes on what the body throws, after the release', async () => {
    const { world, cluster, client } = await connected();
    const failure = new Error('mine');
    const running = outcome(client.withLock('a', { mode: 'shared' }, () => Promise.reject(failure)));
    await world.settle();
    expect(running.error).toBe(failure);
    expect(cluster.holder('a')).toBeUndefined();
  });

  test('rejects with the loss where the lock was lost before the body had finished', async () => {
    const { world, cluster, client } = await connected();
    const running = outcome(
      client.withLock('a', async (lock) => {
        await new Promise((resolve) => lock.signal.addEventListener('abort', resolve));
        return 'done';
      }),
    );
    await world.settle();
    cluster.take('a', 'stolen');
    await world.settle();
    expect(running.error).toBeInstanceOf(LockLost);
    expect(running.error).toMatchObject({ reason: 'stolen' });
  });

  test('says what its caller holds, so that a deadlock with oneself can be seen', async () => {
    const { world, cluster, client } = await connected();
    const running = client.withLock('a', () => client.withLock('b', async () => {}));
    await world.settle();
    await running;
    const [outer, inner] = cluster.sent('acquire');
    expect(outer?.[7]).toBeNull();
    expect(inner?.[7]).toEqual({ holding: [outer?.[2]] });
  });

  test('what runs beside it holds nothing', async () => {
    const { world, cluster, client } = await connected();
    const running = client.withLock('a', async () => {});
    const beside = client.withLock('b', async () => {});
    await world.settle();
    await Promise.all([running, beside]);
    for (const message of cluster.sent('acquire')) expect(message[7]).toBeNull();
  });

  test('tells nothing where the client was asked not to', async () => {
    const { world, cluster, client } = await connected({ trackHolding: false });
    const running = client.withLock('a', () => client.withLock('b', async () => {}));
    await world.settle();
    await running;
    expect(cluster.sent('acquire')[1]?.[7]).toBeNull();
  });
});

describe('re-entry', () => {
  test('shares the hold of a lock that is passed, and counts', async () => {
    const { world, cluster, client } = await connected();
    const outer = await soon(world, client.acquire('a'));
    const inner = await soon(world, client.acquire('a', { reentrant: outer }));
    expect(cluster.sent('acquire')[1]?.[7]).toEqual({ reenter: [outer.handle] });
    expect([outer.holdCount, inner.holdCount]).toEqual([2, 2]);
    await soon(world, inner.release());
    expect([outer.holdCount, inner.holdCount, outer.held, inner.held]).toEqual([1, 0, true, false]);
  });

  test('with true it shares the enclosing withLock of the same name', async () => {
    const { world, cluster, client } = await connected();
    const running = client.withLock('a', () =>
      client.withLock('a', { reentrant: true }, async (lock) => lock.holdCount),
    );
    await world.settle();
    expect(await running).toBe(2);
    expect(cluster.sent('acquire')[1]?.[7]).toEqual({ holding: [1], reenter: [1] });
  });

  test('what shares a hold is lost with it', async () => {
    const { world, cluster, client } = await connected();
    const outer = await soon(world, client.acquire('a', { lease: '5s' }));
    const inner = await soon(world, client.acquire('a', { reentrant: outer }));
    const { signal } = inner;
    await world.advance(5000);
    expect([outer.held, inner.held, signal.aborted]).toEqual([false, false, true]);
    expect(cluster.sent('extend')).toEqual([]);
  });

  test('a root that was released keeps the deadline of those who share it', async () => {
    const { world, client } = await connected();
    const outer = await soon(world, client.acquire('a', { lease: '5s' }));
    const inner = await soon(world, client.acquire('a', { reentrant: outer }));
    await soon(world, outer.release());
    expect([outer.state, inner.held]).toEqual(['released', true]);
    const { signal } = inner;
    await world.advance(5000);
    expect(signal.reason).toMatchObject({ reason: 'lease-expired' });
    expect(outer.signal.aborted).toBe(false);
  });

  test('of another name, or of a lock that is gone, is refused', async () => {
    const { world, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    await expect(client.acquire('b', { reentrant: lock })).rejects.toMatchObject({ code: 'LOCKD_INVALID' });
    await soon(world, lock.release());
    await expect(client.acquire('a', { reentrant: lock })).rejects.toMatchObject({ code: 'LOCKD_NOT_HELD' });
  });
});

describe('a held lock', () => {
  test('released twice is reported', async () => {
    const { world, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    await soon(world, lock.release());
    await expect(lock.release()).rejects.toMatchObject({ code: 'LOCKD_NOT_HELD' });
    expect(() => lock.assertHeld()).toThrow(LockdError);
  });

  test('makes its signal when it is first asked for, and the same ever after', async () => {
    const { world, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    expect(lock.signal).toBe(lock.signal);
    expect(lock.signal.aborted).toBe(false);
  });

  test('that is stolen or released by force says so', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    cluster.take('a', 'forced');
    await world.settle();
    expect(lock.signal.reason).toMatchObject({ reason: 'forced', lockName: 'a', token: lock.token });
  });

  test('is upgraded with a new token, and downgraded with the same', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a', { mode: 'shared' }));
    const { token } = lock;
    await soon(world, lock.upgrade());
    expect(lock.token).toBeGreaterThan(token);
    const upgraded = lock.token;
    await soon(world, lock.downgrade());
    expect(lock.token).toBe(upgraded);
    cluster.intercept = (connection, message) => {
      if (message[0] !== 'upgrade') return false;
      cluster.refuse(connection, message, 'LOCKD_CONFLICT', false);
      return true;
    };
    const conflict = outcome(lock.upgrade());
    await world.settle();
    expect(conflict.error).toMatchObject({ code: 'LOCKD_CONFLICT' });
    expect(lock.held).toBe(true);
  });

  test('disposed twice, after a release, or after a loss does nothing more', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    await soon(world, lock[Symbol.asyncDispose]());
    await lock[Symbol.asyncDispose]();
    expect(cluster.sent('release')).toHaveLength(1);
    const lost = await soon(world, client.acquire('b'));
    cluster.take('b', 'stolen');
    await world.settle();
    await lost[Symbol.asyncDispose]();
    expect(cluster.sent('release')).toHaveLength(1);
  });

  test('disposal is bounded in time and reports instead of throwing', async () => {
    const reported: unknown[] = [];
    const { world, cluster, client } = await connected({
      onReleaseError: (error) => reported.push(error),
      releaseTimeout: '2s',
    });
    const lock = await soon(world, client.acquire('a'));
    for (const endpoint of cluster.endpoints) cluster.kill(endpoint);
    const disposing = outcome(lock[Symbol.asyncDispose]());
    await world.advance(1900);
    expect(disposing.state).toBe('pending');
    await world.advance(200);
    expect(disposing.state).toBe('fulfilled');
    expect(reported).toMatchObject([{ code: 'LOCKD_OUTCOME_UNKNOWN' }]);
    // It goes on in the background.
    for (const endpoint of cluster.endpoints) cluster.revive(endpoint);
    cluster.leader = 'fake://n1';
    await world.advance(3000);
    expect(cluster.holder('a')).toBeUndefined();
  });

  test('a hook that throws harms nobody', async () => {
    const { world, cluster, client } = await connected({
      onReleaseError: () => {
        throw new Error('hook');
      },
      releaseTimeout: '1s',
    });
    const lock: HeldLock = await soon(world, client.acquire('a'));
    cluster.isDeaf = true;
    const disposing = outcome(lock[Symbol.asyncDispose]());
    await world.advance(1100);
    expect(disposing.state).toBe('fulfilled');
  });
});

describe('other kinds', () => {
  test('acquireAll asks for all names in one operation, each once', async () => {
    const { world, cluster, client } = await connected();
    const both = await soon(world, client.acquireAll(['a', 'b', 'a']));
    expect(cluster.sent('acquire-all')[0]?.[4]).toEqual(['a', 'b']);
    expect(cluster.holder('b')?.token).toBe(both.token);
    await soon(world, both.release());
    expect(cluster.holder('a')).toBeUndefined();
  });

  test('a semaphore gives permits with a slot', async () => {
    const { world, cluster, client } = await connected();
    const semaphore = client.semaphore('api', { limit: 2 });
    const first = await soon(world, semaphore.acquire());
    const second = await soon(world, semaphore.tryAcquire());
    const third = await soon(world, semaphore.tryAcquire({ minHold: '1s' }));
    expect(first.slot).toBe(1);
    expect([second.ok, third.ok]).toEqual([true, false]);
    expect(cluster.sent('acquire')[2]?.[7]).toEqual({ permits: 2, minHoldMs: 1000 });
    const running = semaphore.withPermit(() => 'ran');
    await soon(world, first.release());
    expect(await running).toBe('ran');
    await soon(world, semaphore.setLimit(5));
    expect(cluster.sent('set-limit')[0]?.slice(4)).toEqual(['api', 5]);
  });

  test('once runs its body, records the completion before the release, and not again', async () => {
    const { world, cluster, client } = await connected();
    const first = client.once('nightly', { key: 'monday', keep: '1h' }, () => 'ran');
    await world.settle();
    expect(await first).toEqual({ ran: true, value: 'ran' });
    const kinds = cluster.frames.flatMap((frame) => frame.messages.map((message) => message[0]));
    expect(kinds.indexOf('complete')).toBeLessThan(kinds.indexOf('release'));
    expect(cluster.sent('complete')[0]?.slice(4)).toEqual([1, 'monday', 3_600_000]);
    const second = client.once('nightly', { key: 'monday' }, () => 'again');
    await world.settle();
    expect(await second).toEqual({ ran: false });
  });

  test('once records nothing where the body throws', async () => {
    const { world, cluster, client } = await connected();
    const failing = outcome(client.once('nightly', { key: 'monday' }, () => Promise.reject(new Error('no'))));
    await world.settle();
    expect(failing.state).toBe('rejected');
    expect(cluster.sent('complete')).toEqual([]);
  });

  test('a waiting once whose work somebody else completes does not run', async () => {
    const { world, cluster, client } = await connected();
    cluster.occupy('nightly');
    const waiting = outcome(client.once('nightly', { key: 'monday' }, () => 'ran'));
    await world.settle();
    cluster.session.connection?.push(['ok', cluster.session.id, 1, { done: true }]);
    await world.settle();
    expect(waiting.value).toEqual({ ran: false });
  });

  test('a waiting once whose work was completed while nobody listened asks anew', async () => {
    const { world, cluster, client } = await connected();
    const free = cluster.occupy('nightly');
    const waiting = outcome(client.once('nightly', { key: 'monday' }, () => 'ran'));
    await world.settle();
    cluster.completed.add('monday');
    cluster.isMute = true;
    cluster.drop(cluster.session.id, 1);
    free();
    cluster.isMute = false;
    cluster.breakConnections();
    await world.settle();
    expect(waiting.value).toEqual({ ran: false });
  });

  test('options travel as they are', async () => {
    const { world, cluster, client } = await connected();
    const lock = client.acquire('a', {
      mode: 'shared',
      maxHold: '1m',
      minHold: 10,
      lockDelay: '2s',
      metadata: { why: 'test' },
      steal: true,
      lease: '10s',
      wait: '3s',
    });
    await world.settle();
    await lock;
    expect(cluster.sent('acquire')[0]?.slice(4)).toEqual([
      'a',
      3000,
      10_000,
      { mode: 'shared', maxHoldMs: 60_000, minHoldMs: 10, lockDelayMs: 2000, metadata: { why: 'test' }, steal: true },
    ]);
  });
});

describe('reads', () => {
  test('inspect and list show names as users write them', async () => {
    const { world, client } = await connected();
    const odd = 'x\ud800\ufdd0';
    const lock = client.acquire(odd);
    await world.settle();
    await lock;
    expect(await soon(world, client.inspect(odd))).toMatchObject({ name: odd, holders: [{ handle: 1 }] });
    expect((await soon(world, client.list('x'))).map((row) => row.name)).toEqual([odd]);
  });

  test('list goes on page by page', async () => {
    const { world, cluster, client } = await connected();
    const locks = Promise.all(
      Array.from({ length: 1500 }, (_, index) => client.acquire(`n${String(index).padStart(5, '0')}`)),
    );
    await world.settle();
    await locks;
    const rows = client.list('n', { limit: 10_000 });
    await world.settle();
    expect(await rows).toHaveLength(1500);
    expect(cluster.sent('list').map((message) => message[4])).toEqual([null, 'n00999']);
  });
});

describe('closing', () => {
  test('ends the session, aborts what is held, rejects what waits, and leaves no timer', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    cluster.occupy('b');
    const waiting = outcome(client.acquire('b'));
    const reading = outcome(client.inspect('a'));
    await world.settle();
    const pending = outcome(client.inspect('a'));
    const closing = client.close();
    expect(lock.signal.reason).toMatchObject({ reason: 'client-closed' });
    await world.settle();
    await closing;
    expect(reading.state).toBe('fulfilled');
    expect(pending.error).toMatchObject({ code: 'LOCKD_CLOSED' });
    expect(waiting.error).toMatchObject({ code: 'LOCKD_CLOSED' });
    expect(cluster.sessions.size).toBe(0);
    expect(cluster.holder('a')).toBeUndefined();
    expect(cluster.connections.size).toBe(0);
    expect(world.clock.timers.size).toBe(0);
    await expect(client.acquire('c')).rejects.toMatchObject({ code: 'LOCKD_CLOSED' });
    await expect(client.inspect('c')).rejects.toMatchObject({ code: 'LOCKD_CLOSED' });
    await client.close();
  });

  test('waits for releases that are under way', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    const releasing = outcome(lock.release());
    const closing = client.close();
    await world.settle();
    await closing;
    expect(releasing.state).toBe('fulfilled');
    const kinds = cluster.frames.at(-2)?.messages.map((message) => message[0]);
    expect(kinds).toEqual(['release', 'close']);
  });

  test('a release that nobody acknowledged by then is told as unknown', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    for (const endpoint of cluster.endpoints) cluster.kill(endpoint);
    const releasing = outcome(lock.release());
    void client.close();
    await world.advance(5100);
    expect(releasing.error).toMatchObject({ code: 'LOCKD_OUTCOME_UNKNOWN', outcome: 'unknown' });
  });

  test('is done as well when the service says that the session has ended, instead of an answer', async () => {
    const { world, cluster, client } = await connected();
    cluster.intercept = (_connection, message) => {
      if (message[0] !== 'close') return false;
      cluster.endSession(message[1], true);
      return true;
    };
    const closing = outcome(client.close());
    await world.settle();
    expect(closing.state).toBe('fulfilled');
  });

  test('is bounded in time', async () => {
    const reported: unknown[] = [];
    const { world, cluster, client } = await connected({ onReleaseError: (error) => reported.push(error) });
    for (const endpoint of cluster.endpoints) cluster.kill(endpoint);
    const closing = outcome(client.close());
    await world.advance(4900);
    expect(closing.state).toBe('pending');
    await world.advance(200);
    expect(closing.state).toBe('fulfilled');
    expect(reported).toMatchObject([{ code: 'LOCKD_OUTCOME_UNKNOWN' }]);
    expect(world.clock.timers.size).toBe(0);
  });
});

describe('wrong options say what would be right', () => {
  test.each([
    ['', {}, /empty/],
    ['x'.repeat(600), {}, /512/],
    [7, {}, /string/],
    ['a', { wait: -1 }, /`wait`/],
    ['a', { wait: '5 s' }, /5s/],
    ['a', { wait: Number.NaN }, /`wait`/],
    ['a', { lease: 100 }, /250/],
    ['a', { mode: 'both' }, /exclusive/],
    ['a', { metadata: { a: 1 } }, /strings/],
    ['a', { metadata: { a: 'x'.repeat(5000) } }, /4096/],
    ['a', { maxHold: '1000000h' }, /`maxHold`/],
  ])('acquire(%j, %j)', async (name, options, message) => {
    const { client } = await connected();
    await expect(client.acquire(name as string, options as never)).rejects.toMatchObject({
      code: 'LOCKD_INVALID',
      outcome: 'not-applied',
    });
    await expect(client.acquire(name as string, options as never)).rejects.toThrow(message);
  });

  test('acquireAll without names, semaphore without a limit, extend without a lease', async () => {
    const { world, client } = await connected();
    await expect(client.acquireAll([])).rejects.toThrow(/at least one/);
    expect(() => client.semaphore('a', { limit: 0 })).toThrow(/whole number/);
    const lock = await soon(world, client.acquire('a'));
    await expect(lock.extend('0s')).rejects.toThrow(/lease/);
  });
});

test('events: a listener that throws harms nobody, and can be removed', async () => {
  const errors: unknown[] = [];
  const { world, cluster, client } = await connected({ onListenerError: (error) => errors.push(error) });
  const seen: string[] = [];
  const off = client.on('disconnected', () => seen.push('disconnected'));
  client.on('connected', () => {
    throw new Error('listener');
  });
  cluster.breakConnections();
  await world.settle();
  expect(seen).toEqual(['disconnected']);
  expect(errors).toHaveLength(1);
  off();
  cluster.breakConnections();
  await world.settle();
  expect(seen).toHaveLength(1);
});
