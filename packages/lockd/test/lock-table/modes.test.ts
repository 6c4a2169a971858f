import { describe, expect, test } from 'vitest';
import { OP } from '../../src/lock-table/command.ts';
import { SHOWN_METADATA_LENGTH } from '../../src/lock-table/inspection.ts';
import { Bench } from './bench-client.ts';

const shared = { mode: 'shared' } as const;

function three() {
  const bench = new Bench();
  return { bench, a: bench.open('a'), b: bench.open('b'), c: bench.open('c') };
}

describe('promise 1: one exclusive grant, or only shared ones, or at most the limit of permits', () => {
  test('an exclusive lock is granted to one and the next waits', () => {
    const { bench, a, b } = three();
    expect(a.acquire('x')).toMatchObject({ granted: bench.index });
    expect(b.acquire('x')).toMatchObject({ waiting: 1 });
    a.release(1);
    expect(bench.said(b.id, 1)).toMatchObject({ granted: bench.index });
    expect(bench.holders('x')).toEqual([`${b.id}/1`]);
  });

  test('two requests of one session exclude each other', () => {
    const { a } = three();
    a.acquire('x');
    expect(a.acquire('x')).toMatchObject({ waiting: 1 });
  });

  test('who does not wait is told BUSY, by whom, and why', () => {
    const { a, b } = three();
    const { granted } = a.acquire('x', 0, { metadata: ['host', 'h1'] });
    const holder = { session: a.id, handle: 1, token: granted, mode: 'exclusive', metadata: { host: 'h1' } };
    expect(b.acquire('x', 0)).toMatchObject({ refused: 'LOCKD_BUSY', refusal: { because: 'holder', holder } });
  });

  test('a shared request that could share with the holders but not overtake a waiter is told so', () => {
    const { a, b, c } = three();
    a.acquire('x', 0, shared);
    b.acquire('x');
    expect(c.acquire('x', 0, shared)).toMatchObject({ refused: 'LOCKD_BUSY', refusal: { because: 'waiter' } });
  });
});

describe('promise 5: first in the log, first served', () => {
  test('shared requests behind an exclusive one wait for it', () => {
    const { bench, a, b, c } = three();
    a.acquire('x', 0, shared);
    b.acquire('x');
    expect(c.acquire('x', 1000, shared)).toMatchObject({ waiting: 2 });
    a.release(1);
    expect(bench.holders('x')).toEqual([`${b.id}/1`]);
    b.release(1);
    expect(bench.holders('x')).toEqual([`${c.id}/1`]);
  });

  test('who waits behind very many is told that, and the last one its place', () => {
    const { a, b } = three();
    a.acquire('x');
    for (let place = 1; place <= 3000; place++) {
      expect(b.acquire('x', 1000)).toMatchObject({ waiting: place });
      b.acked = b.seq;
    }
    expect(b.state(900)).toEqual([900, 'waiting', 900]);
    // Counting on would make everybody's question as long as the queue.
    expect(b.state(2500)).toEqual([2500, 'waiting', 1001]);
  });

  test('all shared requests at the head are granted together', () => {
    const { bench, a, b, c } = three();
    a.acquire('x');
    b.acquire('x', 1000, shared);
    c.acquire('x', 1000, shared);
    b.acquire('x');
    c.acquire('x', 1000, shared);
    a.release(1);
    expect(bench.holders('x')).toEqual([`${b.id}/1`, `${c.id}/1`]);
    expect(bench.waiters('x')).toEqual([`${b.id}/2`, `${c.id}/2`]);
  });

  test('a waiter whose connection is closed is passed over and keeps its place', () => {
    const { bench, a, b, c } = three();
    a.acquire('x');
    b.acquire('x');
    c.acquire('x');
    b.detach();
    a.release(1);
    expect(bench.holders('x')).toEqual([`${c.id}/1`]);
    a.acquire('x');
    expect(bench.waiters('x')).toEqual([`${b.id}/1`, `${a.id}/3`]);
    expect(b.attach()).toBe(true);
    c.release(1);
    expect(bench.holders('x')).toEqual([`${b.id}/1`]);
  });

  test('who comes back finds what is free', () => {
    const { bench, a, b } = three();
    a.acquire('x');
    b.acquire('x');
    b.detach();
    a.release(1);
    expect(bench.holders('x')).toEqual([]);
    b.attach();
    expect(bench.said(b.id, 1)).toMatchObject({ granted: bench.index });
  });

  test('those behind a waiter whose connection closes get what it stood in the way of', () => {
    const { bench, a, b, c } = three();
    a.acquire('x', 0, shared);
    b.acquire('x');
    c.acquire('x', 1000, shared);
    b.detach();
    expect(bench.said(c.id, 1)).toHaveProperty('granted');
  });

  test('a cancelled or timed-out wait lets those behind it through', () => {
    const { bench, a, b, c } = three();
    a.acquire('x', 0, shared);
    b.acquire('x');
    c.acquire('x', 1000, shared);
    b.cancel(1);
    expect(bench.holders('x')).toEqual([`${a.id}/1`, `${c.id}/1`]);
    b.acquire('x');
    c.acquire('x', 1000, shared);
    bench.apply([OP.endWait, b.id, b.seq, bench.term]);
    expect(bench.said(b.id, b.seq)).toEqual({ ended: 'wait-timeout' });
    expect(bench.holders('x')).toHaveLength(3);
  });

  test('steal goes first and tells the holders', () => {
    const { bench, a, b, c } = three();
    a.acquire('x');
    b.acquire('x');
    expect(c.acquire('x', 0, { steal: true })).toMatchObject({ granted: bench.index });
    expect(bench.said(a.id, 1)).toEqual({ ended: 'stolen' });
    expect(bench.waiters('x')).toEqual([`${b.id}/1`]);
    expect(a.release(1)).toMatchObject({ refused: 'LOCKD_NOT_HELD' });
  });
});

