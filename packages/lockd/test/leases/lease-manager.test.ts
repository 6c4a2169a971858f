import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { type Command, OP } from '../../src/lock-table/command.ts';
import { LeaseBench, type LeaseNode, TTL_MS } from './lease-bench.ts';

// Thousands of executions, on machines that are busy with other things.
vi.setConfig({ testTimeout: 120_000 });

/** A leader of term 1 with one session. */
function led() {
  const bench = new LeaseBench();
  const leader = bench.node();
  leader.lead(1);
  const session = bench.open(1);
  leader.catchUp();
  return { bench, leader, session };
}

const endOf = (session: number, term: number, attachment = session) => [OP.endSession, session, term, attachment];

describe('a session lives for its TTL after the last renewal that arrived', () => {
  test('and its end is proposed then, once', () => {
    const { leader, session } = led();
    expect(leader.leases.nextDeadlineMs()).toBe(leader.nowMs + TTL_MS);
    leader.pass(TTL_MS - 1);
    expect(leader.due()).toEqual([]);
    leader.pass(1);
    expect(leader.due()).toEqual([endOf(session, 1)]);
    leader.pass(TTL_MS);
    expect(leader.due()).toEqual([]);
  });

  test('a renewal moves the deadline when it arrives, not when it is acknowledged', () => {
    const { leader, session } = led();
    leader.pass(10_000);
    leader.leases.renewalArrived(session, 1, leader.nowMs);
    leader.pass(TTL_MS - 1);
    expect(leader.due()).toEqual([]);
    leader.pass(1);
    expect(leader.due()).toEqual([endOf(session, 1)]);
  });

  test('an attach counts like a renewal', () => {
    const { bench, leader, session } = led();
    leader.pass(10_000);
    const attachment = bench.commit(1, [OP.attach, session, 'n', 2]);
    leader.catchUp();
    leader.pass(TTL_MS - 1);
    expect(leader.due()).toEqual([]);
    leader.pass(1);
    expect(leader.due()).toEqual([endOf(session, 1, attachment)]);
  });

  test('one whose connection is closed and that belongs to it is not renewed', () => {
    const { bench, leader } = led();
    const bound = bench.open(1, 'bound', 1);
    bench.commit(1, [OP.detach, bound, 1]);
    leader.catchUp();
    expect(leader.leases.renewalArrived(bound, 1, leader.nowMs)).toBe(false);
  });
});

describe('a renewal is acknowledged when a round that started after its arrival has confirmed the leader', () => {
  test('not by an earlier round', () => {
    const { bench, leader, session } = led();
    const early = bench.nextRound();
    leader.leases.roundFor(early);
    leader.leases.renewalArrived(session, 1, leader.nowMs);
    expect(leader.leases.confirmed(early)).toEqual([]);
    const later = bench.nextRound();
    expect(leader.leases.wantsRound).toBe(true);
    leader.leases.roundFor(later);
    expect(leader.leases.wantsRound).toBe(false);
    expect(leader.leases.confirmed(later)).toMatchObject([{ session, stamp: 1 }]);
    expect(leader.leases.confirmed(later)).toEqual([]);
  });

  test('a later round confirms what an earlier one was for', () => {
    const { bench, leader, session } = led();
    leader.leases.renewalArrived(session, 1, leader.nowMs, 'here');
    leader.leases.roundFor(bench.nextRound());
    leader.leases.renewalArrived(session, 2, leader.nowMs, 'there');
    const second = bench.nextRound();
    leader.leases.roundFor(second);
    expect(leader.leases.confirmed(second)).toEqual([
      { session, stamp: 1, origin: 'here' },
      { session, stamp: 2, origin: 'there' },
    ]);
  });

  test('not when the session ended in between', () => {
    const { bench, leader, session } = led();
    leader.leases.renewalArrived(session, 1, leader.nowMs);
    const round = bench.nextRound();
    leader.leases.roundFor(round);
    bench.commit(1, [OP.close, session, 1, 1, 0]);
    leader.catchUp();
    expect(leader.leases.confirmed(round)).toEqual([]);
  });
});

