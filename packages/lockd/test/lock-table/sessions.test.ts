import { describe, expect, test } from 'vitest';
import { OP, OPEN_FLAG } from '../../src/lock-table/command.ts';
import { TABLE_LIMITS } from '../../src/lock-table/limits.ts';
import { Bench } from './bench-client.ts';

function two() {
  const bench = new Bench();
  return { bench, a: bench.open('a'), b: bench.open('b') };
}

describe('sessions', () => {
  test('are named by the index of the entry that opened them, and opened once for each nonce', () => {
    const bench = new Bench();
    const a = bench.open('a');
    expect(a.id).toBe(1);
    bench.open('b');
    expect(bench.open('a', 0, 0).id).toBe(1);
    expect(bench.table.counters().sessions).toBe(2);
  });

  test('a delayed open of a closed session does not revive it', () => {
    const { bench, a } = two();
    a.close();
    expect(bench.apply([OP.open, 'a', 15_000, 0, 0, []])[0]).toMatchObject([
      'openRefused',
      'a',
      'LOCKD_SESSION_EXPIRED',
      expect.any(String),
    ]);
  });

  test('nor after so many other sessions have ended that its nonce is forgotten', () => {
    const bench = new Bench({ ...TABLE_LIMITS, maxEndedNonces: 3 });
    bench.open('old').close();
    for (let i = 0; i < 5; i++) bench.open(`n${i}`).close();
    const [[name, , code]] = bench.apply([OP.open, 'old', 15_000, 0, 0, []]) as [[string, string, string]];
    expect([name, code]).toEqual(['openRefused', 'LOCKD_SESSION_EXPIRED']);
    // Who has seen what is forgotten may open.
    expect(bench.open('fresh').id).toBe(bench.index);
  });

  test('an open that has seen the future is refused', () => {
    const bench = new Bench();
    expect(bench.apply([OP.open, 'a', 15_000, 99, 0, []])[0]).toMatchObject([
      'openRefused',
      'a',
      'LOCKD_INVALID',
      expect.any(String),
    ]);
  });

  test('are attached with the next epoch, by those who know the nonce', () => {
    const { bench, a } = two();
    expect(bench.apply([OP.attach, a.id, 'guess', 2])[0]).toMatchObject([
      'attachRefused',
      a.id,
      2,
      'LOCKD_UNAUTHORIZED',
      expect.any(String),
    ]);
    expect(a.attach(2)).toBe(true);
    expect(a.attach(2)).toBe(false);
    expect(bench.apply([OP.attach, 99, 'a', 2])[0]).toMatchObject([
      'attachRefused',
      99,
      2,
      'LOCKD_SESSION_EXPIRED',
      expect.any(String),
    ]);
  });

  test('what an older connection still sends has no effect and no answer: that would reach the new one', () => {
    const { bench, a } = two();
    a.attach(2);
    a.epoch = 1;
    expect(a.acquire('x')).toEqual({ handle: 1 });
    expect(bench.calls).toEqual([]);
    expect(bench.holders('x')).toEqual([]);
  });

  test('a detach by an older connection does not count', () => {
    const { bench, a } = two();
    a.attach(2);
    a.detach(1);
    expect(bench.calls).toEqual([]);
    a.detach(2);
    expect(bench.calls).toEqual([['sessionDetached', a.id]]);
  });

  test('one that belongs to its connection cannot be attached again, and ends at its deadline', () => {
    const { bench, b } = two();
    const bound = bench.open('bound', OPEN_FLAG.connectionBound);
    bound.acquire('x');
    expect(bound.attach(2)).toBe(false);
    bound.detach();
    expect(bench.table.isRenewable(bound.id)).toBe(false);
    b.acquire('x');
    expect(bench.holders('x')).toEqual([`${bound.id}/1`]);
    bound.expire();
    expect(bench.holders('x')).toEqual([`${b.id}/1`]);
  });

  test('one that releases on disconnect ends at once', () => {
    const { bench, b } = two();
    const bound = bench.open('bound', OPEN_FLAG.connectionBound | OPEN_FLAG.releaseOnDisconnect);
    bound.acquire('x');
    b.acquire('x');
    bound.detach();
    expect(bench.holders('x')).toEqual([`${b.id}/1`]);
    expect(bench.table.isAlive(bound.id)).toBe(false);
  });

  test('end by expiry only in the term that decided it, and not when attached since', () => {
    const { bench, a } = two();
    const attachment = bench.table.attachmentOf(a.id) as number;
    bench.term = 2;
    a.expire(1);
    expect(bench.table.isAlive(a.id)).toBe(true);
    a.attach();
    a.expire(2, attachment);
    expect(bench.table.isAlive(a.id)).toBe(true);
    a.expire(2);
    expect(bench.table.isAlive(a.id)).toBe(false);
    expect(bench.table.counters().refusedEnds).toBe(2);
  });

  test('after the end every operation is told so', () => {
    const { a } = two();
    a.acquire('x');
    a.expire();
    expect(a.release(1)).toMatchObject({ refused: 'LOCKD_SESSION_EXPIRED' });
    expect(a.state(1)).toEqual([1, 'ended', 'session-ended']);
  });
});

