import { LockLost } from '@lockd/client';
import { describe, expect, test } from 'vitest';
import { FakeCluster, type FakeConnection } from './support/fake-cluster.ts';
import { connected, connecting, outcome } from './support/setup.ts';
import { World } from './support/world.ts';

/** What a session of 15 s can be relied on: less 1 % margin, 1 % drift and 100 ms. */
const USABLE_MS = 15_000 * 0.98 - 100;

async function soon<Value>(world: World, promise: Promise<Value>): Promise<Value> {
  await world.settle();
  return promise;
}

describe('the session', () => {
  test('is renewed every third of its TTL, with rising stamps', async () => {
    const { world, cluster } = await connected();
    cluster.frames.length = 0;
    await world.advance(30_100);
    expect(cluster.sent('renew').map(([, , stamp]) => stamp)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('keeps a lock for as long as renewals are acknowledged', async () => {
    const { world, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    await world.advance(300_000);
    expect(lock.held).toBe(true);
    expect(lock.remaining).toBeGreaterThan(USABLE_MS - 5001);
  });

  test('is suspect after half of the TTL, and recovers with the next acknowledgement', async () => {
    const { world, cluster, client } = await connected();
    const events: string[] = [];
    client.on('suspect', () => events.push('suspect'));
    client.on('recovered', () => events.push('recovered'));
    const lock = await soon(world, client.acquire('a'));
    cluster.acknowledgesRenewals = false;
    await world.advance(7400);
    expect(lock.state).toBe('held');
    await world.advance(200);
    expect(lock.state).toBe('suspect');
    expect(lock.held).toBe(true);
    expect(lock.signal.aborted).toBe(false);
    expect(events).toEqual(['suspect']);
    cluster.acknowledgesRenewals = true;
    await world.advance(5000);
    expect(lock.state).toBe('held');
    expect(events).toEqual(['suspect', 'recovered']);
  });

  test('counts from when the acknowledged renewal was sent, not from when the answer came', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    world.delayMs = 400;
    const sentMs = world.clock.nowMs + 5000;
    await world.advance(5900);
    expect(cluster.sent('renew').length).toBeGreaterThan(0);
    expect(lock.remaining).toBeCloseTo(USABLE_MS - (world.clock.nowMs - sentMs), -2);
  });

  test('a renewal whose answer is late counts from its own sending, not from that of a newer one', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    const held: (() => void)[] = [];
    cluster.intercept = (connection, message) => {
      if (message[0] !== 'renew') return false;
      held.push(() => connection.push(['renewed', message[1], message[2]]));
      return true;
    };
    const startMs = world.clock.nowMs;
    // Unrelated traffic keeps the connection alive.
    for (let second = 0; second < 12; second++) {
      void outcome(client.inspect('x'));
      await world.advance(1000);
    }
    held[0]?.();
    await world.settle();
    expect(lock.remaining).toBeCloseTo(USABLE_MS - (world.clock.nowMs - startMs - 5000), -2);
  });

  test('is lost when nothing was acknowledged in time, and the signal says so before the TTL is over', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    const { signal } = lock;
    cluster.acknowledgesRenewals = false;
    await world.advance(USABLE_MS - 100);
    expect(lock.held).toBe(true);
    await world.advance(101);
    expect(lock.held).toBe(false);
    expect(lock.remaining).toBe(0);
    expect(signal.aborted).toBe(true);
    expect(signal.reason).toBeInstanceOf(LockLost);
    expect(signal.reason).toMatchObject({ code: 'LOCKD_LOST', reason: 'session-expired', token: lock.token });
    expect(() => lock.assertHeld()).toThrow(LockLost);
    await expect(lock.release()).rejects.toMatchObject({ code: 'LOCKD_LOST' });
  });

  test('loses a lock also without any connection', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    for (const endpoint of cluster.endpoints) cluster.kill(endpoint);
    await world.advance(15_000);
    expect(lock.signal.aborted).toBe(true);
  });

  test('once lost, is ended and replaced: the old one is closed, a new one opened, nothing comes back', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    const old = cluster.session;
    const events: unknown[] = [];
    client.on('lost', (event) => events.push(event));
    cluster.acknowledgesRenewals = false;
    await world.advance(14_700);
    expect(events).toEqual([{ session: old.id, reason: 'session-expired' }]);
    expect(cluster.sessions.has(old.id)).toBe(false);
    expect(cluster.sent('close').map((message) => message[1])).toEqual([old.id]);
    expect(client.session).toBe(cluster.session.id);
    expect(client.session).not.toBe(old.id);
    cluster.acknowledgesRenewals = true;
    const again = await soon(world, client.acquire('a'));
    expect(again.token).toBeGreaterThan(lock.token);
    expect(lock.held).toBe(false);
  });

  test('the end of a lost session is repeated until it is acknowledged', async () => {
    const { world, cluster } = await connected();
    const old = cluster.session;
    for (const endpoint of cluster.endpoints) cluster.kill(endpoint);
    await world.advance(20_000);
    expect(cluster.sessions.has(old.id)).toBe(true);
    cluster.intercept = (connection, message) => {
      if (message[0] !== 'close') return false;
      cluster.intercept = undefined;
      connection.break();
      return true;
    };
    for (const endpoint of cluster.endpoints) cluster.revive(endpoint);
    cluster.leader = 'fake://n1';
    await world.advance(10_000);
    expect(cluster.sent('close').length).toBeGreaterThan(1);
    expect(cluster.sessions.has(old.id)).toBe(false);
    cluster.frames.length = 0;
    await world.advance(10_000);
    expect(cluster.sent('close')).toEqual([]);
  });

  test('a session that the service ended is lost at once', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    cluster.endSession(cluster.session.id, true);
    await world.settle();
    expect(lock.held).toBe(false);
    expect(lock.signal.reason).toMatchObject({ reason: 'session-ended' });
    expect((await soon(world, client.acquire('a'))).held).toBe(true);
  });

  test('a session that ended while nobody listened is found out by attaching', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    cluster.endSession(cluster.session.id, false);
    cluster.breakConnections();
    await world.settle();
    expect(lock.signal.reason).toMatchObject({ reason: 'session-ended' });
    expect((await soon(world, client.acquire('a'))).held).toBe(true);
  });

  test('what waited in a lost session fails and may be tried again; what was never sent goes on in the next', async () => {
    const { world, cluster, client } = await connected();
    cluster.occupy('a');
    const waiting = outcome(client.acquire('a', { wait: '1m' }));
    await world.settle();
    for (const endpoint of cluster.endpoints) cluster.kill(endpoint);
    await world.settle();
    const unsent = outcome(client.acquire('b', { wait: '1m' }));
    await world.advance(16_000);
    expect(waiting.error).toMatchObject({ code: 'LOCKD_SESSION_EXPIRED', retryable: true, outcome: 'unknown' });
    expect(unsent.state).toBe('pending');
    for (const endpoint of cluster.endpoints) cluster.revive(endpoint);
    cluster.leader = 'fake://n2';
    await world.advance(3000);
    expect(unsent.value?.held).toBe(true);
  });
});

