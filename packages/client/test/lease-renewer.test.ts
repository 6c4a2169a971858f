import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DeadlineHeap } from '../src/deadline-heap.ts';
import { LeaderRouting } from '../src/leader-routing.ts';
import { elapsedMs, usableMs } from '../src/lease-clock.ts';
import { LeaseRenewer } from '../src/lease-renewer.ts';

const at = (ms: number, wallMs = ms): { monotonicMs: number; wallMs: number } => ({ monotonicMs: ms, wallMs });

describe('counting a lease', () => {
  test('elapsed is the larger of what the two clocks say', () => {
    expect(elapsedMs(at(0), at(10, 500))).toBe(500);
    expect(elapsedMs(at(0), at(10, -500))).toBe(10);
  });

  test('ends before the server’s, for any rate of the clocks within the bound and any delay', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1000, max: 86_400_000 }),
        fc.integer({ min: 9900, max: 10_100 }),
        fc.nat(10_000),
        (leaseMs, rate, delayMs) => {
          // The client's clock runs at `rate` / 10,000 of the server's, which begins `delayMs` after the sending.
          const clientSeesMs = ((delayMs + leaseMs) * rate) / 10_000;
          expect(usableMs(leaseMs)).toBeLessThan(clientSeesMs);
        },
      ),
    );
  });
});

describe('LeaseRenewer', () => {
  test('an acknowledgement of an unknown or an older stamp changes nothing', () => {
    const renewer = new LeaseRenewer(15_000, at(0));
    const first = renewer.renew(at(5000));
    const second = renewer.renew(at(6000));
    renewer.acknowledged(99);
    expect(renewer.since).toEqual(at(0));
    renewer.acknowledged(second);
    renewer.acknowledged(first);
    expect(renewer.since).toEqual(at(6000));
  });

  test('without an answer it renews sooner; with one, after a third of the TTL', () => {
    const renewer = new LeaseRenewer(15_000, at(0));
    expect(renewer.dueMs).toBe(5000);
    const stamp = renewer.renew(at(5000));
    expect(renewer.dueMs).toBeCloseTo(5000 + 5000 / 3);
    renewer.acknowledged(stamp);
    expect(renewer.dueMs).toBe(10_000);
  });

  test('what it remembers is bounded', () => {
    const renewer = new LeaseRenewer(15_000, at(0));
    for (let ms = 1; ms <= 1000; ms++) renewer.renew(at(ms));
    renewer.acknowledged(1);
    expect(renewer.since).toEqual(at(0));
    renewer.acknowledged(1000);
    expect(renewer.since).toEqual(at(1000));
  });

  test('held, then suspect, then lost', () => {
    const renewer = new LeaseRenewer(15_000, at(0));
    expect([7499, 7500, 14_599, 14_600].map((ms) => renewer.state(at(ms)))).toEqual([
      'held',
      'suspect',
      'suspect',
      'lost',
    ]);
    expect(renewer.changesInMs(at(7000))).toBe(500);
    expect(renewer.changesInMs(at(8000))).toBe(6600);
  });
});

describe('DeadlineHeap', () => {
  test('gives what is due in order, whatever was removed', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(1000), fc.boolean()), { maxLength: 200 }), (entries) => {
        const heap = new DeadlineHeap();
        const items = entries.map(([dueMs, stays]) => ({
          dueMs: 0,
          heapIndex: -1,
          stays,
          wanted: dueMs,
          isOverdue: () => false,
          onDue() {},
        }));
        for (const item of items) heap.add(item, item.wanted);
        for (const item of items) if (!item.stays) heap.remove(item);
        const taken: number[] = [];
        for (let item = heap.takeDue(1000); item !== undefined; item = heap.takeDue(1000)) taken.push(item.dueMs);
        expect(taken).toEqual(
          items
            .filter((item) => item.stays)
            .map((item) => item.wanted)
            .sort((a, b) => a - b),
        );
        expect(items.every((item) => item.heapIndex === -1)).toBe(true);
      }),
    );
  });
});

describe('LeaderRouting', () => {
  const routing = (endpoints = ['a', 'b', 'c']): LeaderRouting => new LeaderRouting(endpoints, () => 0);

  test('tries all in turn, and the leader first where it is known', () => {
    const routes = routing();
    expect([routes.next(0), routes.next(0), routes.next(0), routes.next(0)]).toEqual(['a', 'b', 'c', 'a']);
    routes.learnLeader('c');
    expect(routes.next(0)).toBe('c');
  });

  test('what could not be reached comes last, and is not believed to lead for a while', () => {
    const routes = routing();
    routes.learnLeader('a');
    routes.failed('a', 0);
    expect(routes.leaderToTry(100)).toBeUndefined();
    expect([routes.next(100), routes.next(100), routes.next(100)]).toEqual(['b', 'c', 'b']);
    expect(routes.leaderToTry(6000)).toBe('a');
  });

  test('who could not be reached and is elected then is tried at once', () => {
    const routes = routing();
    routes.learnLeader('a');
    routes.failed('b', 0);
    routes.learnLeader('b');
    expect(routes.leaderToTry(100)).toBe('b');
    // Nobody leads for a moment, then the same node again: that was an election too.
    routes.failed('b', 200);
    routes.learnLeader(undefined);
    routes.learnLeader('b');
    expect(routes.leaderToTry(300)).toBe('b');
  });

  test('who was lost, could not be reached again and is named still is not', () => {
    const routes = routing();
    routes.learnLeader('a');
    routes.lost('a');
    routes.failed('a', 0);
    routes.learnLeader('a');
    expect(routes.leaderToTry(100)).toBeUndefined();
  });

  test('after a lost connection another one is tried first', () => {
    const routes = routing(['a', 'b']);
    routes.learnLeader('a');
    routes.lost('a');
    expect(routes.backoffMs()).toBe(0);
    expect(routes.next(0)).toBe('b');
    routes.learnLeader('a');
    expect(routes.next(0)).toBe('a');
  });

  test('backs off exponentially within a bound', () => {
    const routes = new LeaderRouting(['a'], () => 0.999);
    const delays = Array.from({ length: 12 }, () => {
      routes.failed('a', 0);
      return routes.backoffMs();
    });
    expect(delays[0]).toBeLessThanOrEqual(50);
    expect(Math.max(...delays)).toBeLessThanOrEqual(2000);
    expect(delays.at(-1)).toBeGreaterThan(1000);
    expect(routes.next(0)).toBe('a');
  });

  test('learns members', () => {
    const routes = routing(['a']);
    routes.learnMembers([
      { name: 'n1', client: 'a', role: 'voter' },
      { name: 'n2', client: 'b', role: 'voter' },
      { name: 'n3', client: null, role: 'learner' },
    ]);
    expect(routes.endpoints).toEqual(['a', 'b']);
  });
});
