import type { HistoryLine } from '../history/history-line.ts';
import { partitionByKey } from './linearizability.ts';
import { grantsOf } from './tokens.ts';
import { type Failure, type Verdict, verdictOf } from './verdict.ts';
import { failure } from './words.ts';

/**
 * A request takes effect once, however often it was sent: a handle is granted a name once, a grant ends once by its
 * owner's hand, names asked for in one step carry one token, and nobody who gave up waiting (a refused or cancelled
 * request) is seen holding after `settleNs`, the time its cancel has to arrive.
 */
export function checkAtMostOnce(lines: readonly HistoryLine[], options: { readonly settleNs?: number } = {}): Verdict {
  const settleNs = options.settleNs ?? 60e9;
  const originNs = lines.reduce((first, line) => Math.min(first, line.call), Infinity);
  const failures: Failure[] = [];
  let judged = 0;
  for (const [key, ofKey] of partitionByKey(lines)) {
    const granted = new Map<string, HistoryLine>();
    const released = new Map<string, HistoryLine>();
    const gaveUp = new Map<string, HistoryLine>();
    for (const line of ofKey) {
      if (line.owner === null) continue;
      if (line.op === 'acquire') {
        judged++;
        if (line.result === 'ok') {
          const earlier = granted.get(line.owner);
          if (earlier !== undefined)
            failures.push(
              failure(
                key,
                `${line.owner} was granted ${key} twice (tokens ${earlier.token} and ${line.token})`,
                [earlier, line],
                originNs,
              ),
            );
          granted.set(line.owner, line);
        } else gaveUp.set(line.owner, line);
      } else if (line.op === 'release' && line.result === 'ok') {
        judged++;
        const earlier = released.get(line.owner);
        if (earlier !== undefined)
          failures.push(failure(key, `${line.owner} was released from ${key} twice`, [earlier, line], originNs));
        released.set(line.owner, line);
      }
    }
    for (const read of ofKey) {
      if (read.op !== 'read' || read.result !== 'ok') continue;
      for (const holder of read.holders ?? (read.holder === null ? [] : [read.holder])) {
        const request = gaveUp.get(holder);
        if (request === undefined || granted.has(holder)) continue;
        const overNs = request.return ?? request.until;
        if (overNs === undefined || read.call < overNs + (request.return === null ? settleNs : 0)) continue;
        failures.push(
          failure(
            key,
            `${holder} was refused or had given up, and is seen holding ${key} all the same`,
            [request, read],
            originNs,
          ),
        );
      }
    }
  }

  const groups = new Map<string, HistoryLine>();
  for (const grant of grantsOf(lines)) {
    if (grant.group === undefined) continue;
    judged++;
    const earlier = groups.get(grant.group);
    if (earlier !== undefined && earlier.token !== grant.token) {
      failures.push(
        failure(
          grant.key,
          `${grant.group} asked for several names in one step and got tokens ${earlier.token} and ${grant.token}`,
          [earlier, grant],
          originNs,
        ),
      );
    }
    groups.set(grant.group, grant);
  }
  return verdictOf('at most once', judged, 'requests', failures);
}