test('an acquire that names grants of a lost session does not go on in the next, where their numbers mean others', async () => {
  const { world, cluster, client } = await connected();
  const lock = await soon(world, client.acquire('a'));
  for (const endpoint of cluster.endpoints) cluster.kill(endpoint);
  await world.settle();
  const inner = outcome(client.acquire('a', { reentrant: lock, wait: '1m' }));
  await world.advance(15_000);
  expect(inner.error).toMatchObject({ code: 'LOCKD_SESSION_EXPIRED' });
});

test('a release that waits to be tried again fails with its session', async () => {
  const { world, cluster, client } = await connected();
  const lock = await soon(world, client.acquire('a'));
  cluster.intercept = (connection, message) => {
    if (message[0] !== 'release') return false;
    cluster.refuse(connection, message, 'LOCKD_NO_QUORUM', true);
    cluster.endSession(message[1], true);
    return true;
  };
  const releasing = outcome(lock.release());
  await world.advance(2000);
  expect(releasing.error).toMatchObject({ code: 'LOCKD_SESSION_EXPIRED', outcome: 'unknown' });
});

describe('a process that was frozen', () => {
  test('knows it at its first look, before anything has run', async () => {
    const { world, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    world.clock.freeze(20_000);
    expect(lock.held).toBe(false);
    expect(lock.remaining).toBe(0);
    expect(lock.state).toBe('lost');
    expect(() => lock.assertHeld()).toThrow(LockLost);
    expect(lock.signal.aborted).toBe(true);
  });

  test('knows it when only the wall clock saw the suspension', async () => {
    const { world, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    const { signal } = lock;
    world.clock.suspend(20_000);
    expect(lock.held).toBe(false);
    await soon(world, client.inspect('x'));
    expect(signal.aborted).toBe(true);
  });

  test('a wall clock that steps back takes nothing and gives nothing', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    world.clock.suspend(-3_600_000);
    expect(lock.held).toBe(true);
    cluster.acknowledgesRenewals = false;
    await world.advance(14_700);
    expect(lock.held).toBe(false);
  });

  test('its signals abort before any other promise settles, however the answers arrive', async () => {
    const { world, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    const order: string[] = [];
    lock.signal.addEventListener('abort', () => order.push('aborted'));
    const reading = client.inspect('x').then(() => order.push('settled'));
    // The answer is on the wire; then the process stops for longer than the lease, and reads the socket first.
    await drain(world, 1);
    world.clock.freeze(20_000);
    await world.settle();
    await reading;
    expect(order).toEqual(['aborted', 'settled']);
  });

  test('its signals abort before a call made after the freeze settles', async () => {
    const { world, client } = await connected();
    const lock = await soon(world, client.acquire('a'));
    const { signal } = lock;
    world.clock.freeze(20_000);
    const controller = new AbortController();
    controller.abort(new Error('mine'));
    const rejected = client.acquire('b', { signal: controller.signal }).catch(() => signal.aborted);
    await expect(rejected).resolves.toBe(true);
  });

  test('a grant that arrives after the session is lost is not given to anybody', async () => {
    const { world, cluster, client } = await connected();
    const acquiring = outcome(client.acquire('a'));
    await drain(world, 1);
    expect(cluster.holder('a')).toBeDefined();
    world.clock.freeze(20_000);
    await world.settle();
    expect(acquiring.error).toMatchObject({ code: 'LOCKD_SESSION_EXPIRED' });
    expect(cluster.holder('a')).toBeUndefined();
  });
});

describe('an own lease', () => {
  test('counts from the sending of the acquire that was granted at once, and nothing renews it', async () => {
    const { world, cluster, client } = await connected();
    world.delayMs = 300;
    const acquiring = client.acquire('a', { lease: '5s' });
    const sentMs = world.clock.nowMs;
    await world.advance(700);
    const lock = await acquiring;
    expect(lock.remaining).toBeCloseTo(5000 * 0.98 - 100 - (world.clock.nowMs - sentMs), -1);
    expect(cluster.sent('extend')).toEqual([]);
    const { signal } = lock;
    await world.advance(4200);
    expect(lock.held).toBe(false);
    expect(signal.reason).toMatchObject({ reason: 'lease-expired' });
    expect((await world.advance(1000), cluster.holder('a'))).toBeUndefined();
  });

  test('is extended on request, and counts from the sending of the extension', async () => {
    const { world, client } = await connected();
    const lock = await soon(world, client.acquire('a', { lease: '5s' }));
    await world.advance(3000);
    const extending = lock.extend('10s');
    const sentMs = world.clock.nowMs;
    await world.advance(100);
    await extending;
    expect(lock.remaining).toBeCloseTo(10_000 * 0.98 - 100 - (world.clock.nowMs - sentMs), -1);
    await world.advance(8000);
    expect(lock.held).toBe(true);
    await world.advance(2000);
    expect(lock.held).toBe(false);
  });

  test('a pushed grant is confirmed once before acquire resolves, and counts from the confirmation', async () => {
    const { world, cluster, client } = await connected();
    const free = cluster.occupy('a');
    const acquiring = outcome(client.acquire('a', { lease: '5s', wait: '1m' }));
    await world.advance(20_000);
    world.delayMs = 200;
    free();
    // The push has arrived, the confirmation has not been answered.
    await world.advance(300);
    expect(acquiring.state).toBe('pending');
    expect(cluster.sent('extend').map((message) => message.slice(4))).toEqual([[1, 5000]]);
    await world.advance(400);
    expect(acquiring.value?.held).toBe(true);
    expect(acquiring.value?.remaining).toBeCloseTo(5000 * 0.98 - 100 - 500, -3);
  });

  test('a pushed grant whose lease had ended before it was confirmed is not given to anybody', async () => {
    const { world, cluster, client } = await connected();
    const free = cluster.occupy('a');
    const acquiring = outcome(client.acquire('a', { lease: '5s', wait: '1m' }));
    await world.settle();
    cluster.intercept = (connection, message) => {
      if (message[0] !== 'extend') return false;
      cluster.refuse(connection, message, 'LOCKD_NOT_HELD', false);
      return true;
    };
    free();
    await world.settle();
    expect(acquiring.error).toMatchObject({ code: 'LOCKD_LOST', retryable: true });
  });

  test('an acquire that was repeated is confirmed too: its answer may speak of a grant made long ago', async () => {
    const { world, cluster, client } = await connected();
    cluster.isMute = true;
    const acquiring = outcome(client.acquire('a', { lease: '5s' }));
    await world.settle();
    cluster.isMute = false;
    cluster.breakConnections();
    await world.settle();
    expect(cluster.sent('extend')).toHaveLength(1);
    expect(acquiring.value?.held).toBe(true);
  });

  test('is lost by the wall clock too', async () => {
    const { world, client } = await connected();
    const lock = await soon(world, client.acquire('a', { lease: '5s' }));
    const { signal } = lock;
    world.clock.suspend(6000);
    expect(lock.held).toBe(false);
    await soon(world, client.inspect('x'));
    expect(signal.aborted).toBe(true);
  });

  test('maxHold ends a lock that renewals would keep', async () => {
    const { world, client } = await connected();
    const lock = await soon(world, client.acquire('a', { maxHold: '20s' }));
    await world.advance(19_000);
    expect(lock.held).toBe(true);
    await world.advance(1000);
    expect(lock.signal.reason).toMatchObject({ reason: 'max-hold' });
  });

  test('maxHold of a pushed grant counts, at a follower, from the last message that the log held then', async () => {
    const world = new World();
    const cluster = new FakeCluster(world);
    cluster.hidesLeader = true;
    const client = await connecting(world, cluster, { endpoints: ['fake://n3'] });
    const free = cluster.occupy('a');
    const acquiring = outcome(client.acquire('a', { maxHold: '8s', wait: '1m' }));
    await world.advance(10_000);
    await soon(world, client.acquire('b'));
    await world.advance(2000);
    free();
    await world.settle();
    expect(acquiring.value?.remaining).toBe(8000 * 0.98 - 100 - 2000);
  });

  test('maxHold of a pushed grant counts from a renewal shortly before it, on the leader’s connection', async () => {
    const { world, cluster, client } = await connected();
    const free = cluster.occupy('a');
    const acquiring = outcome(client.acquire('a', { maxHold: '4s', wait: '1m' }));
    await world.advance(20_300);
    free();
    await world.settle();
    expect(acquiring.value?.remaining).toBeGreaterThan(4000 * 0.98 - 100 - 1001);
  });

  test('maxHold counts from the sending where the answer is to a repeated acquire: a renewal acknowledged since proves nothing', async () => {
    const { world, cluster, client } = await connected();
    cluster.isMute = true;
    const acquiring = outcome(client.acquire('a', { maxHold: '10s', wait: '1m' }));
    // Granted at once, and nobody hears of it. The client gives the silent connection up, and comes back to the leader.
    await world.advance(2000);
    cluster.isMute = false;
    cluster.breakConnections();
    await world.settle();
    expect(acquiring.value?.remaining).toBe(10_000 * 0.98 - 100 - 2000);
  });

  test('maxHold counts in the same way where an ask finds the grant', async () => {
    const world = new World();
    const cluster = new FakeCluster(world);
    const client = await connecting(world, cluster, { endpoints: ['fake://n1'] });
    const free = cluster.occupy('a');
    const acquiring = outcome(client.acquire('a', { maxHold: '10s', wait: '1m' }));
    await world.settle();
    // The push gets lost, renewals are acknowledged.
    const said = cluster.connections.values().next().value as FakeConnection;
    const push = said.push.bind(said);
    said.push = (...messages) => push(...messages.filter(([type]) => type !== 'granted'));
    free();
    await world.advance(6000);
    expect(acquiring.state).toBe('pending');
    cluster.breakConnections();
    await world.settle();
    expect(acquiring.value?.remaining).toBe(10_000 * 0.98 - 100 - 6000);
  });

  test('an extension that shortens the lease counts at once: it may have been carried out, and its answer lost', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a', { lease: '1m' }));
    const { signal } = lock;
    cluster.isMute = true;
    const extending = outcome(lock.extend('2s'));
    await world.advance(1900);
    expect(lock.held).toBe(false);
    expect(signal.reason).toMatchObject({ reason: 'lease-expired' });
    cluster.isMute = false;
    cluster.breakConnections();
    await world.settle();
    expect(extending.error).toMatchObject({ code: 'LOCKD_LOST' });
  });
});

/** Runs ends of turns and deliveries a limited number of times. */
async function drain(world: World, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    await new Promise((resolve) => setImmediate(resolve));
    for (const callback of world.clock.turns.splice(0)) callback();
    for (const deliver of world.wire.splice(0)) deliver();
  }
}