describe('promise 2: tokens', () => {
  test('the token is the index of the granting entry, also after the name was forgotten', () => {
    const { bench, a } = three();
    const first = a.acquire('x').granted as number;
    a.release(1);
    expect(bench.table.inspect('x')).toBeUndefined();
    expect(a.acquire('x').granted).toBeGreaterThan(first);
  });

  test('shared grants that overlap carry the token of the entry that opened their phase', () => {
    const { a, b, c } = three();
    const { granted } = a.acquire('x', 0, shared);
    expect(b.acquire('x', 0, shared).granted).toBe(granted);
    a.release(1);
    expect(c.acquire('x', 0, shared).granted).toBe(granted);
    b.release(1);
    c.release(1);
    expect(a.acquire('x', 0, shared).granted).toBeGreaterThan(granted as number);
  });

  test('what is left of ended sessions keeps no phase open', () => {
    const bench = new Bench();
    const [a, b] = [bench.open('a'), bench.open('b')];
    // In the order of handles the waiter is cleared away before the hold, and lets the next in.
    a.acquire('y');
    const first = a.acquire('x', 0, shared).granted as number;
    b.acquire('z');
    a.acquire('x', 1000, undefined, 0, 4);
    a.seq = 4;
    b.acquire('x', 1000, shared);
    a.expire();
    expect(bench.said(b.id, 2).granted).toBe(bench.index);
    expect(bench.index).toBeGreaterThan(first);
  });

  test('a downgrade keeps the token, which opens the phase, and those at the head join it', () => {
    const { bench, a, b, c } = three();
    const { granted } = a.acquire('x');
    b.acquire('x', 1000, shared);
    c.acquire('x');
    expect(a.downgrade(1)).toMatchObject({ ok: { token: granted } });
    expect(bench.said(b.id, 1)).toMatchObject({ granted });
    expect(bench.waiters('x')).toEqual([`${c.id}/1`]);
  });

  test('an upgrade gets a new token, and fails at once where others share', () => {
    const { bench, a, b } = three();
    const { granted } = a.acquire('x', 0, shared);
    b.acquire('x', 0, shared);
    expect(a.upgrade(1)).toMatchObject({ refused: 'LOCKD_CONFLICT' });
    b.release(1);
    expect(a.upgrade(1)).toMatchObject({ ok: { token: bench.index } });
    expect(bench.index).toBeGreaterThan(granted as number);
    expect(b.acquire('x', 0, shared)).toMatchObject({ refused: 'LOCKD_BUSY' });
  });
});

