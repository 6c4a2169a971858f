import { describe, expect, test } from 'vitest';
import { GATEWAY_LIMITS } from '../../src/gateway/limits.ts';
import { type BenchConnection, GatewayBench } from '../support/gateway-bench.ts';

const TTL_MS = 15_000;

/** Opens with this secret and returns the session. */
function open(bench: GatewayBench, connection: BenchConnection, nonce: string): number {
  connection.say(['open', 1, nonce, TTL_MS, 0, null]);
  bench.turn();
  return (connection.all('opened').at(-1) as readonly ['opened', number, number, number])[2];
}

describe('which connection speaks for a session', () => {
  test('one that opened it again, and is then said to be closed by the node that had it first, is asked to attach', () => {
    const bench = new GatewayBench();
    const first = bench.connect('n1');
    const session = open(bench, first, 'secret');
    // The answer is lost on the way; the client opens again at another node, and waits there.
    const other = bench.connect('n2');
    const blocker = bench.connect('n2');
    expect(open(bench, other, 'secret')).toBe(session);
    const holder = open(bench, blocker, 'holder');
    blocker.say(['acquire', holder, 1, 0, 'x', 0, null, null]);
    bench.turn();
    other.say(['acquire', session, 1, 0, 'x', 5000, null, null]);
    bench.turn();
    expect(other.all('waiting')).toHaveLength(1);
    // Now the first node notices that its connection is gone.
    first.break();
    bench.turn();
    expect(other.all('reattach')).toEqual([['reattach', session]]);
    other.say(['attach', 2, session, 'secret', 2]);
    bench.turn();
    blocker.say(['release', holder, 2, 1, 1]);
    bench.turn();
    expect(other.all('granted')).toHaveLength(1);
  });

  test('one that closes after an attach that came to nothing is detached as what it was', () => {
    const bench = new GatewayBench();
    const connection = bench.connect('n2');
    const session = open(bench, connection, 'secret');
    // The leader cannot be reached for longer than the attach is kept.
    bench.isCut = true;
    connection.say(['attach', 2, session, 'secret', 2]);
    bench.turn();
    bench.node('n2').clock.advance(1000);
    connection.break();
    bench.isCut = false;
    bench.elect('n1');
    bench.turn();
    const line = bench
      .node('n1')
      .table.describe()
      .find((text) => text.includes('"secret"'));
    // The record's ninth field: detached.
    expect((JSON.parse(line as string) as unknown[])[8]).toBe(1);
  });

  test('what was refused and is sent again under its number may be lost like anything else: its session is told', () => {
    const bench = new GatewayBench();
    const connection = bench.connect('n2');
    const session = open(bench, connection, 'secret');
    const acquire = ['acquire', session, 1, 0, 'x', 0, null, null] as const;
    // The leader cannot be reached for longer than an operation is kept.
    bench.isCut = true;
    connection.say(acquire);
    bench.turn();
    bench.node('n2').clock.advance(1000);
    bench.turn();
    expect(connection.all('error').map((message) => message[3])).toEqual(['LOCKD_NO_QUORUM']);
    bench.isCut = false;
    connection.say(acquire);
    bench.node('n2').clock.endTurn();
    bench.elect('n1');
    bench.node('n2').turn();
    expect(connection.all('reattach')).toEqual([['reattach', session]]);
  });

  test('attaches of one connection without an answer are bounded', () => {
    const bench = new GatewayBench();
    const connection = bench.connect('n1');
    const { maxRequestsPerConnection } = GATEWAY_LIMITS;
    const many = Array.from({ length: maxRequestsPerConnection + 10 }, (_, i) => ['attach', i + 1, 77, 'guess', i + 2]);
    connection.say(...many);
    bench.turn();
    const refused = connection.all('error').map((message) => message[3]);
    expect(refused.filter((code) => code === 'LOCKD_LIMIT')).toHaveLength(10);
    expect(refused.filter((code) => code === 'LOCKD_SESSION_EXPIRED')).toHaveLength(maxRequestsPerConnection);
    // Answered ones make room.
    connection.say(['attach', 5000, 77, 'guess', 5000]);
    bench.turn();
    expect(connection.all('error').at(-1)?.[3]).toBe('LOCKD_SESSION_EXPIRED');
  });
});

test('a node whose disk is almost full refuses what asks for locks, and takes what gives them back', () => {
  const bench = new GatewayBench();
  const connection = bench.connect('n1');
  const session = open(bench, connection, 'secret');
  connection.say(['acquire', session, 1, 0, 'x', 0, null, null]);
  bench.turn();
  bench.condition = 'disk-full';
  bench.turn();
  connection.say(['release', session, 2, 1, 1], ['acquire', session, 3, 1, 'x', 0, null, null]);
  bench.turn();
  expect(connection.all('ok').map((message) => message[2])).toEqual([2]);
  expect(connection.all('error').map((message) => message.slice(2, 4))).toEqual([[3, 'LOCKD_OVERLOADED']]);
});
