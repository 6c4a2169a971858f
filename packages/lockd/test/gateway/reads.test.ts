import type { NodeId, RaftStatus, ReadRound } from '@lockd/raft';
import { describe, expect, test } from 'vitest';
import { Reads } from '../../src/gateway/reads.ts';
import type { AppPayload } from '../../src/peers/app-payload.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { GatewayBench } from '../support/gateway-bench.ts';

describe('reads', () => {
  test('a leader does not answer what a node asked before its link closed: its numbers may mean other reads by then', () => {
    const clock = new FakeClock();
    const sent: AppPayload[] = [];
    let round = 0;
    const reads = new Reads({
      self: 'n1' as NodeId,
      clock,
      patienceMs: 1000,
      requestRead: () => ({ type: 'round', round: ++round as ReadRound }),
      sendApp: (_to, payload) => sent.push(payload) > 0,
      appliedIndex: () => 7,
    });
    reads.onStatus({ role: 'leader', term: 1, leader: 'n1' } as RaftStatus);
    reads.onAsked('n2' as NodeId, 1);
    reads.onPeerDown('n2' as NodeId);
    // Started anew, it counts from 1 again; the first round is confirmed only now.
    reads.onAsked('n2' as NodeId, 1);
    reads.onReadsConfirmed(1 as ReadRound);
    expect(sent).toEqual([]);
    reads.onReadsConfirmed(2 as ReadRound);
    expect(sent).toEqual([{ type: 'read-answer', id: 1, index: 7 }]);
  });

  test('lists are answered one a turn, in order, and to nobody who is gone', () => {
    const bench = new GatewayBench();
    const client = bench.connect('n1');
    const gone = bench.connect('n1');
    const ids = [1, 2, 3];
    gone.say(['list', 9, '', 10, null]);
    client.say(...ids.map((id) => ['list', id, '', 10, null] as const));
    const { clock, gateway } = bench.node('n1');
    clock.endOneTurn();
    gateway.onReadsConfirmed(bench.round as ReadRound);
    gone.break();
    const answered = [0];
    for (let turn = 0; turn < 5; turn++) {
      clock.endOneTurn();
      gateway.flush();
      answered.push(client.all('result').length);
    }
    expect(answered.at(-1)).toBe(3);
    expect(answered.every((count, turn) => turn === 0 || count - (answered[turn - 1] as number) <= 1)).toBe(true);
    expect(client.all('result').map((message) => message[1])).toEqual(ids);
    expect(gone.all('result')).toEqual([]);
  });
});
