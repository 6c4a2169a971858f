import { groupBy } from '../group-by.ts';
import { type HistoryLine, modeOf } from '../history/history-line.ts';
import { partitionByKey } from './linearizability.ts';
import { type Failure, type Verdict, verdictOf } from './verdict.ts';
import { failure } from './words.ts';

type Grant = HistoryLine & { readonly owner: string; readonly token: number; readonly return: number };

/** Answered grants. An upgrade is one too: of the same owner, exclusive, with a token of its own. */
export function grantsOf(lines: readonly HistoryLine[]): Grant[] {
  return lines.filter(
    (line): line is Grant =>
      (line.op === 'acquire' || line.op === 'upgrade') &&
      line.result === 'ok' &&
      line.token !== null &&
      line.owner !== null,
  );
}

/**
 * For each name: a grant that was asked for after another had been answered carries a larger token. Shared grants that
 * overlap form a phase and carry one token; once everybody of a phase has left, its token never comes back. An upgrade ends its
 * owner's part in a phase and carries a token of its own; a downgrade opens a phase with the token that it has. A token
 * that a read shows is one that its holder was given.
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
      // Whoever has downgraded by then shares what it had for itself.
      const alone = inOrder.find((grant) =>
        inOrder.some((other) => other !== grant && !sharesBy(grant, other.return, ofKey)),
      );
      if (alone !== undefined) {
        const other = inOrder.find((grant) => grant !== alone && !sharesBy(alone, grant.return, ofKey)) as Grant;
        blame(`token ${token} of ${key} was given to ${alone.owner} and to ${other.owner}`, [
          alone,
          other,
          ...conversionsOf(alone, ofKey),
        ]);
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

    const ofOwner = groupBy(grants, ({ owner }) => owner);
    const unsure = new Set(
      ofKey.flatMap((line) => (line.op === 'upgrade' && line.result === 'unknown' ? [line.owner] : [])),
    );
    for (const read of ofKey) {
      if (read.op !== 'read' || read.result !== 'ok' || read.token === null || read.holder === null) continue;
      const given = ofOwner.get(read.holder);
      judged++;
      if (given === undefined || unsure.has(read.holder)) continue;
      // A later token cannot show before it was asked for, an earlier one not after the later was answered.
      const possible = given.filter(
        (grant, at) => grant.call <= (read.return ?? Infinity) && (given[at + 1]?.return ?? Infinity) >= read.call,
      );
      if (possible.some(({ token }) => token === read.token)) continue;
      blame(
        `a read of ${key} shows ${read.holder} with token ${read.token}, but it was given ${given.map(({ token }) => token).join(', then ')}`,
        [...given, read],
      );
    }
  }
  return verdictOf('token monotonicity', judged, 'grants and reads', failures);
}

function conversionsOf(grant: Grant, ofKey: readonly HistoryLine[]): readonly HistoryLine[] {
  return ofKey.filter((line) => (line.op === 'upgrade' || line.op === 'downgrade') && line.owner === grant.owner);
}

/** Whether this grant may be shared with one that was answered at that instant. */
function sharesBy(grant: Grant, instantNs: number, ofKey: readonly HistoryLine[]): boolean {
  if (grant.op === 'acquire' && modeOf(grant) === 'shared') return true;
  return conversionsOf(grant, ofKey).some(
    (line) => line.op === 'downgrade' && line.result !== 'fail' && line.call >= grant.call && line.call <= instantNs,
  );
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
      const isEnd = line.op === 'release' || line.op === 'upgrade';
      if (!isEnd || line.result !== 'ok' || line.owner === null || line.return === null) continue;
      ends.set(line.op === 'release' ? line.owner : `${line.owner} shared`, line.return);
    }
    endCache.set(ofKey, ends);
  }
  const ownEndNs = ends.get(grant.owner) ?? Infinity;
  // An upgrade takes its owner out of the phase that it stood in.
  return grant.op === 'upgrade' ? ownEndNs : Math.min(ownEndNs, ends.get(`${grant.owner} shared`) ?? Infinity);
}
