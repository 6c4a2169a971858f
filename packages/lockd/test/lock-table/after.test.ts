import { describe, expect, test } from 'vitest';
import { type Command, encodeCommand, OP, type Options } from '../../src/lock-table/command.ts';
import { LockTable } from '../../src/lock-table/lock-table.ts';
import { type Call, recordingSink } from './recording-sink.ts';

describe('what a grant with a deadline says of its making', () => {
  for (const [what, leaseMs, maxHoldMs] of [
    ['an own lease', 5000, 0],
    ['maxHold', 0, 5000],
  ] as const) {
    test(`a push with ${what} names the highest number of its session that the log held`, () => {
      const { apply, open } = table();
      const [holder, waiter] = [open('h'), open('w')];
      apply([OP.acquire, holder, 1, 1, 0, 'x', 0]);
      apply([OP.acquire, waiter, 1, 1, 0, 'x', 1000, leaseMs, options(maxHoldMs)]);
      apply([OP.acquire, waiter, 1, 2, 0, 'y', 0]);
      const calls = apply([OP.release, holder, 1, 2, 1, 1]);
      const granted = calls.find(([name]) => name === 'granted');
      expect(granted?.[4]).toMatchObject({ after: 2 });
    });
  }

  test('and says it again to who asks later', () => {
    const { table: locks, apply, open } = table();
    const session = open('s');
    apply([OP.acquire, session, 1, 1, 0, 'x', 0, 0, options(5000)]);
    apply([OP.acquire, session, 1, 2, 0, 'y', 0]);
    expect(locks.askRequest(session, 1)?.[3]).toEqual({ after: 1 });
  });
});

function options(maxHoldMs: number): Options {
  return [0, 0, maxHoldMs, 0, 0, [], [], [], 0, ''];
}

function table(): { table: LockTable; apply: (command: Command) => Call[]; open: (nonce: string) => number } {
  const locks = new LockTable();
  const sink = recordingSink();
  let index = 0;
  const apply = (command: Command): Call[] => {
    locks.applyEntry(encodeCommand(command), ++index, 1, sink);
    return sink.take();
  };
  return {
    table: locks,
    apply,
    open: (nonce) => {
      apply([OP.open, nonce, 15_000, index, 0, []]);
      return index;
    },
  };
}
