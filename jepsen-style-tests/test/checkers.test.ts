import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { checkHistory } from '../src/checker/check-history.ts';
import { checkLinearizability } from '../src/checker/linearizability.ts';
import type { HistoryLine } from '../src/history/history-line.ts';
import { readHistory } from '../src/history/history-reader.ts';
import { Random } from '../src/random.ts';

const folder = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const filesOf = (name: string): string[] => readdirSync(folder(name)).filter((file) => file.endsWith('.jsonl'));

describe('known-bad histories are rejected, each by the check its file is named after', () => {
  for (const file of filesOf('known-bad')) {
    test(`file ${file}`, async () => {
      const expected = (file.split('--')[0] as string).replaceAll('-', ' ');
      const verdicts = checkHistory(await readHistory(`${folder('known-bad')}/${file}`));
      const verdict = verdicts.find(({ check }) => check.replaceAll(',', '') === expected);
      expect(verdict).toBeDefined();
      expect(verdict?.outcome).toBe('fail');
      expect(verdict?.failures[0]?.story.length).toBeGreaterThan(0);
    });
  }
});

describe('known-good histories pass every check', () => {
  for (const file of filesOf('known-good')) {
    test(`file ${file}`, async () => {
      const verdicts = checkHistory(await readHistory(`${folder('known-good')}/${file}`));
      expect(verdicts.filter(({ outcome }) => outcome !== 'pass' && outcome !== 'nothing')).toEqual([]);
    });
  }
});

test('a failing verdict tells the smallest window in words', async () => {
  const [verdict] = checkHistory(
    await readHistory(`${folder('known-bad')}/linearizability--two-holders-among-many.jsonl`),
  );
  expect(verdict?.summary).toContain('had k at the same time');
  expect(verdict?.failures[0]?.story).toEqual([
    'c0/30 got k with token 30, between 29.000000 s and 29.200000 s',
    'c9/1 got k with token 30, between 29.300000 s and 29.350000 s',
    'c0/30 was released from k by c0, between 29.500000 s and 29.600000 s',
    'c9/1 was released from k by c9, between 29.700000 s and 29.800000 s',
    'the service may end the grant of c0/30 on k by itself from 44.000000 s on',
    'the service may end the grant of c9/1 on k by itself from 44.000000 s on',
  ]);
});

test('the window has who clashed, and not who was answered later because somebody had left', () => {
  const line = (owner: string, call: number, returned: number, more: Partial<HistoryLine>): HistoryLine => ({
    client: owner.slice(0, 2),
    op: 'acquire',
    key: 'k',
    owner,
    token: call,
    call,
    return: returned,
    result: 'ok',
    holder: null,
    ...more,
  });
  const [verdict] = checkHistory([
    line('c3/1', 10, 11, {}),
    line('c1/1', 12, 20, {}),
    line('c7/1', 19, 30, {}),
    line('c1/1', 22, 25, { op: 'release', token: null }),
    line('c7/1', 32, 33, { op: 'release', token: null }),
    line('c3/1', 40, 41, { op: 'release', token: null }),
  ]);
  expect(verdict?.summary).toContain('c3/1 (token 10) and c1/1 (token 12) had k at the same time');
});

/** A lock used by `clients` processes, with looks, refusals, lost answers and expiries: always a valid history. */
function longHistory(operations: number, keys: number, clients: number, seed: number): HistoryLine[] {
  const random = new Random(seed);
  const lines: HistoryLine[] = [];
  const state = Array.from({ length: keys }, () => ({ holder: undefined as string | undefined, sinceNs: 0 }));
  const freeNs = Array.from({ length: clients }, () => 0);
  let now = 1_000_000;
  let token = 0;
  let handle = 0;
  while (lines.length < operations) {
    now += random.between(1000, 100_000);
    const at = random.between(0, keys - 1);
    const lock = state[at] as (typeof state)[number];
    const key = `k${at}`;
    const client = random.between(0, clients - 1);
    const call = Math.max(freeNs[client] as number, now - random.between(0, 3_000_000));
    if (call > now) continue;
    const returned = now + random.between(0, 3_000_000);
    freeNs[client] = returned;
    const line = (fields: Partial<HistoryLine>): HistoryLine => ({
      client: `c${client}`,
      op: 'read',
      key,
      owner: null,
      token: null,
      call,
      return: returned,
      result: 'ok',
      holder: null,
      ...fields,
    });
    const owner = `c${client}/${++handle}`;
    const dice = random.next();
    if (dice < 0.1) lines.push(line({ holder: lock.holder ?? null }));
    else if (lock.holder === undefined) {
      const isLost = random.chance(0.02);
      lines.push(
        line({
          op: 'acquire',
          owner,
          token: isLost ? null : ++token,
          ...(isLost ? { return: null, result: 'unknown' } : {}),
        }),
      );
      lines.push(line({ op: 'expire', owner, call: isLost ? call : now + 5_000_000, return: null, result: 'unknown' }));
      Object.assign(lock, { holder: owner, sinceNs: now });
    } else if (dice < 0.3) lines.push(line({ op: 'acquire', owner, result: 'fail', holder: lock.holder }));
    else if (dice > 0.98 && now > lock.sinceNs + 5_000_000) lock.holder = undefined;
    else if (dice > 0.6) {
      // By anybody: what is judged is the lock, not who may release it. Its call must follow the grant.
      lines.push(
        line({
          op: 'release',
          owner: lock.holder,
          ...(random.chance(0.02) ? { return: null, result: 'unknown' } : {}),
        }),
      );
      lock.holder = undefined;
    }
  }
  return lines;
}

describe('100,000 operations', () => {
  for (const [keys, clients] of [
    [1, 12],
    [8, 24],
    [500, 40],
  ] as const) {
    test(`on ${keys} names by ${clients} clients are decided within 20 s`, () => {
      const lines = longHistory(100_000, keys, clients, 7);
      const start = performance.now();
      const verdict = checkLinearizability(lines);
      const elapsedMs = performance.now() - start;
      expect(verdict.outcome).toBe('pass');
      expect(elapsedMs).toBeLessThan(20_000);
    }, 60_000);
  }

  test('with one lie in the middle are rejected, and the window is small', () => {
    const lines = longHistory(100_000, 4, 16, 8);
    const grants = lines.filter((line) => line.op === 'acquire' && line.result === 'ok');
    const honest = grants[grants.length >> 1] as HistoryLine;
    const lie: HistoryLine = {
      ...honest,
      client: 'liar',
      owner: 'liar/1',
      call: (honest.return as number) + 10,
      return: (honest.return as number) + 20,
    };
    const expire = {
      ...lie,
      op: 'expire',
      token: null,
      call: lie.call + 1e12,
      return: null,
      result: 'unknown',
    } as const;
    const verdict = checkLinearizability([...lines, lie, expire]);
    expect(verdict.outcome).toBe('fail');
    expect(verdict.failures[0]?.window.length).toBeLessThan(12);
  }, 60_000);

  test('beyond the budget the verdict is "undecided", not a guess', () => {
    const verdict = checkLinearizability(longHistory(2000, 1, 12, 9), { maxSteps: 100 });
    expect(verdict.outcome).toBe('undecided');
    expect(verdict.summary).toContain('100 steps');
  });
});