describe('promise 4: at most once', () => {
  test('a repeated operation gets the answer of the one that took effect', () => {
    const { bench, a, b } = two();
    a.acquire('x');
    expect(b.acquire('x', 0)).toMatchObject({ refused: 'LOCKD_BUSY' });
    a.release(1);
    // The name is free now, and the operation was answered: its client may have that answer.
    expect(b.acquire('x', 0, undefined, 0, 1)).toMatchObject({ refused: 'LOCKD_BUSY' });
    expect(a.release(1, 2)).toEqual({ ok: null, handle: 2 });
    expect(bench.holders('x')).toEqual([]);
  });

  test('a repeated acquire gets the state of its request now', () => {
    const { bench, a, b } = two();
    a.acquire('x');
    b.acquire('x');
    expect(b.acquire('x', 1000, undefined, 0, 1)).toMatchObject({ waiting: 1 });
    a.release(1);
    const token = bench.index;
    expect(b.acquire('x', 1000, undefined, 0, 1)).toMatchObject({ granted: token });
    expect(bench.holders('x')).toEqual([`${b.id}/1`]);
  });

  test('a re-sent request after its grant ended is told why, and takes nothing', () => {
    const { bench, a } = two();
    a.acquire('x', 0, undefined, 500);
    bench.apply([OP.endGrant, a.id, 1, bench.term, 0]);
    expect(a.acquire('x', 0, undefined, 500, 1)).toMatchObject({ ended: 'lease-expired' });
    expect(bench.table.inspect('x')).toBeUndefined();
  });

  test('a waiting request outlives its acknowledgement, and its repetition is told how it stands', () => {
    const { bench, a, b } = two();
    a.acquire('x');
    b.acquire('x');
    b.acked = 1;
    for (let i = 0; i < 2000; i++) {
      b.release(b.acquire('y', 0).handle);
      b.acked = b.seq;
    }
    a.release(1);
    expect(bench.said(b.id, 1)).toMatchObject({ granted: bench.index });
    expect(b.state(1)).toEqual([1, 'granted', bench.index, null]);
    expect(b.release(1)).toMatchObject({ ok: null });
  });

  test('what is acknowledged is a stale duplicate: no effect, no answer', () => {
    const { bench, a } = two();
    a.acquire('x');
    a.release(1);
    a.acked = 2;
    a.acquire('y');
    bench.apply([OP.acquire, a.id, 1, 1, 0, 'x', 0]);
    expect(bench.calls).toEqual([]);
    expect(bench.holders('x')).toEqual([]);
  });

  test('beyond the window an operation is refused without effect, and may come again', () => {
    const { a } = two();
    expect(a.acquire('x', 0, undefined, 0, 1025)).toMatchObject({ refused: 'LOCKD_LIMIT' });
    a.acked = 1;
    expect(a.acquire('x', 0, undefined, 0, 1025)).toHaveProperty('granted');
  });

  test('a cancel that overtakes its acquire leaves a tombstone', () => {
    const { bench, a } = two();
    expect(a.cancel(1, 2)).toMatchObject({ ok: null });
    expect(a.acquire('x', 1000, undefined, 0, 1)).toMatchObject({ ended: 'cancelled' });
    expect(bench.table.inspect('x')).toBeUndefined();
  });

  test('a cancel that comes after the grant gives it back, in the same entry', () => {
    const { bench, a, b } = two();
    a.acquire('x');
    b.acquire('x');
    expect(a.cancel(1)).toMatchObject({ ok: null });
    expect(bench.holders('x')).toEqual([`${b.id}/1`]);
    expect(a.acquire('x', 1000, undefined, 0, 1)).toMatchObject({ ended: 'cancelled' });
  });
});

describe('promise 3: a release touches only its own grant', () => {
  test('another session, an old handle, a waiter: not held', () => {
    const { bench, a, b } = two();
    a.acquire('x');
    expect(b.release(1)).toMatchObject({ refused: 'LOCKD_NOT_HELD' });
    b.acquire('x');
    expect(b.release(2)).toMatchObject({ refused: 'LOCKD_NOT_HELD' });
    a.release(1);
    expect(a.release(1)).toMatchObject({ refused: 'LOCKD_NOT_HELD' });
    expect(bench.holders('x')).toEqual([`${b.id}/2`]);
  });
});

