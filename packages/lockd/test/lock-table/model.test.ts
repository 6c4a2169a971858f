import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { type Command, OP } from '../../src/lock-table/command.ts';
import { TABLE_LIMITS, type TableLimits } from '../../src/lock-table/limits.ts';
import { LockTable } from '../../src/lock-table/lock-table.ts';
import { LeaderBooks } from './leader-books.ts';
import { Model } from './model.ts';
import type { Call } from './recording-sink.ts';
import { type Step, script } from './scripts.ts';

// Thousands of executions, on machines that are busy with other things.
vi.setConfig({ testTimeout: 120_000 });

/** What the sender of the last command was told at once, in the model's words. */
function answerOf(calls: readonly Call[], session: number, seq: number): string | undefined {
  let answer: string | undefined;
  for (const [name, ...args] of calls) {
    const isMine = args[0] === session && args[1] === seq;
    switch (name) {
      case 'answered':
        if (isMine) answer = `ok:${JSON.stringify(args[2])}`;
        break;
      case 'refused':
        if (isMine) answer = String(args[2]);
        break;
      case 'granted':
        if (isMine) answer = `granted:${String(args[2])}:${(args[3] as { slot?: number } | null)?.slot ?? 0}`;
        break;
      case 'waiting':
        if (isMine) answer = 'waiting';
        break;
      case 'ended':
        if (isMine) answer = `ended:${String(args[2])}`;
        break;
      default:
    }
  }
  return answer;
}

function isAnswered(command: Command): boolean {
  return command[0] <= OP.open;
}

function toldSender(command: Command, calls: readonly Call[]): string | undefined {
  if (!isAnswered(command)) return undefined;
  if (command[0] === OP.open) {
    const opened = calls.find(([name]) => name === 'sessionOpened');
    const refused = calls.find(([name]) => name === 'openRefused');
    return opened === undefined ? (refused?.[2] as string) : `opened:${String(opened[1])}`;
  }
  const [, session, , seq] = command as readonly [number, number, number, number];
  return answerOf(calls, session, seq);
}

/** `withTokens` false: where an entry's work was spread over several, tokens are those of the later ones. */
function compare(table: LockTable, model: Model, withTokens: boolean): void {
  for (const name of ['a', 'b', 'c', 'd']) {
    const info = table.inspect(name);
    const holders = (info?.holders ?? [])
      .map((h) => `${h.session}/${h.handle} ${h.mode} ${withTokens ? h.token : ''}`)
      .sort();
    const modes = ['exclusive', 'shared', 'permit'];
    const expected = model
      .holdersOf(name)
      .map((r) => `${r.session}/${r.handle} ${modes[r.mode]} ${withTokens ? r.token : ''}`)
      .sort();
    expect(holders, `holders of ${name}`).toEqual(expected);
    const waiters = (info?.waiters ?? []).map((w) => `${w.session}/${w.handle}`);
    expect(waiters, `waiters of ${name}`).toEqual(model.waitersOf(name).map((r) => `${r.session}/${r.handle}`));
    expect(info?.limit ?? undefined, `limit of ${name}`).toBe(model.limits.get(name));
  }
  expect(table.counters().sessions).toBe(model.sessions.length);
}

function run(steps: readonly Step[], limits: TableLimits = TABLE_LIMITS): void {
  const isWhole = limits === TABLE_LIMITS;
  const leader = new LeaderBooks(new LockTable(limits));
  const model = new Model();
  const writer = leader.writer();
  const highest = new Map<string, number>();
  for (const step of steps) {
    const before = leader.reserves;
    const command = writer.next(step);
    if (command === undefined) continue;
    const { index, term } = writer;
    leader.table.apply(command, index, term, leader.sink);
    const calls = leader.sink.take();
    if (command[0] === OP.endReserve) {
      const named = before.find(({ generation }) => generation === command[1]);
      const why = command[1] % 4 === 0 ? 'minHold' : 'delay';
      // The table's numbers of grants are its own; name, handle and age say which reservation is meant.
      const sameKind = before.filter(
        ({ key, handle, generation }) =>
          key === named?.key && handle === named.handle && generation % 4 === command[1] % 4,
      );
      const place = named === undefined ? -1 : sameKind.indexOf(named);
      const meant = model.reservations.filter(
        (r) => r.name === named?.key && r.of.handle === named?.handle && r.why === why,
      )[place];
      if (meant !== undefined && command[2] === term) model.endReservation(meant, index, term);
      else model.apply([OP.continueWork], index, term);
    } else {
      model.apply(command, index, term);
    }
    leader.note(calls);
    while (leader.table.hasWorkLeft) {
      leader.table.apply([OP.continueWork], ++writer.index, term, leader.sink);
      leader.note(leader.sink.take());
    }
    compare(leader.table, model, isWhole);
    if (!isWhole) continue;
    expect(toldSender(command, calls), 'answer').toBe(isAnswered(command) ? model.answer : undefined);
    checkTokens(calls, leader.table, highest, index);
  }
}

/** Promise 2: on a name, a later grant has a larger token, but for shared grants that overlap. For permits, on a slot. */
function checkTokens(calls: readonly Call[], table: LockTable, highest: Map<string, number>, index: number): void {
  for (const [name, ...args] of calls) {
    if (name !== 'granted') continue;
    const [session, handle, token, detail] = args as [
      number,
      number,
      number,
      { slot?: number; shares?: number } | null,
    ];
    expect(token).toBeLessThanOrEqual(index);
    if (detail?.shares !== undefined) continue;
    for (const lock of ['a', 'b', 'c', 'd']) {
      const info = table.inspect(lock);
      const mine = info?.holders.find((h) => h.session === session && h.handle === handle);
      if (mine === undefined) continue;
      const key = `${lock}#${detail?.slot ?? 0}`;
      const before = highest.get(key) ?? 0;
      if (token < before) throw new Error(`token ${token} on ${key} after ${before}`);
      highest.set(key, token);
    }
  }
}

describe('the table against a naive model', () => {
  test('any script gives the same answers, holders, waiters and tokens', () => {
    fc.assert(
      fc.property(script(60), (steps) => run(steps)),
      { numRuns: 400 },
    );
  });

  test('work that is spread over many entries comes to the same', () => {
    fc.assert(
      fc.property(script(80), (steps) => run(steps, { ...TABLE_LIMITS, maxWorkPerEntry: 1 })),
      { numRuns: 200 },
    );
  });

  test('long scripts too', () => {
    fc.assert(
      fc.property(script(600), (steps) => run(steps)),
      { numRuns: 15 },
    );
  });
});
