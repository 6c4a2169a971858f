import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { type Command, encodeCommand, MODE, OP, type Options } from '../../src/lock-table/command.ts';
import { TABLE_LIMITS, type TableLimits } from '../../src/lock-table/limits.ts';
import { LockTable } from '../../src/lock-table/lock-table.ts';
import { SILENT_SINK } from '../../src/lock-table/state.ts';
import { LeaderBooks } from './leader-books.ts';
import { type Step, script } from './scripts.ts';

// Thousands of executions, on machines that are busy with other things.
vi.setConfig({ testTimeout: 120_000 });

/** Small, so that scripts reach them: work is left behind all the time, and nonces are forgotten. */
const SMALL: TableLimits = {
  ...TABLE_LIMITS,
  maxWorkPerEntry: 2,
  maxEndedNonces: 2,
  maxSessions: 6,
  maxWaitersPerName: 4,
  maxNames: 3,
};

interface Entry {
  readonly command: Command;
  readonly term: number;
}

/** The log that a script makes, with the continuations that its leader would propose a little later. */
function logOf(steps: readonly Step[], limits: TableLimits): Entry[] {
  const books = new LeaderBooks(new LockTable(limits));
  const writer = books.writer();
  const log: Entry[] = [];
  const add = (command: Command): void => {
    log.push({ command, term: writer.term });
    books.table.applyEntry(encodeCommand(command), writer.index, writer.term, books.sink);
    books.note(books.sink.take());
  };
  steps.forEach((step, place) => {
    const command = writer.next(step);
    if (command !== undefined) add(command);
    if (books.table.hasWorkLeft && place % 3 === 0) {
      writer.index++;
      add([OP.continueWork]);
    }
  });
  return log;
}

function applyTo(table: LockTable, log: readonly Entry[], from: number, to: number): void {
  for (let index = from; index <= to; index++) {
    const entry = log[index - 1]!;
    table.applyEntry(encodeCommand(entry.command), index, entry.term, SILENT_SINK);
  }
}

/** Reads a snapshot begun after `at` entries while further entries are applied, `pace` entries between two slices. */
function snapshotDuring(
  table: LockTable,
  log: readonly Entry[],
  at: number,
  pace: number,
  slice: number,
): Uint8Array[] {
  applyTo(table, log, 1, at);
  const reader = table.beginSnapshot(slice);
  const chunks: Uint8Array[] = [];
  let applied = at;
  for (;;) {
    const next = Math.min(log.length, applied + pace);
    applyTo(table, log, applied + 1, next);
    applied = next;
    const chunk = reader.next();
    if (chunk === undefined) break;
    chunks.push(chunk);
  }
  applyTo(table, log, applied + 1, log.length);
  return chunks;
}

/** Cut again where nobody expects it. */
function recut(chunks: readonly Uint8Array[], size: number): Uint8Array[] {
  const whole = Buffer.concat(chunks);
  const cut: Uint8Array[] = [];
  for (let start = 0; start < whole.length; start += size) cut.push(whole.subarray(start, start + size));
  return cut;
}

function restored(chunks: readonly Uint8Array[], limits: TableLimits): LockTable {
  const table = new LockTable(limits);
  const writer = table.beginRestore();
  for (const chunk of chunks) writer.write(chunk);
  while (!writer.settle());
  writer.finish();
  return table;
}

