import { type HistoryLine, modeOf } from '../history/history-line.ts';
import { partitionByKey } from './linearizability.ts';
import { grantsOf } from './tokens.ts';
import { type Failure, type Verdict, verdictOf } from './verdict.ts';
import { failure } from './words.ts';

/**
 * A name stays reserved: for `minHold` after a grant, however soon it is released, and for `lockDelay` after an end that was no
 * release of its holder. Judged by the earliest instant at which each grant can have been made (after it was asked for, and
 * after the one before can have ended), so that a late answer excuses nothing. A steal is outside of both.
 */
export function checkReservations(lines: readonly HistoryLine[]): Verdict {
  const originNs = lines.reduce((first, line) => Math.min(first, line.call), Infinity);
  const failures: Failure[] = [];
  let judged = 0;
  for (const [key, ofKey] of partitionByKey(lines)) {
    const grants = grantsOf(ofKey).sort((a, b) => a.token - b.token);
    if (!grants.some(({ minHold, lockDelay }) => minHold !== undefined || lockDelay !== undefined)) continue;
    const ends = endsOf(ofKey);
    // Shared grants and permits stand beside one another: what one reserves says nothing about the next.
    if (grants.some((grant) => modeOf(grant) !== 'exclusive')) continue;
    let grantedNs = -Infinity;
    grants.forEach((grant, at) => {
      const before = grants[at - 1];
      grantedNs = Math.max(grant.call, before === undefined ? -Infinity : freeFrom(before, grantedNs, ends));
      const next = grants[at + 1];
      if (next === undefined || next.steal === true || next.owner === grant.owner) return;
      if (grant.minHold === undefined && grant.lockDelay === undefined) return;
      judged++;
      const freeNs = freeFrom(grant, grantedNs, ends);
      if (next.return >= freeNs) return;
      // One reservation that was broken says nothing against those that follow.
      grantedNs = -Infinity;
      const end = ends.get(grant.owner);
      failures.push(
        failure(
          key,
          `${next.owner} was granted ${key} ${((freeNs - next.return) / 1e6).toFixed(1)} ms before the reservation that ${grant.owner} had asked for could be over`,
          [grant, next, ...(end?.lines ?? [])],
          originNs,
        ),
      );
    });
  }
  return verdictOf('reservations', judged, 'changes of holder of a reserved name', failures);
}

interface End {
  /** The earliest instant at which the grant can have ended. */
  earliestNs: number;
  /** Its holder gave it back, or may have. */
  isRelease: boolean;
  readonly lines: HistoryLine[];
}

function freeFrom(
  grant: HistoryLine & { readonly owner: string },
  grantedNs: number,
  ends: ReadonlyMap<string, End>,
): number {
  const end = ends.get(grant.owner);
  const heldNs = grantedNs + (grant.minHold ?? 0);
  if (end === undefined) return heldNs;
  return Math.max(heldNs, end.earliestNs + (end.isRelease ? 0 : (grant.lockDelay ?? 0)));
}

function endsOf(ofKey: readonly HistoryLine[]): ReadonlyMap<string, End> {
  const ends = new Map<string, End>();
  const expires = new Map<string, HistoryLine>();
  for (const line of ofKey) if (line.op === 'expire' && line.owner !== null) expires.set(line.owner, line);
  for (const line of ofKey) {
    if (line.owner === null || (line.op !== 'expire' && line.op !== 'release') || line.result === 'fail') continue;
    let end = ends.get(line.owner);
    if (end === undefined) {
      end = { earliestNs: Infinity, isRelease: false, lines: [] };
      ends.set(line.owner, end);
    }
    end.earliestNs = Math.min(end.earliestNs, line.call);
    end.lines.push(line);
    if (line.op !== 'release') continue;
    // After a loss the SDK only tidies up: its holder was told, and had not given it back.
    const told = expires.get(line.owner)?.told;
    if (line.result === 'ok' || told === undefined || line.call < told) end.isRelease = true;
  }
  return ends;
}
