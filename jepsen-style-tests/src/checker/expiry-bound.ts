import { type HistoryLine, modeOf } from '../history/history-line.ts';
import { partitionByKey } from './linearizability.ts';
import { grantsOf } from './tokens.ts';
import { type Failure, type Verdict, verdictOf } from './verdict.ts';
import { failure } from './words.ts';

export interface ExpiryBoundOptions {
  readonly ttlNs: number;
  /** When each leader was first seen to lead: it re-arms every deadline at full length. */
  readonly leadersSinceNs: readonly number[];
  /** Times in which the service could not be expected to be on time. */
  readonly excuses: readonly { readonly fromNs: number; readonly toNs: number }[];
  /** One commit, one push, and a busy machine. @default 2 s */
  readonly slackNs?: number;
}

/**
 * What a dead or frozen holder leaves behind comes free: somebody who already waits is granted it within TTL after the
 * last renewal, or after the last change of leader, whichever is later.
 */
export function checkExpiryBound(lines: readonly HistoryLine[], options: ExpiryBoundOptions): Verdict {
  const slackNs = options.slackNs ?? 2e9;
  const originNs = lines.reduce((first, line) => Math.min(first, line.call), Infinity);
  const failures: Failure[] = [];
  let judged = 0;
  for (const [key, ofKey] of partitionByKey(lines)) {
    const expires = new Map<string, HistoryLine>();
    const released = new Map<string, HistoryLine>();
    for (const line of ofKey) {
      if (line.owner === null) continue;
      if (line.op === 'expire') expires.set(line.owner, line);
      if (line.op === 'release') released.set(line.owner, line);
    }
    const grants = grantsOf(ofKey)
      .filter((grant) => modeOf(grant) === 'exclusive')
      .sort((a, b) => a.token - b.token);
    for (let i = 0; i + 1 < grants.length; i++) {
      const grant = grants[i] as (typeof grants)[number];
      const next = grants[i + 1] as (typeof grants)[number];
      const expire = expires.get(grant.owner);
      const release = released.get(grant.owner);
      if (expire === undefined || next.queued === undefined || next.queued > expire.call || next.disconnected === true)
        continue;
      // Given back by its holder. One that the SDK gives back because it is lost comes free even sooner.
      if (release !== undefined && (release.result !== 'unknown' || expire.told === undefined)) continue;
      const rearmedNs = Math.max(0, ...options.leadersSinceNs.filter((atNs) => atNs <= next.return)) + options.ttlNs;
      // A lease of its own begins with the grant, which may be long after the request: `expire` only knows that.
      const ownNs = grant.lease === undefined ? 0 : grant.return + grant.lease;
      const boundNs = Math.max(expire.call, ownNs, rearmedNs) + slackNs;
      if (options.excuses.some(({ fromNs, toNs }) => fromNs < next.return && toNs > expire.call - options.ttlNs))
        continue;
      judged++;
      if (next.return <= boundNs) continue;
      failures.push(
        failure(
          key,
          `${grant.owner} was gone, and ${next.owner} waited for ${key} ${((next.return - boundNs) / 1e6).toFixed(0)} ms longer than the TTL and ${slackNs / 1e6} ms allow`,
          [grant, next, expire],
          originNs,
        ),
      );
    }
  }
  return verdictOf('expiry upper bound', judged, 'dead holders with a live waiter', failures);
}
