import { type HistoryLine, modeOf } from '../history/history-line.ts';
import { partitionByKey } from './linearizability.ts';
import { type Failure, type Verdict, verdictOf } from './verdict.ts';
import { failure } from './words.ts';

type Grant = HistoryLine & { readonly owner: string; readonly token: number; readonly return: number };

export function grantsOf(lines: readonly HistoryLine[]): Grant[] {
  return lines.filter(
    (line): line is Grant =>
      line.op === 'acquire' && line.result === 'ok' && line.token !== null && line.owner !== null,
  );
}

/**
 * For each name: a grant that was asked for after another had been answered carries a larger token. Shared grants that
 * overlap form a phase and carry one token; once everybody of a phase has left, its token never comes back. A token that
 * a read shows is the one its holder was given.
 */
export function checkTokens(lines: readonly HistoryLine[]): Verdict {
  const originNs = lines.reduce((first, line) => Math.min(first, line.call), Infinity);
  const failures: Failure[] = [];
  let judged = 0;
  for (const [key, ofKey] of partitionByKey(lines)) {
    const grants = grantsOf(ofKey);
    judged += grants.length;
    const blame = (what: string, window: readonly HistoryLine[]): void => {
      failures.push(failure(key, what, window, originNs));
    };
    const unanswered = ofKey.filter(
      (line) => line.op === 'acquire' && line.result === 'unknown' && modeOf(line) === 'shared',
    );
    const byToken = new Map<number, Grant[]>();
    for (const grant of grants) {
      const same = byToken.get(grant.token);
      if (same === undefined) byToken.set(grant.token, [grant]);
      else same.push(grant);
    }

    // Sweep in order of calls, with the largest token among the grants answered before.
    const byReturn = [...grants].sort((a, b) => a.return - b.return);
    let answered = 0;
    let largest: Grant | undefined;
    for (const grant of [...grants].sort((a, b) => a.call - b.call)) {
      for (; answered < byReturn.length && (byReturn[answered] as Grant).return < grant.call; answered++) {
        const earlier = byReturn[answered] as Grant;
        if (largest === undefined || earlier.token > largest.token) largest = earlier;
      }
      if (largest !== undefined && grant.token < largest.token) {
        blame(
          `the token of ${key} went back from ${largest.token} (${largest.owner}) to ${grant.token} (${grant.owner})`,
          [largest, grant],
        );
      }
    }

    for (const [token, same] of byToken) {
      const inOrder = [...same].sort((a, b) => a.call - b.call);
      const [first] = inOrder as [Grant];
      const notShared = inOrder.find((grant) => modeOf(grant) !== 'shared');
      if (notShared !== undefined && inOrder.length > 1) {
        const other = inOrder.find((grant) => grant !== notShared) as Grant;
        blame(`token ${token} of ${key} was given to ${notShared.owner} and to ${other.owner}`, [notShared, other]);
        continue;
      }
      let phaseEndsNs = endNs(first, ofKey);
      for (const grant of inOrder.slice(1)) {
        // Somebody whose answer was lost may have stood in the phase all the while.
        const mayBeOpen = unanswered.some((line) => line.call < grant.call && line.call > first.call - LONGEST_WAIT_NS);
        if (grant.call > phaseEndsNs && !mayBeOpen) {
          blame(
            `the shared phase with token ${token} of ${key} was over before ${grant.owner} asked, yet it got the same token`,
            [first, grant, ...releasesOf(first, ofKey)],
          );
          break;
        }
        phaseEndsNs = Math.max(phaseEndsNs, endNs(grant, ofKey));
      }
    }

    const tokenOf = new Map(grants.map((grant) => [grant.owner, grant]));
    for (const read of ofKey) {
      if (read.op !== 'read' || read.result !== 'ok' || read.token === null || read.holder === null) continue;
      const grant = tokenOf.get(read.holder);
      judged++;
      if (grant !== undefined && grant.token !== read.token) {
        blame(`a read of ${key} shows ${read.holder} with token ${read.token}, but it was given ${grant.token}`, [
          grant,
          read,
        ]);
      }
    }
  }
  return verdictOf('token monotonicity', judged, 'grants and reads', failures);
}

function releasesOf(grant: Grant, ofKey: readonly HistoryLine[]): readonly HistoryLine[] {
  return ofKey.filter((line) => line.op === 'release' && line.owner === grant.owner);
}

/** Requests that are older than this are taken to be over. */
const LONGEST_WAIT_NS = 60e9;

const endCache = new WeakMap<readonly HistoryLine[], Map<string, number>>();

/** When the grant was over beyond doubt. */
function endNs(grant: Grant, ofKey: readonly HistoryLine[]): number {
  let ends = endCache.get(ofKey);
  if (ends === undefined) {
    ends = new Map();
    for (const line of ofKey) {
      if (line.op === 'release' && line.result === 'ok' && line.owner !== null && line.return !== null)
        ends.set(line.owner, line.return);
    }
    endCache.set(ofKey, ends);
  }
  return ends.get(grant.owner) ?? Infinity;
}