describe('snapshots', () => {
  for (const [what, limits] of [
    ['the limits of the program', TABLE_LIMITS],
    ['limits that every script reaches', SMALL],
  ] as const) {
    test(`restoring one and replaying the rest gives what replaying everything gives, with ${what}`, () => {
      fc.assert(
        fc.property(
          script(120),
          fc.nat(1000),
          fc.nat(3),
          fc.integer({ min: 1, max: 5 }),
          fc.integer({ min: 1, max: 300 }),
          (steps, cut, pace, slice, size) => {
            const log = logOf(steps, limits);
            const at = log.length === 0 ? 0 : cut % (log.length + 1);
            const replayed = new LockTable(limits);
            applyTo(replayed, log, 1, at);
            const then = replayed.describe();
            applyTo(replayed, log, at + 1, log.length);

            const interrupted = new LockTable(limits);
            const chunks = snapshotDuring(interrupted, log, at, pace, slice);
            expect(interrupted.describe(), 'the table that was read from').toEqual(replayed.describe());

            const copy = restored(recut(chunks, size), limits);
            expect(copy.describe(), 'the state of one index').toEqual(then);
            applyTo(copy, log, at + 1, log.length);
            expect(copy.describe(), 'and the rest replayed').toEqual(replayed.describe());
            expect(copy.stateHash()).toBe(replayed.stateHash());
            const { sessions, names, held, waiting, completions } = replayed.counters();
            expect(copy.counters()).toMatchObject({ sessions, names, held, waiting, completions });

            // A snapshot of the copy says the same.
            const again = restored(snapshotDuring(copy, [], 0, 0, 100), limits);
            expect(again.describe()).toEqual(replayed.describe());
          },
        ),
        { numRuns: 150 },
      );
    });
  }

  test('a plain hold that is first re-entered while the snapshot runs is in it as a plain one', () => {
    const commands: Command[] = [
      [OP.open, 'n', 15_000, 0, 0, []],
      [OP.acquire, 1, 1, 1, 0, 'x', 0],
      [OP.acquire, 1, 1, 2, 0, 'x', 0, 0, [0, 0, 0, 0, 0, [], [1], [], 0, '']],
    ];
    const log = commands.map((command) => ({ command, term: 1 }));
    const before = new LockTable();
    applyTo(before, log, 1, 2);
    const chunks = snapshotDuring(new LockTable(), log, 2, 1, 1);
    expect(restored(chunks, TABLE_LIMITS).describe()).toEqual(before.describe());
  });

  const opened: Command[] = [
    [OP.open, 'a', 15_000, 0, 0, []],
    [OP.open, 'b', 15_000, 0, 0, []],
  ];
  const acquires = (session: number, seq: number): Command => [OP.acquire, session, 1, seq, seq - 1, `x${seq}`, 1000];

  test('a session with so many requests that they are spread meanwhile is in it as it was', () => {
    const at = 4002;
    const commands = [...opened, ...Array.from({ length: at - 2 }, (_, place) => acquires(1, place + 1))];
    // Its 4,097th request comes while the snapshot is being read; from the first on some of them also go.
    for (let seq = 4001; seq <= 6000; seq++)
      commands.push(seq % 4 === 0 ? [OP.release, 1, 1, seq, seq - 1, seq - 3000] : acquires(1, seq));
    const log = commands.map((command) => ({ command, term: 1 }));
    const before = new LockTable();
    applyTo(before, log, 1, at);
    const table = new LockTable();
    expect(restored(snapshotDuring(table, log, at, 3, 10), TABLE_LIMITS).describe()).toEqual(before.describe());
    const replayed = new LockTable();
    applyTo(replayed, log, 1, log.length);
    expect(table.describe()).toEqual(replayed.describe());
    expect(replayed.counters().held).toBe(5000);
  });

  test('what is left when all of it is written is put in its place in pieces, and without them at once', () => {
    const seqs = Array.from({ length: 1000 }, (_, place) => place + 1);
    const commands = [...opened, ...seqs.flatMap((seq) => [acquires(1, seq), acquires(2, seq)])];
    const log = commands.map((command) => ({ command, term: 1 }));
    const chunks = snapshotDuring(new LockTable(), log, log.length, 0, 300);
    const tables = [true, false].map((isInPieces) => {
      const table = new LockTable();
      const writer = table.beginRestore();
      for (const chunk of chunks) writer.write(chunk);
      let pieces = 0;
      while (isInPieces && !writer.settle()) pieces++;
      // A thousand waiters, 300 at a time.
      expect(pieces).toBe(isInPieces ? 3 : 0);
      writer.finish();
      return table.describe();
    });
    expect(tables[0]).toEqual(tables[1]);
  });

  // Work is left behind on a name, or for a session, that is gone before its turn comes.
  const SHARED: Options = [MODE.shared, 0, 0, 0, 0, [], [], [], 0, ''];
  const waitsBehind = (session: number, seqs: readonly number[]): Command[] =>
    seqs.map((seq) => [OP.acquire, session, 1, seq, 0, 'x', 1000, 0, SHARED]);
  /** Session 1 held x and gave it back, 2 waited five times; the budget of 2 left three of the waits for later. */
  const leftBehind: Command[] = [
    [OP.open, 'a', 15_000, 0, 0, []],
    [OP.open, 'b', 15_000, 0, 0, []],
    [OP.open, 'c', 15_000, 0, 0, []],
    [OP.acquire, 1, 1, 1, 0, 'x', 0],
    [OP.acquire, 1, 1, 2, 0, 'y', 0],
    ...waitsBehind(2, [1, 2, 3, 4, 5]),
    [OP.acquire, 3, 1, 1, 0, 'y', 1000],
    [OP.release, 1, 1, 3, 0, 1],
  ];
  const cancels: Command[] = [3, 4, 5].map((handle): Command => [OP.cancel, 2, 1, handle + 3, 0, handle]);
  const releases: Command[] = [1, 2].map((handle): Command => [OP.release, 2, 1, handle + 8, 0, handle]);
  test.each([
    ['a name whose last waiter left before its turn', [...releases, ...cancels]],
    ['a name whose last holder left before its waiters had their turn', [...cancels, ...releases]],
    [
      'a session that ended before its waiters were looked at',
      [
        [OP.detach, 3, 1],
        [OP.endWait, 3, 1, 1],
        [OP.endSession, 3, 1, 3],
      ],
    ],
  ] as [string, Command[]][])('work that was left for %s is the same in a copy', (_what, then) => {
    const limits = { ...TABLE_LIMITS, maxWorkPerEntry: 2 };
    const ending: Command[] = [[OP.close, 1, 1, 4, 0], [OP.continueWork], [OP.continueWork]];
    const log = [...leftBehind, ...then, ...ending].map((command) => ({ command, term: 1 }));
    const replayed = new LockTable(limits);
    applyTo(replayed, log, 1, log.length);
    for (let at = 0; at <= log.length; at++) {
      const copy = restored(snapshotDuring(new LockTable(limits), log.slice(0, at), at, 0, 100), limits);
      applyTo(copy, log, at + 1, log.length);
      expect(copy.describe(), `from ${at}`).toEqual(replayed.describe());
    }
  });

  const some = logOf(
    Array.from(
      { length: 40 },
      (_, i): Step =>
        i % 8 === 0
          ? { do: 'open', nonce: i, flags: 0 }
          : { do: 'acquire', by: 0, name: i % 4, waits: true, lease: i % 3 === 0, options: null },
    ),
    TABLE_LIMITS,
  );
  const chunks = snapshotDuring(new LockTable(), some, some.length, 0, 5);

  test('a snapshot with any byte changed is refused', () => {
    const whole = Buffer.concat(chunks);
    for (let position = 0; position < whole.length; position++) {
      const damaged = Buffer.from(whole);
      damaged[position]! ^= 0x10;
      expect(() => restored([damaged], TABLE_LIMITS), `byte ${position}`).toThrow(/./);
    }
  });

  test('a snapshot that ends early is refused, wherever it is cut', () => {
    const whole = Buffer.concat(chunks);
    for (let length = 0; length < whole.length; length++) {
      expect(() => restored([whole.subarray(0, length)], TABLE_LIMITS), `${length} bytes`).toThrow(/./);
    }
    for (let skipped = 0; skipped < chunks.length; skipped++) {
      expect(() =>
        restored(
          chunks.filter((_, place) => place !== skipped),
          TABLE_LIMITS,
        ),
      ).toThrow(/./);
    }
  });

  test('a refused restore leaves the table as it was', () => {
    const table = restored(chunks, TABLE_LIMITS);
    const before = table.stateHash();
    const writer = table.beginRestore();
    writer.write(chunks[0]!);
    expect(() => writer.finish()).toThrow('incomplete');
    expect(table.stateHash()).toBe(before);
  });

  test('cancelling a snapshot makes room for the next', () => {
    const table = restored(chunks, TABLE_LIMITS);
    const reader = table.beginSnapshot();
    reader.next();
    expect(() => table.beginSnapshot()).toThrow('already');
    reader.cancel();
    expect(reader.next()).toBeUndefined();
    expect(restored(snapshotDuring(table, [], 0, 0, 7), TABLE_LIMITS).stateHash()).toBe(table.stateHash());
  });
});