describe('executions that broke others', () => {
  test("an old leader's uncommitted end is committed by the new leader's first entry: nothing is acknowledged before that is applied", () => {
    const { bench, leader: old, session } = led();
    const next = bench.node();
    next.catchUp();
    old.pass(TTL_MS);
    const [end] = old.due();
    // The old leader dies; its entry is in the next leader's log, which has won term 2 but applied nothing of it.
    bench.commit(1, end!);
    expect(next.renew(session, 1)).toEqual([]);
    next.lead(2);
    expect(next.table.isAlive(session)).toBe(false);
    expect(next.renew(session, 2)).toEqual([]);
  });

  test('a renewal that waits when its expiry is proposed is held back, and dies with the session', () => {
    const { bench, leader, session } = led();
    leader.leases.renewalArrived(session, 1, leader.nowMs);
    const round = bench.nextRound();
    leader.leases.roundFor(round);
    leader.pass(TTL_MS);
    const [end] = leader.due();
    expect(end).toEqual(endOf(session, 1));
    expect(leader.leases.confirmed(round)).toEqual([]);
    bench.commit(1, end!);
    leader.catchUp();
    expect(leader.leases.takeAcks()).toEqual([]);
    expect(leader.renew(session, 2)).toEqual([]);
  });

  test('a renewal that arrives after the expiry was proposed waits too, and is acknowledged if the end is refused', () => {
    const { bench, leader, session } = led();
    leader.pass(TTL_MS);
    // An attach is in the log before the end, and not applied yet.
    const attachment = bench.commit(1, [OP.attach, session, 'n', 2]);
    const [end] = leader.due();
    expect(leader.renew(session, 1)).toEqual([]);
    bench.commit(1, end!);
    leader.catchUp();
    expect(leader.table.attachmentOf(session)).toBe(attachment);
    expect(leader.leases.takeAcks()).toMatchObject([{ session, stamp: 1 }]);
    leader.pass(TTL_MS - 1);
    expect(leader.due()).toEqual([]);
    leader.pass(1);
    expect(leader.due()).toEqual([endOf(session, 1, attachment)]);
  });

  test.each([
    ['a repeated open', (session: number): Command => [OP.open, 'n', TTL_MS, session - 1, 0, []]],
    ['an operation', (session: number): Command => [OP.acquire, session, 1, 1, 0, 'a', 0]],
  ])('%s that comes before the end of a detached session voids it, and a new end comes in its time', (_what, sign) => {
    const { bench, leader, session } = led();
    bench.commit(1, [OP.detach, session, 1]);
    leader.catchUp();
    leader.pass(TTL_MS);
    // In the log before the end, and not applied yet.
    const attachment = bench.commit(1, sign(session));
    const [end] = leader.due();
    expect(end).toEqual(endOf(session, 1));
    bench.commit(1, end!);
    leader.catchUp();
    expect(leader.table.isAlive(session)).toBe(true);
    expect(leader.renew(session, 1)).toEqual([1]);
    leader.pass(TTL_MS);
    expect(leader.due()).toEqual([endOf(session, 1, attachment)]);
  });

  test('a proposal that Raft did not take is due again, and what renewed meanwhile counts', () => {
    const { leader, session } = led();
    leader.pass(TTL_MS);
    const [proposal] = leader.proposals();
    leader.pass(100);
    expect(leader.renew(session, 1)).toEqual([]);
    leader.leases.withdraw(proposal!);
    expect(leader.leases.takeAcks()).toMatchObject([{ stamp: 1 }]);
    leader.pass(TTL_MS - 1);
    expect(leader.due()).toEqual([]);
    leader.pass(1);
    expect(leader.due()).toEqual([endOf(session, 1)]);
  });

  test('an expiry handed to the next term is refused there', () => {
    const { bench, leader, session } = led();
    leader.pass(TTL_MS);
    const [end] = leader.due();
    const next = bench.node();
    next.lead(2);
    bench.commit(2, end!);
    next.catchUp();
    expect(next.table.isAlive(session)).toBe(true);
    expect(next.renew(session, 1)).toEqual([1]);
  });

  test('a deposed leader that goes on proposes nothing, acknowledges nothing, and forgets its rounds', () => {
    const { bench, leader, session } = led();
    leader.leases.renewalArrived(session, 1, leader.nowMs);
    const round = bench.nextRound();
    leader.leases.roundFor(round);
    leader.leases.lostLeadership();
    leader.pass(10 * TTL_MS);
    expect(leader.due()).toEqual([]);
    expect(leader.leases.confirmed(round)).toEqual([]);
    expect(leader.leases.takeAcks()).toEqual([]);
    expect(leader.renew(session, 2)).toEqual([]);
    expect(leader.leases.nextDeadlineMs()).toBeUndefined();
  });

  test('one that is elected again starts every deadline anew, and old rounds stay forgotten', () => {
    const { bench, leader, session } = led();
    leader.leases.renewalArrived(session, 1, leader.nowMs);
    const round = bench.nextRound();
    leader.leases.roundFor(round);
    leader.leases.lostLeadership();
    leader.pass(10 * TTL_MS);
    leader.lead(3);
    expect(leader.leases.confirmed(round)).toEqual([]);
    leader.pass(TTL_MS - 1);
    expect(leader.due()).toEqual([]);
    leader.pass(1);
    expect(leader.due()).toEqual([endOf(session, 3)]);
  });

  test('a leader stalled longer than the TTL ends nobody for that', () => {
    const { leader, session } = led();
    leader.pass(5000);
    leader.pass(60_000);
    leader.leases.stalled(60_000, leader.nowMs);
    expect(leader.due()).toEqual([]);
    // What waited in its sockets.
    expect(leader.renew(session, 1)).toEqual([1]);
    leader.leases.stalled(60_000, leader.nowMs);
    leader.pass(TTL_MS);
    expect(leader.due()).toEqual([endOf(session, 1)]);
  });

  test('nor does it forget those who were silent before: they have what was left', () => {
    const { leader, session } = led();
    leader.pass(5000 + 60_000);
    leader.leases.stalled(60_000, leader.nowMs);
    leader.pass(TTL_MS - 5000 - 1);
    expect(leader.due()).toEqual([]);
    leader.pass(1);
    expect(leader.due()).toEqual([endOf(session, 1)]);
  });

  test('a stall from before it led extends nothing', () => {
    const { leader, session } = led();
    leader.leases.stalled(60_000, leader.nowMs - 500);
    leader.pass(TTL_MS);
    expect(leader.due()).toEqual([endOf(session, 1)]);
  });

  test('a leader that hands over proposes no end and acknowledges no renewal; called off, it needs a new round', () => {
    const { bench, leader, session } = led();
    leader.leases.renewalArrived(session, 1, leader.nowMs);
    const round = bench.nextRound();
    leader.leases.roundFor(round);
    leader.leases.setTransferring(true);
    leader.pass(1);
    expect(leader.leases.confirmed(round)).toEqual([]);
    leader.pass(TTL_MS);
    expect(leader.due()).toEqual([]);
    leader.leases.setTransferring(false);
    expect(leader.leases.confirmed(round)).toEqual([]);
    expect(leader.leases.wantsRound).toBe(true);
    const again = bench.nextRound();
    leader.leases.roundFor(again);
    expect(leader.leases.confirmed(again)).toMatchObject([{ stamp: 1 }]);
  });
});