describe('semaphores', () => {
  const two = { permits: 2 };

  test('grant the lowest free slot, each with a token of its own', () => {
    const { bench, a, b, c } = three();
    expect(a.acquire('s', 0, two).detail).toEqual({ slot: 1 });
    expect(b.acquire('s', 0, two).detail).toEqual({ slot: 2 });
    expect(c.acquire('s', 1000, two)).toMatchObject({ waiting: 1 });
    a.release(1);
    expect(bench.said(c.id, 1)).toMatchObject({ granted: bench.index, detail: { slot: 1 } });
  });

  test('the limit is part of the state: another one is a conflict', () => {
    const { a, b } = three();
    a.acquire('s', 0, two);
    expect(b.acquire('s', 0, { permits: 3 })).toMatchObject({ refused: 'LOCKD_CONFLICT', refusal: { limit: 2 } });
  });

  test('a larger limit lets waiters in, a smaller one takes nothing away', () => {
    const { bench, a, b, c } = three();
    a.acquire('s', 0, { permits: 1 });
    b.acquire('s', 1000, { permits: 1 });
    expect(c.setLimit('s', 2)).toMatchObject({ ok: { limit: 2 } });
    expect(bench.said(b.id, 1)).toMatchObject({ detail: { slot: 2 } });
    c.setLimit('s', 1);
    expect(bench.holders('s')).toHaveLength(2);
    c.acquire('s', 1000, { permits: 1 });
    a.release(1);
    // Slot 2 is above the limit, but it is in use, and the limit is one.
    expect(bench.holders('s')).toEqual([`${b.id}/1`]);
    b.release(1);
    expect(bench.said(c.id, c.seq)).toMatchObject({ detail: { slot: 1 } });
  });

  test('a name has one kind while anything stands in it', () => {
    const { a, b } = three();
    a.acquire('x');
    expect(b.acquire('x', 0, two)).toMatchObject({ refused: 'LOCKD_KIND_MISMATCH' });
    expect(b.setLimit('x', 2)).toMatchObject({ refused: 'LOCKD_KIND_MISMATCH' });
    a.release(1);
    expect(b.acquire('x', 0, two)).toHaveProperty('granted');
    expect(a.acquire('x', 0)).toMatchObject({ refused: 'LOCKD_KIND_MISMATCH' });
    expect(a.acquireAll(['y', 'x'])).toMatchObject({ refused: 'LOCKD_KIND_MISMATCH' });
  });

  test('hundreds of slots come back in order', () => {
    const bench = new Bench();
    const a = bench.open('a');
    for (let i = 1; i <= 300; i++) expect(a.acquire('s', 0, { permits: 300 }).detail).toEqual({ slot: i });
    for (const slot of [257, 33, 64, 1]) a.release(slot);
    for (const slot of [1, 33, 64, 257]) expect(a.acquire('s', 0, { permits: 300 }).detail).toEqual({ slot });
  });
});

describe('several names at once', () => {
  test('are granted in one entry under one token', () => {
    const { bench, a } = three();
    expect(a.acquireAll(['x', 'y', 'z'])).toMatchObject({ granted: bench.index });
    for (const name of ['x', 'y', 'z']) expect(bench.holders(name)).toEqual([`${a.id}/1`]);
    a.release(1);
    expect(bench.table.counters()).toMatchObject({ names: 0, held: 0 });
  });

  test('wait until all are free, hold none meanwhile, and nobody behind gets past', () => {
    const { bench, a, b, c } = three();
    a.acquire('x');
    b.acquire('y');
    expect(c.acquireAll(['x', 'y'])).toMatchObject({ waiting: 1 });
    a.acquire('y');
    a.release(1);
    expect(bench.holders('x')).toEqual([]);
    expect(a.acquire('x', 0)).toMatchObject({ refused: 'LOCKD_BUSY', refusal: { because: 'waiter' } });
    b.release(1);
    expect(bench.said(c.id, 1)).toMatchObject({ granted: bench.index });
    expect(bench.waiters('y')).toEqual([`${a.id}/2`]);
  });
});

