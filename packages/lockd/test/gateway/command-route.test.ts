import type { NodeId, ProposeResult, RaftStatus } from '@lockd/raft';
import { describe, expect, test } from 'vitest';
import { CommandRoute } from '../../src/gateway/command-route.ts';
import { GATEWAY_LIMITS } from '../../src/gateway/limits.ts';
import type { AppPayload } from '../../src/peers/app-payload.ts';
import { FakeClock } from '../support/fake-clock.ts';

const SELF = 'n1' as NodeId;
const OTHER = 'n2' as NodeId;

/** A route with everything around it in the test's hands. */
class Bench {
  readonly clock = new FakeClock();
  readonly proposed: number[] = [];
  /** Of each proposal, on whose behalf it was made. */
  readonly awaitedBy: (NodeId | undefined)[] = [];
  readonly sent: { to: NodeId; payload: AppPayload }[] = [];
  answer: 'accepted' | 'overloaded' | 'transferring' | 'invalid' = 'accepted';
  isLinked = true;
  uncommitted = 0;
  wakes = 0;
  lossesTold = 0;
  /** Bytes of the largest batch handed on. */
  largest = 0;
  readonly refused: string[] = [];
  readonly route = new CommandRoute({
    self: SELF,
    clock: this.clock,
    patienceMs: 500,
    propose: (bytes, start, ends, awaitedBy): ProposeResult => {
      this.largest = Math.max(this.largest, bytes.length);
      if (this.answer !== 'accepted') return { type: 'refused', reason: this.answer, leader: SELF };
      this.proposed.push(...commands(bytes, start, ends));
      this.awaitedBy.push(awaitedBy);
      return { type: 'accepted', firstIndex: 1, term: 1 } as ProposeResult;
    },
    uncommitted: () => this.uncommitted,
    wake: () => {
      this.wakes++;
    },
    sendApp: (to, payload) => {
      if (payload.type === 'forward') this.largest = Math.max(this.largest, payload.bytes.length);
      if (this.isLinked) this.sent.push({ to, payload });
      return this.isLinked;
    },
    onMayBeLost: () => {
      this.lossesTold++;
    },
  });

  owner(): { isStale: boolean; notProposed(tag: number, reason: string): void } {
    return { isStale: false, notProposed: (tag, reason) => this.refused.push(`${tag} ${reason}`) };
  }

  status(role: RaftStatus['role'], leader: NodeId | undefined, term = 1): void {
    this.route.onStatus({ role, leader, term } as RaftStatus);
  }

  forwarded(): number[] {
    return this.sent.flatMap(({ payload }) =>
      payload.type === 'forward' ? commands(payload.bytes, payload.start, payload.ends) : [],
    );
  }
}

/** The commands of a run; each is one byte behind its kind. */
function commands(bytes: Uint8Array, start: number, ends: Uint32Array): number[] {
  let from = start;
  return [...ends].map((end) => {
    const command = bytes[from + 1] as number;
    from = end;
    return command;
  });
}

const command = (value: number): Uint8Array => Uint8Array.of(value);

function forwardOf(value: number): Extract<AppPayload, { type: 'forward' }> {
  return { type: 'forward', batch: 1, start: 0, ends: Uint32Array.of(2), bytes: Uint8Array.of(1, value) };
}