describe('clock rates', () => {
  const marginMs = TTL_MS / 100 + 100;

  /** True time at which the client must have given up, and at which the service first ends it. Both clocks tick at their own rate. */
  function race(leaderRate: number, clientRate: number): { lostAt: number; endedAt: number } {
    const { leader, session } = led();
    const start = leader.nowMs;
    // The client sends at 0, the leader hears at once, which is the worst case, and the client never hears anything else.
    expect(leader.renew(session, 1)).toEqual([1]);
    for (let trueMs = 1; ; trueMs++) {
      leader.nowMs = start + Math.floor(trueMs * leaderRate);
      if (leader.due().length > 0) return { lostAt: (TTL_MS - marginMs) / clientRate, endedAt: trueMs };
    }
  }

  test('within the bound the client has given up before the service ends its session', () => {
    for (const [leaderRate, clientRate] of [
      [1, 1],
      [1.005, 0.995],
      [1.01, 1],
      [1, 0.99],
    ] as const) {
      const { lostAt, endedAt } = race(leaderRate, clientRate);
      expect(lostAt).toBeLessThan(endedAt);
    }
  });

  test('beyond it, it may not have: the assumption is needed', () => {
    const { lostAt, endedAt } = race(1.05, 1);
    expect(lostAt).toBeGreaterThan(endedAt);
  });
});

