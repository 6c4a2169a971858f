import { type HistoryLine, modeOf } from '../history/history-line.ts';
import { partitionByKey } from './linearizability.ts';
import { grantsOf } from './tokens.ts';
import { type Failure, type Verdict, verdictOf } from './verdict.ts';
import { failure } from './words.ts';

/**
 * A holder knows that its lock is lost before the service by itself gives it to somebody else. Judged from the holder's
 * side, independent of tokens: once another has been granted the lock (its answer has arrived), no look of the earlier
 * holder says `held`, not even right after it was frozen; and one whose process ran freely has been told by then.
 */
export function checkToldBeforeLost(lines: readonly HistoryLine[]): Verdict {
  const originNs = lines.reduce((first, line) => Math.min(first, line.call), Infinity);
  const failures: Failure[] = [];
  let judged = 0;
  for (const [key, ofKey] of partitionByKey(lines)) {
    const expires = new Map<string, HistoryLine>();
    const releases = new Map<string, HistoryLine>();
    const stolen = new Set<string>();
    for (const line of ofKey) {
      if (line.owner === null) continue;
      if (line.op === 'expire') expires.set(line.owner, line);
      if (line.thief !== undefined) stolen.add(line.owner);
      // A loss ends the session in the background (`unknown`): only the owner's own, answered release is a goodbye.
      if (line.op === 'release' && (line.result === 'ok' || expires.get(line.owner)?.told === undefined))
        releases.set(line.owner, line);
    }
    const grants = grantsOf(ofKey)
      .filter((grant) => modeOf(grant) !== 'permit')
      .sort((a, b) => a.token - b.token);
    const newestToken = new Map(grants.map(({ owner, token }) => [owner, token]));
    for (let i = 0; i + 1 < grants.length; i++) {
      const grant = grants[i] as (typeof grants)[number];
      const expire = expires.get(grant.owner);
      let at = i + 1;
      while (at < grants.length && grants[at]?.token === grant.token) at++;
      const next = grants[at];
      if (next === undefined || next.owner === grant.owner || expire === undefined) continue;
      // It left this phase by an upgrade, and went on under another token.
      if ((newestToken.get(grant.owner) ?? 0) > grant.token) continue;
      // Taken away by somebody's wish (a steal, an administrator): outside this promise.
      if (stolen.has(grant.owner) || (releases.get(grant.owner)?.client ?? grant.client) !== grant.client) continue;
      judged++;
      const window = [
        grant,
        next,
        expire,
        ...(releases.has(grant.owner) ? [releases.get(grant.owner) as HistoryLine] : []),
      ];
      if (expire.lastHeld !== undefined && expire.lastHeld > next.return) {
        failures.push(
          failure(
            key,
            `${grant.owner} still saw ${key} as held ${((expire.lastHeld - next.return) / 1e6).toFixed(1)} ms after ${next.owner} had been granted it`,
            window,
            originNs,
          ),
        );
        continue;
      }
      const releaseNs = releases.get(grant.owner)?.call ?? Infinity;
      if (expire.stalled === true || releaseNs <= next.return) continue;
      const toldNs = expire.told;
      if (toldNs !== undefined && toldNs > next.return) {
        failures.push(
          failure(
            key,
            `${grant.owner} was told of its loss of ${key} ${((toldNs - next.return) / 1e6).toFixed(1)} ms after ${next.owner} had been granted it`,
            window,
            originNs,
          ),
        );
      }
    }
  }
  return verdictOf('told before lost', judged, 'changes of holder', failures);
}