describe('the way of commands into the log', () => {
  test.each(['leader', 'follower'] as const)(
    'a turn with very many of them hands them on in parts, in order, at a %s',
    (role) => {
      const bench = new Bench();
      bench.status(role, role === 'leader' ? SELF : OTHER);
      const large = new Uint8Array(64 * 1024);
      for (let value = 0; value < 300; value++) {
        large[0] = value % 256;
        bench.route.add(large, bench.owner(), value);
      }
      bench.clock.endTurn();
      const handedOn = role === 'leader' ? bench.proposed : bench.forwarded();
      expect(handedOn).toEqual(Array.from({ length: 300 }, (_, value) => value % 256));
      // More at once is no valid proposal, and no frame of a link.
      expect(bench.largest).toBeLessThanOrEqual(2 * 1024 * 1024);
      expect(bench.refused).toEqual([]);
    },
  );

  test('a turn’s commands are one proposal, in order', () => {
    const bench = new Bench();
    bench.status('leader', SELF);
    for (const value of [1, 2, 3]) bench.route.add(command(value), undefined, value);
    expect(bench.proposed).toEqual([]);
    bench.clock.endTurn();
    expect(bench.proposed).toEqual([1, 2, 3]);
  });

  test('what another node has forwarded is proposed on its behalf, so that it hears of the commit at once', () => {
    const bench = new Bench();
    bench.status('leader', SELF);
    bench.route.onForward(OTHER, forwardOf(1));
    bench.route.add(command(2), undefined, 2);
    bench.clock.endTurn();
    expect(bench.proposed).toEqual([1, 2]);
    expect(bench.awaitedBy).toEqual([OTHER, undefined]);
  });

  test('a follower sends them to the leader in one frame', () => {
    const bench = new Bench();
    bench.status('follower', OTHER);
    for (const value of [1, 2, 3]) bench.route.add(command(value), undefined, value);
    bench.clock.endTurn();
    expect(bench.sent.map(({ to }) => to)).toEqual([OTHER]);
    expect(bench.forwarded()).toEqual([1, 2, 3]);
  });

  test('without a leader they wait for one, in order, ahead of what comes later', () => {
    const bench = new Bench();
    bench.status('follower', undefined);
    bench.route.add(command(1), bench.owner(), 1);
    bench.clock.endTurn();
    bench.route.add(command(2), bench.owner(), 2);
    bench.clock.endTurn();
    bench.status('leader', SELF);
    bench.route.add(command(3), bench.owner(), 3);
    bench.clock.endTurn();
    expect(bench.proposed).toEqual([1, 2, 3]);
    expect(bench.refused).toEqual([]);
  });

  test('after one election time-out without a leader each is refused, without effect', () => {
    const bench = new Bench();
    bench.status('follower', undefined);
    bench.route.add(command(1), bench.owner(), 1);
    bench.clock.endTurn();
    bench.clock.advance(250);
    bench.route.add(command(2), bench.owner(), 2);
    bench.clock.endTurn();
    bench.clock.advance(251);
    expect(bench.refused).toEqual(['1 no-leader']);
    bench.clock.advance(250);
    expect(bench.refused).toEqual(['1 no-leader', '2 no-leader']);
    bench.status('leader', SELF);
    bench.clock.endTurn();
    expect(bench.proposed).toEqual([]);
  });

  test('nothing is sent to a second leader: what went to the first may be lost, and that is told', () => {
    const bench = new Bench();
    bench.status('follower', OTHER);
    bench.route.add(command(1), bench.owner(), 1);
    bench.clock.endTurn();
    bench.status('follower', undefined);
    expect(bench.lossesTold).toBe(1);
    bench.status('leader', SELF, 2);
    bench.clock.endTurn();
    expect(bench.lossesTold).toBe(1);
    expect(bench.proposed).toEqual([]);
    expect(bench.forwarded()).toEqual([1]);
  });

  test('a leader that is leader no more tells that what it proposed may be lost', () => {
    const bench = new Bench();
    bench.status('leader', SELF);
    bench.status('follower', OTHER, 2);
    expect(bench.lossesTold).toBe(1);
  });

  test('the end of the link to the leader tells it too, and only that link', () => {
    const bench = new Bench();
    bench.status('follower', OTHER);
    bench.route.onPeerDown('n3' as NodeId);
    expect(bench.lossesTold).toBe(0);
    bench.route.onPeerDown(OTHER);
    expect(bench.lossesTold).toBe(1);
  });

  test('of a session that was told to attach again, nothing that still waits is sent', () => {
    const bench = new Bench();
    bench.status('follower', undefined);
    const [told, other] = [bench.owner(), bench.owner()];
    bench.route.add(command(1), told, 1);
    bench.route.add(command(2), other, 1);
    bench.route.add(command(3), told, 2);
    bench.clock.endTurn();
    told.isStale = true;
    bench.status('leader', SELF);
    expect(bench.proposed).toEqual([2]);
  });

  test('a leader without room keeps what it was given for as long as it takes', () => {
    const bench = new Bench();
    bench.status('leader', SELF);
    bench.answer = 'overloaded';
    bench.route.add(command(1), bench.owner(), 1);
    bench.clock.endTurn();
    bench.clock.advance(5000);
    expect(bench.refused).toEqual([]);
    bench.answer = 'accepted';
    bench.route.onTurnEnd();
    expect(bench.proposed).toEqual([1]);
  });

  test('a leader that hands over keeps commands for its successor', () => {
    const bench = new Bench();
    bench.status('leader', SELF);
    bench.answer = 'transferring';
    bench.route.add(command(1), bench.owner(), 1);
    bench.clock.endTurn();
    bench.status('follower', OTHER, 2);
    expect(bench.forwarded()).toEqual([1]);
  });

  test('commands forwarded to a node that does not lead go back, and nowhere else', () => {
    const bench = new Bench();
    bench.status('follower', 'n3' as NodeId);
    bench.route.onForward(OTHER, { ...forwardOf(9), batch: 7 });
    expect(bench.sent).toEqual([{ to: OTHER, payload: { type: 'forward-refused', batch: 7, reason: 'not-leader' } }]);
  });
});