describe('deadlines of grants and names', () => {
  function holding() {
    const context = led();
    const { bench, leader, session } = context;
    const options = [0, 0, 900, 300, 200, [], [], [], 0, ''] as const;
    bench.commit(1, [OP.acquire, session, 1, 1, 0, 'x', 0, 500, options]);
    const waiter = bench.open(1, 'waiter');
    bench.commit(1, [OP.acquire, waiter, 1, 1, 0, 'x', 400]);
    leader.catchUp();
    return { ...context, waiter };
  }

  function run(bench: LeaseBench, node: LeaseNode, term: number, ms: number): string[] {
    const log: string[] = [];
    for (let passed = 0; passed < ms; passed += 50) {
      node.pass(50);
      for (const command of node.due()) {
        log.push(`${passed + 50}:${command[0]}`);
        bench.commit(term, command);
      }
      node.catchUp();
    }
    return log;
  }

  test('each is proposed when it is due: minHold, the wait, the own lease, the lock-delay after it', () => {
    const { bench, leader } = holding();
    expect(run(bench, leader, 1, 1000)).toEqual([
      `300:${OP.endReserve}`,
      `400:${OP.endWait}`,
      `500:${OP.endGrant}`,
      `700:${OP.endReserve}`,
    ]);
    expect(leader.table.counters()).toMatchObject({ names: 0, held: 0, waiting: 0 });
  });

  test('a new leader starts each at its full length', () => {
    const { bench, leader } = holding();
    run(bench, leader, 1, 250);
    const next = bench.node();
    next.lead(2);
    expect(run(bench, next, 2, 1000)).toEqual([
      `300:${OP.endReserve}`,
      `400:${OP.endWait}`,
      `500:${OP.endGrant}`,
      `700:${OP.endReserve}`,
    ]);
  });

  test('an extension restarts the lease, and the old end is not proposed', () => {
    const { bench, leader, session } = holding();
    run(bench, leader, 1, 450);
    bench.commit(1, [OP.extend, session, 1, 2, 0, 1, 600]);
    leader.catchUp();
    // maxHold of 900 ms comes first.
    expect(run(bench, leader, 1, 500)).toEqual([`450:${OP.endMaxHold}`]);
  });

  test('work that is left is proposed at once, and again when it was done and more is left', () => {
    const { bench, leader, session } = led();
    for (let seq = 1; seq <= 2500; seq++) bench.commit(1, [OP.acquire, session, 1, seq, seq - 1, `n${seq}`, 0]);
    leader.catchUp();
    bench.commit(1, [OP.close, session, 1, 2501, 2500]);
    leader.catchUp();
    expect(leader.leases.nextDeadlineMs()).toBe(0);
    expect(leader.due()).toEqual([[OP.continueWork]]);
    expect(leader.due()).toEqual([]);
    bench.commit(1, [OP.continueWork]);
    leader.catchUp();
    // A new leader finds it in the state.
    const next = bench.node();
    next.lead(2);
    expect(next.due()).toEqual([[OP.continueWork]]);
    bench.commit(2, [OP.continueWork]);
    next.catchUp();
    expect(next.due()).toEqual([]);
    expect(next.table.counters()).toMatchObject({ held: 0, sessions: 0 });
  });
});

