import { type HistoryLine, modeOf } from '../history/history-line.ts';
import { type Excuse, isExcused } from './excuses.ts';
import { partitionByKey } from './linearizability.ts';
import { grantsOf } from './tokens.ts';
import { type Failure, type Verdict, verdictOf } from './verdict.ts';
import { failure } from './words.ts';

export interface ExpiryBoundOptions {
  readonly ttlNs: number;
  /** When each leader was first seen to lead: it re-arms every deadline at full length. */
  readonly leadersSinceNs: readonly number[];
  /** Times in which the service could not be expected to be on time, or a client to hear of it. */
  readonly excuses: readonly Excuse[];
  /** One commit, one push, and a busy machine. @default 2 s */
  readonly slackNs?: number;
}

/** A request whose client died is over by then. */
const UNANSWERED_NS = 30e9;

type Grant = ReturnType<typeof grantsOf>[number];

/**
 * What ends by itself comes free in time: somebody who already waits is granted it within the TTL after the last renewal of
 * a dead or frozen holder, within an own lease or `maxHold` after the grant, and not later than `minHold` or `lockDelay` keep
 * it reserved; each counted from the last change of leader, where that is later.
 */
export function checkExpiryBound(lines: readonly HistoryLine[], options: ExpiryBoundOptions): Verdict {
  const slackNs = options.slackNs ?? 2e9;
  const originNs = lines.reduce((first, line) => Math.min(first, line.call), Infinity);
  const failures: Failure[] = [];
  let judged = 0;
  for (const [key, ofKey] of partitionByKey(lines)) {
    const expires = new Map<string, HistoryLine>();
    const released = new Map<string, HistoryLine>();
    const unknown: HistoryLine[] = [];
    for (const line of ofKey) {
      if (line.owner === null) continue;
      if (line.op === 'expire') expires.set(line.owner, line);
      if (line.op === 'release' && line.thief === undefined) released.set(line.owner, line);
      if (line.op === 'acquire' && line.result === 'unknown') unknown.push(line);
    }
    const grants = grantsOf(ofKey).sort((a, b) => a.token - b.token);
    for (let i = 0; i + 1 < grants.length; i++) {
      const grant = grants[i] as Grant;
      const next = grants[i + 1] as Grant;
      const expire = expires.get(grant.owner);
      if (modeOf(grant) !== 'exclusive' || modeOf(next) !== 'exclusive') continue;
      if (expire === undefined || next.queued === undefined || next.disconnected === true) continue;
      const freeNs = latestFreeNs(grant, expire, released.get(grant.owner), next.return, options);
      if (freeNs === undefined || next.queued > freeNs) continue;
      // Somebody whose answer was lost may have had it in between, until its cancel came or its session ended.
      const mayHaveHeld = ({ call, until }: HistoryLine): boolean =>
        call < next.return && (until ?? call + UNANSWERED_NS) + options.ttlNs + slackNs > grant.return;
      if (unknown.some(mayHaveHeld)) continue;
      if (isExcused(options.excuses, Math.min(expire.call, freeNs) - options.ttlNs, next.return, next.client)) continue;
      judged++;
      if (next.return <= freeNs + slackNs) continue;
      failures.push(
        failure(
          key,
          `${grant.owner} was gone, and ${next.owner} waited for ${key} ${((next.return - freeNs - slackNs) / 1e6).toFixed(0)} ms longer than its deadlines and ${slackNs / 1e6} ms allow`,
          [grant, next, expire],
          originNs,
        ),
      );
    }
  }
  return verdictOf('expiry upper bound', judged, 'ends by a deadline with a live waiter', failures);
}

/** The latest instant at which the grant and what it reserves are over. `undefined`: its end was no deadline's. */
function latestFreeNs(
  grant: Grant,
  expire: HistoryLine,
  release: HistoryLine | undefined,
  untilNs: number,
  { ttlNs, leadersSinceNs }: ExpiryBoundOptions,
): number | undefined {
  const leaderNs = Math.max(0, ...leadersSinceNs.filter((atNs) => atNs <= untilNs));
  // The grant may be long after the request: of deadlines that begin with it, only the answer is known.
  const after = (lengthNs: number): number => Math.max(grant.return, leaderNs) + lengthNs;
  // One that the SDK gives back because it is lost comes free even sooner.
  const isGivenBack = release !== undefined && (release.result !== 'unknown' || expire.told === undefined);
  if (isGivenBack) {
    // Given back by its holder: only what it reserves can last.
    if (grant.minHold === undefined || release.return === null) return undefined;
    return Math.max(release.return, after(grant.minHold));
  }
  // Whichever of its own deadlines comes first ends it. Where it has none, the session's does, which renewals put off.
  const own = [
    ...(grant.lease === undefined ? [] : [Math.max(after(grant.lease), expire.latest ?? 0)]),
    ...(grant.maxHold === undefined ? [] : [after(grant.maxHold)]),
  ];
  const endNs = own.length === 0 ? Math.max(expire.call, leaderNs + ttlNs) : Math.min(...own);
  return Math.max(endNs, grant.minHold === undefined ? 0 : after(grant.minHold)) + (grant.lockDelay ?? 0);
}
