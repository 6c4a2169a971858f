import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { checkExpiryBound } from '../src/checker/expiry-bound.ts';
import { checkStolenTold } from '../src/checker/stolen-told.ts';
import { emptyDirectory } from '../src/cluster/run-directory.ts';
import type { HistoryLine } from '../src/history/history-line.ts';
import { thefts } from '../src/history/thefts.ts';
import { Collector } from '../src/jepsen/collector.ts';
import { parseCommand, UsageError } from '../src/jepsen/options.ts';
import { judgeRun, type RunFacts } from '../src/jepsen/run-checks.ts';
import { isEnough } from '../src/jepsen/thresholds.ts';
import type { FaultRecord } from '../src/nemesis/fault.ts';
import { ALL_FAULTS, chooseFaults, scheduleOf } from '../src/nemesis/nemesis.ts';

const s = 1e9;

test('a run refuses a directory that holds anything, and says what', () => {
  const directory = mkdtempSync(join(tmpdir(), 'lockd-run-'));
  try {
    expect(emptyDirectory(directory)).toBe(directory);
    expect(emptyDirectory(join(directory, 'nodes'))).toBe(join(directory, 'nodes'));
    expect(() => emptyDirectory(directory)).toThrow(/holds nodes, perhaps of an earlier run/);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

describe('the schedule of faults', () => {
  const take = (seed: number, count: number): string[] => {
    const kinds: string[] = [];
    for (const { fault, random } of scheduleOf(chooseFaults(['kill', 'pause']), seed, 'server')) {
      kinds.push(`${fault.kind} ${random.between(0, 1000)}`);
      if (kinds.length === count) return kinds;
    }
    return kinds;
  };

  test('is the same for the same seed, and another for another', () => {
    expect(take(7, 40)).toEqual(take(7, 40));
    expect(take(7, 40)).not.toEqual(take(8, 40));
  });

  test('has each fault once a round', () => {
    const faults = chooseFaults(['all']).filter(({ track }) => track === 'server');
    const kinds: string[] = [];
    for (const { fault } of scheduleOf(faults, 1, 'server')) {
      kinds.push(fault.kind);
      if (kinds.length === faults.length * 3) break;
    }
    for (let round = 0; round < 3; round++) {
      expect(new Set(kinds.slice(round * faults.length, (round + 1) * faults.length)).size).toBe(faults.length);
    }
  });

  test('has a fault that did not work once more in its round, and no third time', () => {
    const faults = chooseFaults(['kill-leader', 'bridge']);
    const schedule = scheduleOf(faults, 1, 'server');
    const kinds: string[] = [];
    for (let step = schedule.next(); step.done !== true && kinds.length < 6; step = schedule.next(false)) {
      kinds.push(step.value.fault.kind);
    }
    expect(kinds.map((kind, at) => kind === kinds[at - 1])).toEqual([
      false,
      true,
      false,
      true,
      expect.anything(),
      true,
    ]);
  });

  test('knows faults by kind and by group, and says so when it does not', () => {
    expect(chooseFaults(['kill-leader']).map(({ kind }) => kind)).toEqual(['kill-leader']);
    expect(chooseFaults(['none'])).toEqual([]);
    expect(chooseFaults(['all'])).toHaveLength(ALL_FAULTS.length);
    expect(() => chooseFaults(['gremlins'])).toThrow(/no fault is called gremlins: choose from/);
  });
});

describe('a run is judged only if enough happened', () => {
  const faults = chooseFaults(['kill-leader', 'bridge']);
  const record = (kind: string, worked: boolean): FaultRecord => ({
    kind,
    track: 'server',
    target: 'n1',
    worked,
    evidence: '',
    startNs: 0,
    endNs: 1,
  });
  const five = (kind: string): FaultRecord[] => Array.from({ length: 5 }, () => record(kind, true));

  test('ten minutes need 20,000 operations and each fault five times', () => {
    expect(isEnough(600, 20_000, faults, [...five('kill-leader'), ...five('bridge')])).toEqual({
      isEnough: true,
      missing: [],
    });
    expect(isEnough(600, 19_999, faults, [...five('kill-leader'), ...five('bridge')]).missing).toEqual([
      '19999 operations of at least 20000',
    ]);
  });

  test('a part of the workloads needs its share of operations', () => {
    expect(isEnough(600, 2000, faults, [...five('kill-leader'), ...five('bridge')], 0.1).isEnough).toBe(true);
  });

  test('a fault that was ordered but did not work does not count', () => {
    const records = [...five('kill-leader'), ...five('bridge').slice(1), record('bridge', false)];
    expect(isEnough(600, 20_000, faults, records).missing).toEqual(['bridge worked 4 times of at least 5']);
    expect(isEnough(30, 20_000, faults, [record('bridge', false)]).missing).toEqual(['no fault worked at all']);
  });
});

describe('arguments', () => {
  test('are read', () => {
    expect(parseCommand(['--', '--seconds', '600', '--nodes', '5', '--seed', '9', '--out', 'x'], 1)).toMatchObject({
      type: 'run',
      options: { seconds: 600, nodes: 5, seed: 9, out: 'x', ttlMs: 2500 },
    });
  });

  test('that make no sense are refused in words', () => {
    expect(() => parseCommand(['--nodes', 'many'], 1)).toThrow(UsageError);
    expect(() => parseCommand(['--workload', 'mining'], 1)).toThrow(/no workload is called mining/);
    expect(() => parseCommand(['--check'], 1)).toThrow(/needs at least one history file/);
  });
});

describe('a client that was killed', () => {
  const line: HistoryLine = {
    client: 'c1',
    op: 'acquire',
    key: 'exclusive:1',
    owner: 'c1/1',
    token: null,
    call: 1,
    return: null,
    result: 'unknown',
    holder: null,
  };

  test('leaves what it asked for unknown, and what it held to end by itself', async () => {
    const { mkdtempSync } = await import('node:fs');
    const collector = new Collector(mkdtempSync('/tmp/lockd-collector-'));
    collector.take('c1', { type: 'begin', line });
    collector.take('c1', { type: 'begin', line: { ...line, owner: 'c1/2' } });
    collector.take('c1', { type: 'line', line: { ...line, token: 5, return: 3, result: 'ok' } });
    collector.take('c1', { type: 'hold', owner: 'c1/1', key: 'exclusive:1', token: 5, mayEnd: 900 });
    collector.take('c1', { type: 'releasing', owner: 'c1/1', at: 70 });
    collector.died('c1');
    expect(collector.lines.map(({ op, owner, call, result }) => `${op} ${owner} ${call} ${result}`)).toEqual([
      'acquire c1/1 1 ok',
      'acquire c1/2 1 unknown',
      'expire c1/2 1 unknown',
      'release c1/1 70 unknown',
      'expire c1/1 900 unknown',
    ]);
    await collector.close();
  });
});

describe('verdicts of a run', () => {
  const facts = (change: (collector: Collector) => void, more: Partial<RunFacts> = {}): Map<string, string> => {
    const collector = new Collector('/nowhere');
    change(collector);
    const verdicts = judgeRun({
      collector,
      expiry: { ttlNs: 2.5 * s, leadersSinceNs: [], excuses: [] },
      stored: new Map(),
      frozenUnfencedHolders: 0,
      leftovers: [],
      silentClients: [],
      troubles: [],
      ...more,
    });
    return new Map(verdicts.map(({ check, outcome }) => [check, outcome]));
  };

  test('a fenced set that loses an element fails', () => {
    const run = (stored: string[]): Map<string, string> =>
      facts((c) => c.added.set('fenced', ['a', 'b']), { stored: new Map([['fenced', stored]]) });
    expect(run(['a', 'b']).get('fenced set')).toBe('pass');
    expect(run(['a']).get('fenced set')).toBe('fail');
  });

  test('an unfenced set that loses nothing though holders were frozen fails: the harness is too weak', () => {
    const run = (stored: string[], frozen: number): string | undefined =>
      facts((c) => c.added.set('unfenced', ['a', 'b']), {
        stored: new Map([['unfenced', stored]]),
        frozenUnfencedHolders: frozen,
      }).get('unfenced set shows the anomaly');
    expect(run(['a'], 1)).toBe('pass');
    expect(run(['a', 'b'], 1)).toBe('fail');
    expect(run(['a', 'b'], 0)).toBe('nothing');
  });

  test('a job that runs again after it was completed fails', () => {
    const first = { client: 'c1', key: 'job', start: 1, end: 2, completed: 3 };
    expect(
      facts((c) => c.onceRuns.push(first, { client: 'c2', key: 'job', start: 4, end: 5, completed: null })).get('once'),
    ).toBe('fail');
    expect(
      facts((c) =>
        c.onceRuns.push({ ...first, completed: null }, { client: 'c2', key: 'job', start: 4, end: 5, completed: 6 }),
      ).get('once'),
    ).toBe('pass');
  });

  test('leftovers, silent clients and nodes in trouble fail', () => {
    expect(facts(() => {}, { leftovers: ['x is held by c1/1, 0 wait'] }).get('nothing is left behind')).toBe('fail');
    expect(facts(() => {}, { leftovers: undefined }).get('nothing is left behind')).toBe('fail');
    expect(facts(() => {}, { silentClients: ['c3'] }).get('progress')).toBe('fail');
    expect(facts(() => {}, { troubles: ['n1 ended by itself'] }).get('recovery')).toBe('fail');
  });
});

describe('what a dead holder leaves behind', () => {
  const history = (grantedAt: number): HistoryLine[] => [
    {
      client: 'c1',
      op: 'acquire',
      key: 'k',
      owner: 'c1/1',
      token: 5,
      call: 1 * s,
      return: 1.1 * s,
      result: 'ok',
      holder: null,
    },
    {
      client: 'c1',
      op: 'expire',
      key: 'k',
      owner: 'c1/1',
      token: null,
      call: 4 * s,
      return: null,
      result: 'unknown',
      holder: null,
      stalled: true,
    },
    {
      client: 'c2',
      op: 'acquire',
      key: 'k',
      owner: 'c2/1',
      token: 6,
      call: 2 * s,
      return: grantedAt,
      result: 'ok',
      holder: null,
      queued: 2.1 * s,
    },
  ];
  const options = { ttlNs: 2.5 * s, leadersSinceNs: [], excuses: [] };

  test('comes free within the TTL', () => {
    expect(checkExpiryBound(history(5 * s), options).outcome).toBe('pass');
    expect(checkExpiryBound(history(7 * s), options).outcome).toBe('fail');
  });

  test('or within its own lease, which began with the grant', () => {
    const [grant, ...rest] = history(7 * s) as [HistoryLine, ...HistoryLine[]];
    const late = { ...grant, return: 3 * s, lease: 3 * s };
    expect(checkExpiryBound([late, ...rest], options).outcome).toBe('pass');
    expect(checkExpiryBound([{ ...late, lease: 1 * s }, ...rest], options).outcome).toBe('fail');
  });

  test('or within the TTL of a later leader, and faults excuse', () => {
    expect(checkExpiryBound(history(7 * s), { ...options, leadersSinceNs: [3.5 * s] }).outcome).toBe('pass');
    expect(checkExpiryBound(history(7 * s), { ...options, excuses: [{ fromNs: 5 * s, toNs: 6 * s }] }).outcome).toBe(
      'nothing',
    );
  });
});

describe('deadlines of its own', () => {
  const line = (fields: Partial<HistoryLine>): HistoryLine => ({
    client: 'c1',
    op: 'acquire',
    key: 'k',
    owner: 'c1/1',
    token: null,
    call: 1 * s,
    return: null,
    result: 'unknown',
    holder: null,
    ...fields,
  });
  const options = { ttlNs: 2.5 * s, leadersSinceNs: [], excuses: [] };
  /** c1 is granted it at 1.1 s, c2 waits from 1.3 s on. */
  const history = (first: Partial<HistoryLine>, end: readonly HistoryLine[], grantedAtNs: number): HistoryLine[] => [
    line({ token: 5, return: 1.1 * s, result: 'ok', ...first }),
    ...end,
    line({
      client: 'c2',
      owner: 'c2/1',
      call: 1.2 * s,
      queued: 1.3 * s,
      token: 6,
      return: grantedAtNs,
      result: 'ok',
    }),
  ];
  const lost = [
    line({ op: 'release', call: 1.9 * s }),
    line({ op: 'expire', call: 2 * s, told: 1.9 * s, lastHeld: 1.9 * s }),
  ];
  const givenBack = [
    line({ op: 'release', call: 1.4 * s, return: 1.5 * s, result: 'ok' }),
    line({ op: 'expire', call: 30 * s }),
  ];

  test('maxHold ends a hold in time, counted from a later leader where there is one', () => {
    expect(checkExpiryBound(history({ maxHold: 1 * s }, lost, 4 * s), options).outcome).toBe('pass');
    expect(checkExpiryBound(history({ maxHold: 1 * s }, lost, 4.2 * s), options).outcome).toBe('fail');
    expect(
      checkExpiryBound(history({ maxHold: 1 * s }, lost, 4.2 * s), { ...options, leadersSinceNs: [1.5 * s] }).outcome,
    ).toBe('pass');
  });

  test('minHold keeps a name no longer than it says', () => {
    expect(checkExpiryBound(history({ minHold: 1 * s }, givenBack, 4 * s), options).outcome).toBe('pass');
    expect(checkExpiryBound(history({ minHold: 1 * s }, givenBack, 4.2 * s), options).outcome).toBe('fail');
    expect(checkExpiryBound(history({}, givenBack, 4.2 * s), options).outcome).toBe('nothing');
  });

  test('lockDelay comes on top of the deadline that ended the grant', () => {
    const grant = { lease: 1 * s, lockDelay: 2 * s };
    expect(checkExpiryBound(history(grant, lost, 6 * s), options).outcome).toBe('pass');
    expect(checkExpiryBound(history(grant, lost, 6.2 * s), options).outcome).toBe('fail');
  });

  test('an extension without an answer may have been carried out', () => {
    const [release, expire] = lost as [HistoryLine, HistoryLine];
    const extended = [release, { ...expire, latest: 3 * s }];
    expect(checkExpiryBound(history({ lease: 1 * s }, lost, 4.5 * s), options).outcome).toBe('fail');
    expect(checkExpiryBound(history({ lease: 1 * s }, extended, 4.5 * s), options).outcome).toBe('pass');
  });

  test('a fault that only another client suffers from excuses nothing', () => {
    const excuse = { fromNs: 2 * s, toNs: 3 * s };
    const run = (client: string): string =>
      checkExpiryBound(history({ maxHold: 1 * s }, lost, 5 * s), { ...options, excuses: [{ ...excuse, client }] })
        .outcome;
    expect(run('c3')).toBe('fail');
    expect(run('c2')).toBe('nothing');
  });

  test('who was robbed hears of it', () => {
    const robbed = (lastHeld: number): HistoryLine[] => [
      line({ token: 5, return: 1.1 * s, result: 'ok' }),
      line({ op: 'expire', call: 9 * s, told: lastHeld + 1e6, lastHeld }),
      line({ client: 'c2', owner: 'c2/1', call: 2 * s, token: 6, return: 2.1 * s, result: 'ok', steal: true }),
    ];
    const told = { excuses: [], withinNs: 3 * s };
    expect(checkStolenTold(robbed(4 * s), told).outcome).toBe('pass');
    expect(checkStolenTold(robbed(6 * s), told).outcome).toBe('fail');
    expect(
      checkStolenTold(robbed(6 * s), { ...told, excuses: [{ fromNs: 3 * s, toNs: 4 * s, client: 'c1' }] }).outcome,
    ).toBe('nothing');
  });
});

describe('a steal', () => {
  const acquire = (owner: string, token: number, call: number, more: Partial<HistoryLine> = {}): HistoryLine => ({
    client: owner.slice(0, 2),
    op: 'acquire',
    key: 'steal:1',
    owner,
    token,
    call,
    return: call + 10,
    result: 'ok',
    holder: null,
    ...more,
  });

  test('may have ended every grant that stood by then, says its history, and none that came later', () => {
    const releases = thefts([
      acquire('c1/1', 1, 0),
      { ...acquire('c1/1', 1, 20), op: 'release', token: null },
      acquire('c2/1', 2, 50),
      acquire('c3/1', 3, 100, { steal: true }),
      acquire('c4/1', 4, 105),
    ]);
    expect(releases.map(({ client, owner, call, result, thief }) => [client, owner, call, result, thief])).toEqual([
      ['c3', 'c2/1', 100, 'unknown', 'c3/1'],
    ]);
  });
});