describe('many', () => {
  test('100,000 sessions end in bounded steps, and none is forgotten', () => {
    const bench = new LeaseBench();
    const leader = bench.node(1000);
    leader.lead(1);
    for (let i = 0; i < 100_000; i++) bench.open(1, `n${i}`);
    leader.catchUp();
    leader.pass(10_000);
    for (let session = 2; session < 50_000; session++) leader.leases.renewalArrived(session, 1, leader.nowMs);
    leader.pass(5000);
    let ended = 0;
    for (let commands = leader.due(); commands.length > 0; commands = leader.due()) {
      expect(commands.length).toBeLessThanOrEqual(1000);
      ended += commands.length;
    }
    expect(ended).toBe(100_000 - 49_998);
  });

  test('leases that are extended again and again do not pile up', () => {
    const { bench, leader, session } = led();
    bench.commit(1, [OP.acquire, session, 1, 1, 0, 'x', 0, 600_000, [0, 0, 0, 0, 0, [], [], [], 0, '']]);
    for (let seq = 2; seq < 20_000; seq++) bench.commit(1, [OP.extend, session, 1, seq, seq - 1, 1, 600_000]);
    leader.catchUp();
    leader.leases.nextDeadlineMs();
    expect(leader.leases.pendingDeadlines).toBeLessThan(5000);
  });

  test('waits that end before their time do not pile up', () => {
    const { bench, leader, session } = led();
    bench.commit(1, [OP.acquire, session, 1, 1, 0, 'x', 0]);
    const other = bench.open(1, 'other');
    for (let seq = 1; seq < 40_000; seq += 2) {
      bench.commit(1, [OP.acquire, other, 1, seq, seq - 1, 'x', 600_000]);
      bench.commit(1, [OP.cancel, other, 1, seq + 1, seq - 1, seq]);
      if (seq % 1001 === 0) {
        leader.catchUp();
        leader.leases.nextDeadlineMs();
      }
    }
    leader.catchUp();
    leader.leases.nextDeadlineMs();
    expect(leader.leases.pendingDeadlines).toBeLessThan(5000);
  });
});

describe('promise 6, over random executions', () => {
  /** What can happen in a step; the leader's clock moves by `ms` before it. */
  const happening = fc.record({
    what: fc.constantFrom(
      'renew',
      'renew',
      'renew',
      'confirm',
      'due',
      'attach',
      'apply',
      'elect',
      'stall',
      'refuse',
      'transfer',
    ),
    session: fc.nat(2),
    ms: fc.oneof(fc.constant(0), fc.nat(3000), fc.nat(20_000)),
  });

  test('no session ends by itself sooner than its TTL after the sending of an acknowledged renewal', () => {
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 120, size: 'max' }), (happenings) => {
        const bench = new LeaseBench();
        let leader = bench.node();
        let term = 1;
        leader.lead(1);
        const sessions = [bench.open(1, 'a'), bench.open(1, 'b'), bench.open(1, 'c')];
        leader.catchUp();
        const epochs = sessions.map(() => 1);
        // Renewals are stamped with the true time of their sending.
        const acknowledged = new Map<number, number>();
        let round = 0;
        let isTransferring = false;
        let nowMs = leader.nowMs;
        const check = (): void => {
          for (const session of sessions) {
            if (leader.table.isAlive(session)) continue;
            const stamp = acknowledged.get(session);
            if (stamp !== undefined && nowMs < stamp + TTL_MS)
              throw new Error(`session ${session} ended ${nowMs - stamp} ms after a renewal that was acknowledged`);
          }
        };
        const take = (acks: readonly { session: number; stamp: number }[]): void => {
          for (const { session, stamp } of acks)
            acknowledged.set(session, Math.max(stamp, acknowledged.get(session) ?? 0));
          for (const { session } of acks) expect(leader.table.isAlive(session)).toBe(true);
        };
        for (const { what, session, ms } of happenings) {
          nowMs += ms;
          leader.nowMs = nowMs;
          const id = sessions[session] as number;
          switch (what) {
            case 'renew':
              if (leader.leases.renewalArrived(id, nowMs, nowMs) && leader.leases.wantsRound)
                leader.leases.roundFor((round = bench.nextRound()));
              break;
            case 'confirm':
              // Confirmed reads mean that the log up to now is applied.
              leader.catchUp();
              take(leader.leases.confirmed(round));
              break;
            case 'due':
              for (const command of leader.due()) bench.commit(term, command);
              break;
            case 'refuse':
              for (const proposal of leader.proposals()) leader.leases.withdraw(proposal);
              break;
            case 'attach':
              bench.commit(term, [OP.attach, id, 'abc'[session] as string, ++(epochs[session] as number)]);
              break;
            case 'apply':
              leader.catchUp();
              take(leader.leases.takeAcks());
              check();
              break;
            case 'elect': {
              leader.leases.lostLeadership();
              const next = bench.node();
              next.nowMs = nowMs;
              leader = next;
              isTransferring = false;
              leader.lead(++term);
              check();
              break;
            }
            case 'stall':
              nowMs += 5000;
              leader.nowMs = nowMs;
              leader.leases.stalled(5000, nowMs);
              break;
            default:
              isTransferring = !isTransferring;
              leader.leases.setTransferring(isTransferring);
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});
