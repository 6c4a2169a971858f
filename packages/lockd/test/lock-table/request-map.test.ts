import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LockRequest } from '../../src/lock-table/lock-request.ts';
import { NameRecord } from '../../src/lock-table/name-record.ts';
import { RequestMap } from '../../src/lock-table/request-map.ts';
import { NOBODY } from '../../src/lock-table/session.ts';

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
            requests.delete(handle);
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
            requests.delete(step.handle);
            stayed.delete(found);
          }
        }
        expect([...stayed].filter((one) => !visited.has(one))).toEqual([]);
      }),
    );
  });
});