describe('re-entry', () => {
  test('shares the hold, its token and its end; the last release frees the name', () => {
    const { bench, a, b } = three();
    const { granted } = a.acquire('x');
    expect(a.acquire('x', 0, { reenter: [1] })).toMatchObject({ granted, detail: { shares: 1, holdCount: 2 } });
    b.acquire('x');
    a.release(1);
    expect(bench.holders('x')).toEqual([`${a.id}/1`]);
    a.release(2);
    expect(bench.holders('x')).toEqual([`${b.id}/1`]);
  });

  test('a hold that is taken away is taken from all who share it', () => {
    const { bench, a, b } = three();
    a.acquire('x', 0, undefined, 500);
    a.acquire('x', 0, { reenter: [1] });
    a.release(1);
    b.acquire('x');
    bench.apply([OP.endGrant, a.id, 1, bench.term, 0]);
    expect(bench.said(a.id, 2)).toEqual({ ended: 'lease-expired' });
    expect(bench.holders('x')).toEqual([`${b.id}/1`]);
  });

  test('without it, one who says that it holds the name is told of the deadlock', () => {
    const { a } = three();
    a.acquire('x');
    expect(a.acquire('x', 1000, { holding: [1] })).toMatchObject({ refused: 'LOCKD_SELF_DEADLOCK' });
    expect(a.acquire('x', 0, { holding: [1] })).toMatchObject({ refused: 'LOCKD_BUSY' });
    expect(a.acquireAll(['w', 'x'], 1000, { holding: [1] })).toMatchObject({ refused: 'LOCKD_SELF_DEADLOCK' });
  });
});