describe('a lock with a lockDelay that is lost is not given back, which would count as a release', () => {
  test('when its own lease has passed', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a', { lease: 3000, lockDelay: 5000 }));
    const other = await soon(world, client.acquire('b', { lease: 3000 }));
    const { session } = client;
    await world.advance(3000);
    expect([lock.held, other.held]).toEqual([false, false]);
    // The one without a delay comes free at once.
    expect(cluster.sent('release').map(([, , , , handle]) => handle)).toEqual([other.handle]);
    expect(client.session).toBe(session);
  });

  test('when its maxHold has passed', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a', { maxHold: 3000, lockDelay: 5000 }));
    await world.advance(3000);
    expect(lock.held).toBe(false);
    expect(cluster.sent('release')).toEqual([]);
  });

  test('when its session was not renewed: nobody closes that, its deadline ends it', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a', { lockDelay: 5000 }));
    const lost = client.session;
    cluster.acknowledgesRenewals = false;
    await world.advance(16_000);
    expect(lock.held).toBe(false);
    expect(cluster.sent('close')).toEqual([]);
    expect(client.session).not.toBe(lost);
  });

  test('when its maxHold has passed, and then its session was not renewed either: the service may not have ended it', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a', { maxHold: 10_000, lockDelay: 5000 }));
    cluster.acknowledgesRenewals = false;
    const lost = client.session;
    await world.advance(16_000);
    expect(lock.held).toBe(false);
    expect(client.session).not.toBe(lost);
    expect(cluster.sent('close')).toEqual([]);
  });

  test('but once the service has said that it ended the grant, a session that is lost is closed at once', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a', { maxHold: 3000, lockDelay: 5000 }));
    await world.advance(3000);
    const lost = client.session;
    cluster.session.connection?.push(['ended', cluster.session.id, lock.handle, 'max-hold']);
    cluster.acknowledgesRenewals = false;
    await world.advance(16_000);
    expect(cluster.sent('close').map(([, session]) => session)).toEqual([lost]);
  });

  test('when its maxHold has passed and the client closes: all else is given back, and the session left to its deadline', async () => {
    const { world, cluster, client } = await connected();
    const lost = await soon(world, client.acquire('a', { maxHold: 3000, lockDelay: 5000 }));
    const held = await soon(world, client.acquire('b', { lockDelay: 5000 }));
    const giveBack = cluster.occupy('c');
    const waiting = outcome(client.acquire('c'));
    await world.advance(3000);
    expect(lost.held).toBe(false);
    const unanswered = outcome(client.acquire('d'));
    await drain(world, 1);
    expect([cluster.holder('d')?.session, unanswered.state]).toEqual([cluster.session.id, 'pending']);
    const closing = outcome(client.close());
    expect(held.held).toBe(false);
    await world.settle();
    expect(closing.state).toBe('fulfilled');
    expect([waiting.error, unanswered.error]).toMatchObject([{ code: 'LOCKD_CLOSED' }, { code: 'LOCKD_CLOSED' }]);
    giveBack();
    expect(cluster.sent('close')).toEqual([]);
    // Only what the service ends by itself is still there.
    expect(['a', 'b', 'c', 'd'].map((name) => cluster.holder(name)?.handle)).toEqual([
      lost.handle,
      undefined,
      undefined,
      undefined,
    ]);
  });

  test('and what is refused for now on that way is given back later', async () => {
    const { world, cluster, client } = await connected();
    await soon(world, client.acquire('a', { maxHold: 3000, lockDelay: 5000 }));
    await soon(world, client.acquire('b'));
    await world.advance(3000);
    let refusals = 0;
    cluster.intercept = (connection, message) => {
      if (message[0] !== 'release' || refusals++ > 0) return false;
      cluster.refuse(connection, message, 'LOCKD_OVERLOADED', true);
      return true;
    };
    const closing = outcome(client.close());
    await world.settle();
    expect([refusals, closing.state, cluster.holder('b') === undefined]).toEqual([1, 'pending', false]);
    await world.advance(1000);
    expect([closing.state, cluster.holder('b')]).toEqual(['fulfilled', undefined]);
  });

  test('and a client that closes later, when the service has ended it, closes its session', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a', { maxHold: 3000, lockDelay: 5000 }));
    await world.advance(3000);
    cluster.session.connection?.push(['ended', cluster.session.id, lock.handle, 'max-hold']);
    await world.settle();
    const closing = outcome(client.close());
    await world.settle();
    expect(closing.state).toBe('fulfilled');
    expect(cluster.sent('close').map(([, session]) => session)).toEqual([client.session]);
  });

  test('and one that was released before its session was lost asks for nothing', async () => {
    const { world, cluster, client } = await connected();
    const lock = await soon(world, client.acquire('a', { lockDelay: 5000 }));
    await soon(world, lock.release());
    const lost = client.session;
    cluster.acknowledgesRenewals = false;
    await world.advance(16_000);
    expect(cluster.sent('close').map(([, session]) => session)).toEqual([lost]);
  });
});
