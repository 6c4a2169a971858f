import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ENTRY_KIND, type EntryRun } from '../../src/core/entry-run.ts';
import { type LogIndex, logIndex, type Term, term } from '../../src/core/ids.ts';
import { RaftLog } from '../../src/core/log.ts';
import { runsOf, type StoredEntry } from '../../src/testing/core-member.ts';

/** The obvious implementation: one array from the base on. */
class NaiveLog {
  baseIndex = 0;
  baseTerm = 0;
  entries: StoredEntry[] = [];

  get lastIndex(): number {
    return this.baseIndex + this.entries.length;
  }

  termAt(index: number): number | undefined {
    return index === this.baseIndex ? this.baseTerm : this.at(index)?.term;
  }

  at(index: number): StoredEntry | undefined {
    return this.entries[index - this.baseIndex - 1];
  }
}

function entriesOf(runs: readonly EntryRun[]): StoredEntry[] {
  return runs.flatMap((run) => {
    return Array.from({ length: run.count }, (_, position) => ({
      term: run.term,
      bytes: run.entry((run.firstIndex + position) as LogIndex).slice(),
    }));
  });
}

const command = fc
  .tuple(
    fc.constantFrom(ENTRY_KIND.command, ENTRY_KIND.command, ENTRY_KIND.configuration),
    fc.uint8Array({ maxLength: 6 }),
  )
  .map(([kind, body]) => Uint8Array.from([kind, ...body]));
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('append' as const),
      newTerms: fc.nat(2),
      entries: fc.array(command, { minLength: 1, maxLength: 5 }),
    }),
  },
  fc.record({ type: fc.constant('truncate' as const), back: fc.nat(6) }),
  fc.record({ type: fc.constant('compact' as const), ahead: fc.nat(6) }),
  fc.record({ type: fc.constant('reset' as const), ahead: fc.nat(3) }),
);

describe('the log of runs', () => {
  test('equals an array of entries, whatever is appended, truncated, compacted and replaced', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.nat(40), (steps, maxBytes) => {
        const log = new RaftLog({ index: logIndex(0), term: term(0) }, []);
        const naive = new NaiveLog();
        let newest = 1;
        for (const change of steps) {
          if (change.type === 'append') {
            newest += change.newTerms;
            const added = change.entries.map((bytes) => ({ term: term(newest), bytes }));
            for (const run of runsOf(naive.lastIndex + 1, added)) log.append(run);
            naive.entries.push(...added);
          } else if (change.type === 'truncate') {
            const from = Math.max(naive.baseIndex + 1, naive.lastIndex - change.back);
            log.truncateFrom(logIndex(from));
            naive.entries.length = from - naive.baseIndex - 1;
          } else if (change.type === 'compact') {
            const index = Math.min(naive.lastIndex, naive.baseIndex + change.ahead);
            log.markWritten();
            log.markStable(log.lastIndex, log.lastTerm);
            log.compactTo(logIndex(index));
            naive.baseTerm = naive.termAt(index)!;
            naive.entries.splice(0, index - naive.baseIndex);
            naive.baseIndex = index;
          } else {
            const point = { index: logIndex(naive.lastIndex + change.ahead), term: term(newest) };
            log.reset(point);
            naive.baseIndex = point.index;
            naive.baseTerm = point.term;
            naive.entries = [];
          }
          compare(log, naive, maxBytes);
        }
      }),
    );
  });

  test('finds the first conflict where a comparison entry by entry finds it', () => {
    const terms = fc
      .array(fc.integer({ min: 1, max: 4 }), { maxLength: 12 })
      .map((list) => list.toSorted((left, right) => left - right));
    const stored = (list: readonly number[]): StoredEntry[] =>
      list.map((value) => ({ term: term(value), bytes: Uint8Array.of(1) }));
    fc.assert(
      fc.property(terms, terms, fc.nat(12), (own, sent, skip) => {
        const log = new RaftLog({ index: logIndex(0), term: term(0) }, runsOf(1, stored(own)));
        const from = Math.min(skip, own.length, sent.length);
        const expected = sent.findIndex((value, position) => position >= from && own[position] !== value);
        expect(log.findConflict(runsOf(from + 1, stored(sent.slice(from))))).toBe(
          expected === -1 ? undefined : expected + 1,
        );
      }),
    );
  });
});

function compare(log: RaftLog, naive: NaiveLog, maxBytes: number): void {
  expect(log.baseIndex).toBe(naive.baseIndex);
  expect(log.lastIndex).toBe(naive.lastIndex);
  for (let index = naive.baseIndex - 1; index <= naive.lastIndex + 1; index += 1) {
    expect(log.termAt(index as LogIndex)).toBe(naive.termAt(index));
  }
  const first = logIndex(naive.baseIndex + 1);
  expect(entriesOf(log.runsBetween(first, log.lastIndex))).toEqual(naive.entries);
  expect(log.bytesBetween(first, log.lastIndex)).toBe(naive.entries.reduce((sum, { bytes }) => sum + bytes.length, 0));
  if (naive.entries.length > 0) {
    let left = maxBytes;
    const fitting = naive.entries.findIndex(({ bytes }) => (left -= bytes.length) < 0);
    const count = fitting === -1 ? naive.entries.length : Math.max(1, fitting);
    expect(entriesOf(log.runsUpToBytes(first, maxBytes))).toEqual(naive.entries.slice(0, count));
  }
  const configurations = naive.entries.flatMap(({ bytes }, position) =>
    bytes[0] === ENTRY_KIND.configuration ? [first + position] : [],
  );
  expect(log.lastConfigurationIndex(log.baseIndex, log.lastIndex)).toBe(configurations.at(-1));
  expect(log.supersededConfigurationIndex).toBe(configurations.at(-2) ?? naive.baseIndex);
  for (const bound of [0, 1, 2, naive.baseTerm, 9] as Term[]) {
    let index = naive.lastIndex;
    while (index > naive.baseIndex && naive.termAt(index)! > bound) index -= 1;
    const point = log.lastPointWithin(log.lastIndex, bound);
    if (naive.termAt(index)! <= bound) expect(point).toEqual({ index, term: naive.termAt(index) });
    else expect(point.index).toBeLessThanOrEqual(naive.baseIndex);
  }
}
