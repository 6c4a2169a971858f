import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkKey } from '../src/checker/linearizability.ts';
import type { HistoryLine } from '../src/history/history-line.ts';
import { naiveIsLinearizable } from './support/naive-checker.ts';

const owners = ['a/1', 'b/1', 'c/1', 'd/1'];

/** Any small history at all: most are contradictory, many are not. */
function arbitraryLine(kindOfLock: 'exclusive' | 'shared' | 'permit' | 'convert' | 'steal'): fc.Arbitrary<HistoryLine> {
  const mode = kindOfLock === 'convert' ? 'shared' : kindOfLock === 'steal' ? 'exclusive' : kindOfLock;
  const more: HistoryLine['op'][] = kindOfLock === 'convert' ? ['upgrade', 'upgrade', 'downgrade'] : [];
  const modeOfOwner = (owner: string): typeof mode => (mode === 'shared' && owner === 'd/1' ? 'exclusive' : mode);
  return fc
    .record({
      op: fc.constantFrom<HistoryLine['op'][]>(
        ...(['acquire', 'acquire', 'acquire', 'release', 'release', 'read', 'expire'] as const),
        ...more,
      ),
      steal: fc.boolean(),
      owner: fc.constantFrom(...owners),
      other: fc.option(fc.constantFrom(...owners)),
      others: fc.option(fc.uniqueArray(fc.constantFrom(...owners), { maxLength: 3 })),
      call: fc.integer({ min: 0, max: 24 }),
      length: fc.integer({ min: 0, max: 12 }),
      result: fc.constantFrom<HistoryLine['result'][]>('ok', 'ok', 'ok', 'fail', 'unknown'),
      because: fc.constantFrom(undefined, undefined, undefined, 'waiter' as const),
    })
    .map(({ op, owner, other, others, call, length, result: wanted, because, steal }) => {
      const result = op === 'expire' ? 'unknown' : op === 'read' && wanted === 'fail' ? 'ok' : wanted;
      const kind = modeOfOwner(owner);
      const isRefusal = op === 'acquire' && result === 'fail';
      return {
        client: owner.slice(0, 1),
        op,
        key: 'k',
        owner: op === 'read' ? null : owner,
        token: op === 'acquire' && result === 'ok' ? call : null,
        call,
        return: result === 'unknown' ? null : call + length,
        result,
        holder: op === 'read' || isRefusal ? other : null,
        ...(isRefusal && because !== undefined ? { because } : {}),
        ...(kindOfLock === 'steal' && op === 'acquire' && steal ? { steal } : {}),
        ...(kindOfLock === 'steal' && op === 'release' && result === 'unknown' && other !== null
          ? { thief: other }
          : {}),
        ...(kind === 'exclusive' ? {} : { mode: kind }),
        ...(kind === 'permit' ? { limit: 2 } : {}),
        ...(op === 'read' && kind !== 'exclusive' && others !== null
          ? { holders: others, holder: others[0] ?? null }
          : {}),
      };
    });
}

/** Runs a real lock, records what its clients see, and then lies in one place in half of the cases. */
const nearlyTrueHistory = fc
  .record({
    steps: fc.array(
      fc.record({
        owner: fc.constantFrom(...owners),
        before: fc.integer({ min: 0, max: 6 }),
        after: fc.integer({ min: 0, max: 6 }),
        unknown: fc.boolean(),
        look: fc.constantFrom(0, 0, 1, 2, 3),
      }),
      { maxLength: 10 },
    ),
    lie: fc.option(fc.record({ at: fc.nat(), shift: fc.integer({ min: -24, max: 24 }) })),
  })
  .map(({ steps, lie }) => {
    const lines: HistoryLine[] = [];
    let holder: string | undefined;
    const used = new Set<string>();
    let now = 10;
    for (const step of steps) {
      now += 2;
      const { owner } = step;
      const times = { call: Math.max(0, now - step.before), return: step.unknown ? null : now + step.after };
      const result = step.unknown ? ('unknown' as const) : ('ok' as const);
      if (step.look > 1 && !step.unknown) {
        lines.push({
          client: 'r',
          op: 'read',
          key: 'k',
          owner: null,
          token: null,
          ...times,
          result,
          holder: holder ?? null,
        });
      } else if (holder === owner) {
        lines.push({
          client: owner,
          op: step.look === 1 ? 'expire' : 'release',
          key: 'k',
          owner,
          token: null,
          call: times.call,
          return: step.look === 1 ? null : times.return,
          result: step.look === 1 ? 'unknown' : result,
          holder: null,
        });
        holder = undefined;
      } else if (holder === undefined && !used.has(owner)) {
        lines.push({ client: owner, op: 'acquire', key: 'k', owner, token: now, ...times, result, holder: null });
        holder = owner;
        used.add(owner);
      } else if (holder !== undefined) {
        lines.push({
          client: owner,
          op: 'acquire',
          key: 'k',
          owner: `${owner}x${now}`,
          token: null,
          call: times.call,
          return: now + step.after,
          result: 'fail',
          holder,
        });
      }
    }
    const victim = lie === null || lines.length === 0 ? undefined : lines[lie.at % lines.length];
    if (victim !== undefined && lie !== null) {
      const call = Math.max(0, victim.call + lie.shift);
      lines[lines.indexOf(victim)] = {
        ...victim,
        call,
        return: victim.return === null ? null : Math.max(call, victim.return + lie.shift),
      };
    }
    return lines;
  });

describe('the checker and the definition tried word for word', () => {
  for (const mode of ['exclusive', 'shared', 'permit', 'convert', 'steal'] as const) {
    test(`agree on small random histories (${mode})`, () => {
      let valid = 0;
      fc.assert(
        fc.property(fc.array(arbitraryLine(mode), { maxLength: 7 }), (lines) => {
          const expected = naiveIsLinearizable(lines);
          if (expected) valid++;
          expect(checkKey(lines).outcome).toBe(expected ? 'pass' : 'fail');
        }),
        { numRuns: 4000 },
      );
      // Both verdicts must occur often.
      expect(valid).toBeGreaterThan(400);
    });
  }

  test('agree on histories of a real lock, with and without one lie', () => {
    let valid = 0;
    let runs = 0;
    fc.assert(
      fc.property(nearlyTrueHistory, (lines) => {
        const expected = naiveIsLinearizable(lines);
        runs++;
        if (expected) valid++;
        expect(checkKey(lines).outcome).toBe(expected ? 'pass' : 'fail');
      }),
      { numRuns: 6000 },
    );
    expect(valid).toBeGreaterThan(runs / 4);
    expect(valid).toBeLessThan(runs - 200);
  });
});
