import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Gathering } from '../../src/gateway/gathering.ts';
import { GATEWAY_LIMITS } from '../../src/gateway/limits.ts';

const { gatherMs } = GATEWAY_LIMITS;

/** A batch of `count` behind `uncommitted`, looked at until it goes. How long it waited. */
function waitedMs(gathering: Gathering, count: number, uncommitted: number, fromMs: number): number {
  let nowMs = fromMs;
  while (!gathering.takes(count, uncommitted, nowMs)) nowMs++;
  return nowMs - fromMs;
}

describe('commands that wait for others', () => {
  test('one alone goes at once, and so do a few with a few under way', () => {
    const gathering = new Gathering();
    for (let nowMs = 0; nowMs < 1000; nowMs++) {
      expect(gathering.takes(1, 0, nowMs)).toBe(true);
      expect(gathering.takes(2, 5, nowMs)).toBe(true);
    }
  });

  test('half of the clients’ commands wait for the other half, and from then on all go together', () => {
    const gathering = new Gathering();
    expect(gathering.takes(50, 0, 0)).toBe(true);
    // The others have come, while those fifty are being written.
    expect(gathering.takes(50, 50, 1)).toBe(false);
    // Those are committed, answered, and most of them back.
    expect(gathering.fullCount).toBe(85);
    expect(gathering.takes(70, 0, 2)).toBe(false);
    expect(gathering.takes(90, 0, 3)).toBe(true);
    // The next round: the first that come know how many went with them last time.
    expect(gathering.takes(20, 0, 5)).toBe(false);
    expect(gathering.takes(100, 0, 6)).toBe(true);
    expect(gathering.fullCount).toBe(0);
  });

  test('a batch goes at its deadline, whoever has come', () => {
    const gathering = new Gathering();
    expect(gathering.takes(20, 80, 10)).toBe(false);
    expect(gathering.deadlineMs).toBe(10 + gatherMs);
    expect(gathering.takes(21, 0, 10 + gatherMs - 1)).toBe(false);
    expect(gathering.takes(21, 0, 10 + gatherMs)).toBe(true);
    expect(gathering.deadlineMs).toBeUndefined();
  });

  test('where waiting brings nobody, it is tried less and less often', () => {
    const gathering = new Gathering();
    const held: number[] = [];
    for (let batch = 0; batch < 250; batch++) if (waitedMs(gathering, 20, 80, batch * 10) > 0) held.push(batch);
    expect(held).toEqual([0, 2, 6, 14, 30, 62, 126, 190]);
  });

  test('one trial that brings them ends that', () => {
    const gathering = new Gathering();
    for (let batch = 0; batch < 3; batch++) waitedMs(gathering, 20, 80, batch * 10);
    let nowMs = 100;
    while (gathering.takes(20, 80, nowMs)) nowMs += 10;
    expect(gathering.takes(95, 0, nowMs + 1)).toBe(true);
    // The next one that waits in vain is followed by one that does not wait, as if it were the first.
    expect(waitedMs(gathering, 20, 80, nowMs + 10)).toBe(gatherMs);
    expect(waitedMs(gathering, 20, 80, nowMs + 20)).toBe(0);
    expect(waitedMs(gathering, 20, 80, nowMs + 30)).toBe(gatherMs);
  });

  test('a large batch of some time ago is not waited for', () => {
    const gathering = new Gathering();
    expect(gathering.takes(200, 0, 0)).toBe(true);
    expect(gathering.takes(10, 0, 100)).toBe(true);
  });

  test('whatever comes, nothing waits longer than the limit', () => {
    const steps = fc.array(fc.record({ come: fc.nat(300), uncommitted: fc.nat(300), afterMs: fc.nat(3) }), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(steps, (happening) => {
        const gathering = new Gathering();
        let nowMs = 0;
        let count = 0;
        let sinceMs: number | undefined;
        for (const { come, uncommitted, afterMs } of happening) {
          nowMs += afterMs;
          count += come;
          if (count === 0) continue;
          sinceMs ??= nowMs;
          const isOverdue = nowMs - sinceMs >= gatherMs;
          if (gathering.takes(count, uncommitted, nowMs)) {
            count = 0;
            sinceMs = undefined;
          } else {
            expect(isOverdue).toBe(false);
            expect(gathering.fullCount).toBeGreaterThan(count);
          }
        }
      }),
    );
  });
});
