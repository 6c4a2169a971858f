import type { HistoryLine } from '../history/history-line.ts';
import { type Excuse, isExcused } from './excuses.ts';
import { partitionByKey } from './linearizability.ts';
import { grantsOf } from './tokens.ts';
import { type Failure, type Verdict, verdictOf } from './verdict.ts';
import { failure } from './words.ts';

/**
 * Whoever a lock is stolen from hears of it: while nothing is broken, no look says `held` later than `withinNs` after the
 * thief was answered.
 */
export function checkStolenTold(
  lines: readonly HistoryLine[],
  options: { readonly excuses: readonly Excuse[]; readonly withinNs: number },
): Verdict {
  const originNs = lines.reduce((first, line) => Math.min(first, line.call), Infinity);
  const failures: Failure[] = [];
  let judged = 0;
  for (const [key, ofKey] of partitionByKey(lines)) {
    const expires = new Map(ofKey.flatMap((line) => (line.op === 'expire' ? [[line.owner, line] as const] : [])));
    const grants = grantsOf(ofKey).sort((a, b) => a.token - b.token);
    for (const [at, thief] of grants.entries()) {
      const victim = grants[at - 1];
      const expire = victim === undefined ? undefined : expires.get(victim.owner);
      if (thief.steal !== true || victim === undefined || expire?.told === undefined) continue;
      if (isExcused(options.excuses, thief.call, expire.told, victim.client) || expire.stalled === true) continue;
      judged++;
      const lateNs = (expire.lastHeld ?? 0) - thief.return - options.withinNs;
      if (lateNs <= 0) continue;
      failures.push(
        failure(
          key,
          `${thief.owner} stole ${key}, and ${victim.owner} still saw it as held ${((lateNs + options.withinNs) / 1e6).toFixed(0)} ms later`,
          [victim, thief, expire],
          originNs,
        ),
      );
    }
  }
  return verdictOf('stolen and told', judged, 'thefts', failures);
}