describe('bounded work', () => {
  test('a session with 2,500 locks ends in pieces of 1,000, and waiters get them in order', () => {
    const { bench, a, b } = two();
    for (let i = 0; i < 2500; i++) {
      a.acquire(`n${i}`);
      a.acked = a.seq;
      if (i % 5 === 0) {
        b.acquire(`n${i}`);
        b.acked = b.seq;
      }
    }
    a.expire();
    expect(bench.count('workLeft')).toBe(1);
    expect(bench.count('ended') + bench.count('granted')).toBeLessThanOrEqual(1001);
    expect(a.acquire('other')).toMatchObject({ refused: 'LOCKD_SESSION_EXPIRED' });
    const granted: number[] = bench.calls.filter(([name]) => name === 'granted').map((call) => call[2] as number);
    while (bench.table.hasWorkLeft) {
      bench.apply([OP.continueWork]);
      expect(bench.count('ended') + bench.count('granted')).toBeLessThanOrEqual(1001);
      granted.push(...bench.calls.filter(([name]) => name === 'granted').map((call) => call[2] as number));
    }
    expect(bench.count('workLeft')).toBe(0);
    expect(bench.table.counters()).toMatchObject({ held: 500, names: 500, waiting: 0 });
  });

  test('nobody gets past those who wait while a large crowd is let in', () => {
    const bench = new Bench({ ...TABLE_LIMITS, maxWorkPerEntry: 10 });
    const [a, b, c] = [bench.open('a'), bench.open('b'), bench.open('c')];
    a.acquire('x');
    for (let i = 0; i < 25; i++) b.acquire('x', 1000, { mode: 'shared' });
    a.release(1);
    expect(bench.holders('x')).toHaveLength(10);
    const token = bench.index;
    expect(c.acquire('x', 1000, { mode: 'shared' })).toMatchObject({ waiting: 16 });
    expect(bench.finishWork()).toBe(2);
    expect(bench.holders('x')).toHaveLength(26);
    expect(new Set(bench.table.inspect('x')!.holders.map((holder) => holder.token))).toEqual(new Set([token]));
  });

  test('stealing from a large crowd takes further entries, and then is granted', () => {
    const bench = new Bench({ ...TABLE_LIMITS, maxWorkPerEntry: 10 });
    const [a, b] = [bench.open('a'), bench.open('b')];
    for (let i = 0; i < 25; i++) a.acquire('x', 0, { mode: 'shared' });
    expect(b.acquire('x', 0, { steal: true })).toMatchObject({ waiting: 1 });
    bench.finishWork();
    expect(bench.holders('x')).toEqual([`${b.id}/1`]);
  });
});

describe('limits', () => {
  const small = {
    ...TABLE_LIMITS,
    maxSessions: 2,
    maxNames: 3,
    maxRequestsPerSession: 4,
    maxWaitersPerName: 1,
    maxCompletions: 1,
    maxReentries: 1,
  };

  test('each is refused by name, and leaves nothing behind', () => {
    const bench = new Bench(small);
    const [a, b] = [bench.open('a'), bench.open('b')];
    expect(bench.apply([OP.open, 'c', 15_000, 0, 0, []])[0]).toMatchObject([
      'openRefused',
      'c',
      'LOCKD_LIMIT',
      'at most 2 sessions are open at a time',
    ]);
    for (const name of ['x', 'y', 'z']) a.acquire(name);
    const limit = { refused: 'LOCKD_LIMIT' };
    expect(b.acquire('w')).toMatchObject(limit);
    expect(b.acquireAll(['x', 'w'])).toMatchObject(limit);
    expect(b.acquire('x')).toMatchObject({ waiting: 1 });
    expect(b.acquire('x')).toMatchObject(limit);
    expect(b.acquireAll(['x', 'y'])).toMatchObject(limit);
    expect(a.acquire('x', 0, { reenter: [1] })).toHaveProperty('granted');
    expect(a.acquire('x', 0, { reenter: [1] })).toMatchObject(limit);
    a.release(4);
    expect(a.acquire('x', 0, { reenter: [1] })).toHaveProperty('granted');
    expect(a.acquire('y', 1000)).toMatchObject(limit);
    expect(a.complete(1, 'k')).toMatchObject({ ok: null });
    expect(a.complete(1, 'k2')).toMatchObject(limit);
    expect(bench.table.counters()).toMatchObject({ names: 3, held: 4, waiting: 1, completions: 1 });
  });
});