describe('time on grants', () => {
  const started = (bench: Bench, kind: string) =>
    bench.calls.filter((call) => call[0] === 'deadlineStarted' && call[1] === kind);

  test('an own lease ends by its own number only: an end decided before an extension is void', () => {
    const { bench, a } = three();
    expect(a.acquire('x', 0, undefined, 500).detail).toEqual({ leaseMs: 500, after: 1 });
    expect(a.extend(1, 800)).toMatchObject({ ok: { leaseMs: 800 } });
    expect(started(bench, 'lease')).toEqual([['deadlineStarted', 'lease', a.id, 1, 'x', 800, 1]]);
    bench.apply([OP.endGrant, a.id, 1, bench.term, 0]);
    expect(bench.holders('x')).toHaveLength(1);
    bench.apply([OP.endGrant, a.id, 1, bench.term, 1]);
    expect(bench.said(a.id, 1)).toEqual({ ended: 'lease-expired' });
  });

  test('maxHold ends a grant however well its session is', () => {
    const { bench, a } = three();
    a.acquire('x', 0, { maxHoldMs: 900 });
    bench.apply([OP.endMaxHold, a.id, 1, bench.term]);
    expect(bench.said(a.id, 1)).toEqual({ ended: 'max-hold' });
  });

  test('minHold keeps the name reserved after a release, counted from the grant', () => {
    const { bench, a, b } = three();
    a.acquire('x', 0, { minHoldMs: 1000 });
    const generation = started(bench, 'reserve')[0]![6] as number;
    a.release(1);
    expect(b.acquire('x', 0)).toMatchObject({ refused: 'LOCKD_BUSY', refusal: { because: 'minHold' } });
    b.acquire('x');
    bench.apply([OP.endReserve, generation, bench.term]);
    expect(bench.said(b.id, 2)).toHaveProperty('granted');
  });

  test('minHold that passes during the hold reserves nothing after it', () => {
    const { bench, a, b } = three();
    a.acquire('x', 0, { minHoldMs: 1000 });
    bench.apply([OP.endReserve, started(bench, 'reserve')[0]![6] as number, bench.term]);
    a.release(1);
    expect(b.acquire('x', 0)).toHaveProperty('granted');
  });

  test('minHold on permits reserves the slot: a rate limit', () => {
    const { bench, a, b } = three();
    const rate = { permits: 2, minHoldMs: 1000 };
    a.acquire('api', 0, rate);
    const generation = started(bench, 'reserve')[0]![6] as number;
    a.release(1);
    expect(b.acquire('api', 0, rate).detail).toEqual({ slot: 2 });
    expect(a.acquire('api', 1000, rate)).toMatchObject({ waiting: 1 });
    bench.apply([OP.endReserve, generation, bench.term]);
    expect(bench.said(a.id, 3).detail).toEqual({ slot: 1 });
  });

  test('lockDelay begins with an unclean end, and with no clean one', () => {
    const { bench, a, b } = three();
    a.acquire('x', 0, { lockDelayMs: 200 });
    a.release(1);
    a.acquire('x', 0, { lockDelayMs: 200 });
    b.acquire('x');
    a.expire();
    expect(b.acquire('x', 0)).toMatchObject({ refusal: { because: 'delay' } });
    // Calls of the entry before this one: the expiry started it.
    expect(bench.holders('x')).toEqual([]);
    const standing: number[] = [];
    bench.table.forEachDeadline(
      (kind, _session, _handle, _key, _lengthMs, generation) => kind === 'reserve' && standing.push(generation),
    );
    bench.apply([OP.endReserve, standing[0]!, bench.term]);
    expect(bench.holders('x')).toEqual([`${b.id}/1`]);
  });

  test('once: who comes after the work was completed is told so, also who waited', () => {
    const { bench, a, b, c } = three();
    const once = { onceKey: '2026-11-23' };
    a.acquire('nightly', 0, once);
    b.acquire('nightly', 1000, once);
    a.complete(1, '2026-11-23');
    a.release(1);
    expect(bench.said(b.id, 1)).toEqual({ ok: { done: true } });
    expect(c.acquire('nightly', 0, once)).toMatchObject({ ok: { done: true } });
    expect(c.acquire('nightly', 0, { onceKey: 'tomorrow' })).toHaveProperty('granted');
  });

  test('once: a crash before completion runs again', () => {
    const { bench, a, b } = three();
    a.acquire('nightly', 0, { onceKey: 'k' });
    b.acquire('nightly', 1000, { onceKey: 'k' });
    a.expire();
    expect(bench.said(b.id, 1)).toHaveProperty('granted');
  });
});

describe('inspection', () => {
  test('lists names by prefix in the order of UTF-16 code units, page by page', () => {
    const bench = new Bench();
    const a = bench.open('a');
    const names = ['p:\uff5e', 'p:b', 'q', 'p:a', 'p:\ud83d\ude00', 'p:a1', 'o'];
    for (const name of names) a.acquire(name);
    const expected = names.filter((name) => name.startsWith('p:')).sort();
    expect(bench.table.list('p:', 10, undefined).map((info) => info.name)).toEqual(expected);
    const paged: string[] = [];
    for (;;) {
      const page = bench.table.list('p:', 2, paged.at(-1));
      if (page.length === 0) break;
      paged.push(...page.map((info) => info.name));
    }
    expect(paged).toEqual(expected);
  });

  test('shows holders without their metadata where an answer would outgrow a frame', () => {
    const bench = new Bench();
    const a = bench.open('a');
    const metadata = ['note', 'x'.repeat(4000)];
    for (let i = 0; i < 100; i++) a.acquire(`n${100 + i}`, 0, { metadata });
    const holders = bench.table.list('n', 1000, undefined).map((row) => row.holders[0]);
    const shown = holders.filter((holder) => holder?.metadata !== undefined).length;
    expect(holders.filter((holder) => holder !== undefined)).toHaveLength(100);
    expect(shown).toBe(Math.floor(SHOWN_METADATA_LENGTH / 4004));
    expect(bench.table.inspect('n199')?.holders[0]?.metadata).toEqual({ note: 'x'.repeat(4000) });
  });
});