describe('commands on a leader that wait for others', () => {
  const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, at) => from + at);

  /** A leader with twenty commands under way; twenty more have come, and wait. */
  function gathering(): Bench {
    const bench = new Bench();
    bench.status('leader', SELF);
    for (const value of numbers(0, 20)) bench.route.add(command(value), bench.owner(), value);
    bench.clock.endTurn();
    expect(bench.proposed).toEqual(numbers(0, 20));
    bench.uncommitted = 20;
    for (const value of numbers(20, 40)) bench.route.add(command(value), bench.owner(), value);
    bench.clock.endTurn();
    expect(bench.proposed).toEqual(numbers(0, 20));
    return bench;
  }

  test('go with them in one proposal, in order, and ask for no turn before there are enough', () => {
    const bench = gathering();
    bench.uncommitted = 0;
    const wakes = bench.wakes;
    for (const value of numbers(40, 53)) bench.route.add(command(value), bench.owner(), value);
    expect(bench.wakes).toBe(wakes);
    bench.route.add(command(53), bench.owner(), 53);
    expect(bench.wakes).toBe(wakes + 1);
    bench.clock.endTurn();
    expect(bench.proposed).toEqual(numbers(0, 54));
    expect(bench.awaitedBy).toHaveLength(2);
  });

  test('go by themselves when nobody comes', () => {
    const bench = gathering();
    bench.clock.advance(GATEWAY_LIMITS.gatherMs);
    bench.clock.endTurn();
    expect(bench.proposed).toEqual(numbers(0, 40));
  });

  test('go to the next leader, in order, where this one loses its office meanwhile', () => {
    const bench = gathering();
    bench.status('follower', OTHER, 2);
    bench.route.add(command(40), bench.owner(), 40);
    bench.clock.advance(GATEWAY_LIMITS.gatherMs);
    bench.clock.endTurn();
    expect(bench.forwarded()).toEqual(numbers(20, 41));
    expect(bench.proposed).toEqual(numbers(0, 20));
  });

  test('do not keep later ones of a leader elected again from going', () => {
    const bench = gathering();
    bench.status('follower', OTHER, 2);
    bench.clock.advance(GATEWAY_LIMITS.gatherMs);
    bench.clock.endTurn();
    bench.status('leader', SELF, 3);
    bench.uncommitted = 0;
    bench.clock.advance(100);
    bench.route.add(command(99), bench.owner(), 99);
    bench.clock.endTurn();
    expect(bench.proposed).toEqual([...numbers(0, 20), 99]);
  });
});
