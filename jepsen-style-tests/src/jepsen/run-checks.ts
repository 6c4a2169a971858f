import { checkHistory } from '../checker/check-history.ts';
import { checkExpiryBound, type ExpiryBoundOptions } from '../checker/expiry-bound.ts';
import { checkStolenTold } from '../checker/stolen-told.ts';
import type { Failure, Verdict } from '../checker/verdict.ts';
import { groupBy } from '../group-by.ts';
import type { ClientViolation, Collector, OnceRun } from './collector.ts';

export interface RunFacts {
  readonly collector: Collector;
  readonly expiry: ExpiryBoundOptions;
  /** See `CheckOptions`. */
  readonly settleNs?: number;
  /** The sets as the store has them at the end. */
  readonly stored: ReadonlyMap<string, readonly string[]>;
  /** How often a holder was frozen between reading and writing the unfenced set while somebody else wrote. */
  readonly frozenUnfencedHolders: number;
  /** Names still held or waited for after everybody had left and every session must have ended. */
  readonly leftovers: readonly string[] | undefined;
  /** Clients that got no answer in the calm at the end. */
  readonly silentClients: readonly string[];
  /** What went wrong with nodes: unexpected exits, no recovery. */
  readonly troubles: readonly string[];
}

/** A push, a busy machine, and a reconnection that was under way. */
const STOLEN_TOLD_WITHIN_NS = 3e9;

/** Everything a run is judged by, in the order it is worth reading. */
export function judgeRun(facts: RunFacts): readonly Verdict[] {
  const { collector, settleNs } = facts;
  const verdicts = [
    ...checkHistory(collector.lines, settleNs === undefined ? {} : { settleNs }),
    checkExpiryBound(collector.lines, facts.expiry),
    checkStolenTold(collector.lines, { excuses: facts.expiry.excuses, withinNs: STOLEN_TOLD_WITHIN_NS }),
  ];
  verdicts.push(...setVerdicts(facts));
  if (collector.onceRuns.length > 0) verdicts.push(onceVerdict(collector.onceRuns));
  verdicts.push(ownVerdict(collector.violations, collector.operationCount));
  verdicts.push(leftoversVerdict(facts.leftovers));
  verdicts.push(plain('recovery', facts.troubles, 'every node came back, and every fault healed'));
  verdicts.push(
    plain(
      'progress',
      facts.silentClients.map((client) => `${client} got no answer in the calm at the end`),
      'in the calm at the end every client was served',
    ),
  );
  return verdicts;
}

type SetFacts = Pick<RunFacts, 'collector' | 'stored' | 'frozenUnfencedHolders'>;

/** About the protected sets that were written. */
export function setVerdicts(facts: SetFacts): readonly Verdict[] {
  const isUsed = (set: string): boolean => facts.collector.added.has(set) || facts.stored.has(set);
  return [...(isUsed('fenced') ? [fencedVerdict(facts)] : []), ...(isUsed('unfenced') ? [unfencedVerdict(facts)] : [])];
}

function plain(check: string, wrongs: readonly string[], fine: string): Verdict {
  if (wrongs.length === 0) return { check, outcome: 'pass', summary: fine, judged: 1, failures: [] };
  const failures = wrongs.map((what): Failure => ({ key: '', what, story: [], window: [] }));
  return { check, outcome: 'fail', summary: wrongs[0] as string, judged: wrongs.length, failures };
}

function lost(facts: SetFacts, set: string): readonly string[] {
  const stored = new Set(facts.stored.get(set) ?? []);
  return (facts.collector.added.get(set) ?? []).filter((element) => !stored.has(element));
}

function fencedVerdict(facts: SetFacts): Verdict {
  const check = 'fenced set';
  const missing = lost(facts, 'fenced');
  const added = facts.collector.added.get('fenced')?.length ?? 0;
  const rejected = facts.collector.rejected.get('fenced') ?? 0;
  if (missing.length > 0) {
    return plain(
      check,
      [
        `${missing.length} of ${added} elements are gone although the store checks tokens: ${missing.slice(0, 5).join(', ')}`,
      ],
      '',
    );
  }
  if (added === 0) return { check, outcome: 'nothing', summary: 'nothing was written', judged: 0, failures: [] };
  return {
    check,
    outcome: 'pass',
    summary: `${added} elements written and all there; ${rejected} late writers refused`,
    judged: added,
    failures: [],
  };
}

/** The harness's own test: a lock alone cannot protect against a holder that is frozen between reading and writing. */
function unfencedVerdict(facts: SetFacts): Verdict {
  const check = 'unfenced set shows the anomaly';
  const missing = lost(facts, 'unfenced');
  const added = facts.collector.added.get('unfenced')?.length ?? 0;
  if (missing.length > 0) {
    return {
      check,
      outcome: 'pass',
      summary: `${missing.length} of ${added} elements were overwritten by a holder that had been frozen, as they must be without a fence`,
      judged: added,
      failures: [],
    };
  }
  if (facts.frozenUnfencedHolders === 0) {
    return {
      check,
      outcome: 'nothing',
      summary: 'no holder of the unfenced set was frozen at work',
      judged: 0,
      failures: [],
    };
  }
  return plain(
    check,
    [
      `${facts.frozenUnfencedHolders} holders were frozen at work and nothing was lost: the harness is too weak to see what it is for`,
    ],
    '',
  );
}

function onceVerdict(runs: readonly OnceRun[]): Verdict {
  const check = 'once';
  const wrongs: string[] = [];
  const byKey = groupBy(runs, ({ key }) => key);
  for (const [key, ofKey] of byKey) {
    for (const done of ofKey) {
      if (done.completed === null) continue;
      const again = ofKey.find((run) => run !== done && run.start > (done.completed as number));
      if (again !== undefined)
        wrongs.push(
          `${key} was run by ${again.client} ${((again.start - done.completed) / 1e6).toFixed(1)} ms after ${done.client} had completed it`,
        );
    }
    const completions = ofKey.filter(({ completed }) => completed !== null);
    if (completions.length > 1)
      wrongs.push(`${key} was completed by ${completions.map(({ client }) => client).join(' and ')}`);
  }
  return plain(check, wrongs, `${byKey.size} jobs, each completed at most once (${runs.length} runs)`);
}

function ownVerdict(violations: readonly ClientViolation[], operations: number): Verdict {
  const texts = violations.map(({ check, what }) => `${check}: ${what}`);
  return plain(
    'what clients saw themselves',
    texts,
    `slots, re-entry and the SDK's own behaviour over ${operations.toLocaleString('en-US')} answers`,
  );
}

function leftoversVerdict(leftovers: readonly string[] | undefined): Verdict {
  const check = 'nothing is left behind';
  if (leftovers === undefined) return plain(check, ['the names in use could not be read at the end'], '');
  return plain(
    check,
    leftovers.map((text) => `after everybody had left: ${text}`),
    'no name was held or waited for after the last session had ended',
  );
}
