import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { encodeCommand, MODE, OP } from '../../src/lock-table/command.ts';
import { LockRequest } from '../../src/lock-table/lock-request.ts';
import { LockTable } from '../../src/lock-table/lock-table.ts';
import { NameRecord } from '../../src/lock-table/name-record.ts';
import { RequestMap } from '../../src/lock-table/request-map.ts';
import { NOBODY } from '../../src/lock-table/session.ts';
import { SILENT_SINK } from '../../src/lock-table/state.ts';

function request(handle: number): LockRequest {
  return new LockRequest(NOBODY, handle, new NameRecord(`${handle}`), 0, 0, 0, undefined, 0);
}

const operation = fc.record({
  do: fc.constantFrom('add', 'add', 'add', 'delete', 'look'),
  handle: fc.integer({ min: 1, max: 60 }),
});

describe('the requests of a session', () => {
  test('are what a plain Map would hold, in ascending order, however many pages they fill', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 120 }), (operations) => {
        const requests = new RequestMap(4);
        const expected = new Map<number, LockRequest>();
        for (const { do: what, handle } of operations) {
          if (what === 'add' && !expected.has(handle)) {
            const added = request(handle);
            requests.add(added);
            expected.set(handle, added);
          } else if (what === 'delete') {
            requests.delete(expected.get(handle) ?? request(handle));
            expected.delete(handle);
          }
          expect(requests.size).toBe(expected.size);
          expect(requests.get(handle)).toBe(expected.get(handle));
          if (what !== 'look') continue;
          const inOrder = [...expected.values()].sort((a, b) => a.handle - b.handle);
          expect([...requests.after(handle)]).toEqual(inOrder.filter((one) => one.handle > handle));
          expect(new Set(requests.values())).toEqual(new Set(inOrder));
        }
      }),
    );
  });

  test('are all visited that stand there all the time, also while others come and go and pages are made', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 30 }), fc.array(operation, { maxLength: 60 }), (count, operations) => {
        const requests = new RequestMap(4);
        for (let handle = 1; handle <= count; handle++) requests.add(request(handle * 2));
        const stayed = new Set(requests.values());
        const visited = new Set<LockRequest>();
        const steps = [...operations];
        for (const one of requests.values()) {
          visited.add(one);
          const step = steps.shift();
          if (step === undefined) continue;
          const found = requests.get(step.handle);
          if (step.do === 'look') Array.from(requests.after(step.handle));
          else if (step.do === 'add' && found === undefined) requests.add(request(step.handle));
          else if (step.do === 'delete' && found !== undefined) {
            requests.delete(found);
            stayed.delete(found);
          }
        }
        expect([...stayed].filter((one) => !visited.has(one))).toEqual([]);
      }),
    );
  });

  test('are not looked at for deadlines where a session has plain locks only', () => {
    const table = new LockTable();
    let index = 0;
    const apply = (command: Parameters<typeof encodeCommand>[0]): void =>
      table.applyEntry(encodeCommand(command), ++index, 1, SILENT_SINK);
    const deadlines = (): string[] => {
      const found: string[] = [];
      table.forEachDeadline((kind, session, handle) => found.push(`${kind} ${session}:${handle}`));
      return found;
    };
    for (const nonce of ['a', 'b', 'c', 'd']) apply([OP.open, nonce, 15_000, 0, 0, []]);
    for (let seq = 1; seq <= 100; seq++) apply([OP.acquire, 1, 1, seq, seq - 1, `x${seq}`, 0]);
    const look = vi.spyOn(RequestMap.prototype, 'forEach');
    expect(deadlines()).toEqual([]);
    expect(look).not.toHaveBeenCalled();
    apply([OP.acquire, 2, 1, 1, 0, 'x1', 1000]);
    apply([OP.acquire, 3, 1, 1, 0, 'leased', 0, 5000, [MODE.exclusive, 0, 0, 0, 0, [], [], [], 0, '']]);
    apply([OP.acquire, 4, 1, 1, 0, 'capped', 0, 0, [MODE.exclusive, 0, 7000, 0, 0, [], [], [], 0, '']]);
    expect(deadlines().sort()).toEqual(['lease 3:1', 'max-hold 4:1', 'wait 2:1']);
    expect(look).toHaveBeenCalledTimes(3);
    apply([OP.cancel, 2, 1, 2, 1, 1]);
    apply([OP.release, 3, 1, 2, 1, 1]);
    apply([OP.release, 4, 1, 2, 1, 1]);
    expect(deadlines()).toEqual([]);
    expect(look).toHaveBeenCalledTimes(3);
    look.mockRestore();
  });
});
