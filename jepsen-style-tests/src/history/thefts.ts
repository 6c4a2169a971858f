import { groupBy } from '../group-by.ts';
import type { HistoryLine } from './history-line.ts';

/**
 * A history says of a steal who ended whose grant. The thief is not told, so for every grant that it may have taken there is
 * a release by the thief, without an answer: it may have ended that grant at any time from its call on, or not at all.
 */
export function thefts(lines: readonly HistoryLine[]): readonly HistoryLine[] {
  const releases: HistoryLine[] = [];
  for (const [key, ofKey] of groupBy(lines, ({ key: name }) => name)) {
    const thieves = ofKey.filter((line) => line.op === 'acquire' && line.steal === true && line.result !== 'fail');
    if (thieves.length === 0) continue;
    const endNs = new Map<string, number>();
    for (const line of ofKey)
      if (line.op === 'release' && line.result === 'ok' && line.owner !== null && line.return !== null)
        endNs.set(line.owner, line.return);
    for (const thief of thieves) {
      for (const line of ofKey) {
        if (line.op !== 'acquire' || line.result === 'fail' || line.owner === null || line.owner === thief.owner)
          continue;
        const isOver = (endNs.get(line.owner) ?? Infinity) < thief.call;
        const isLater = line.call > (thief.return ?? Infinity);
        // By tokens an answered thief cannot have taken what was granted after it.
        const isYounger = line.token !== null && thief.token !== null && line.token > thief.token;
        // What has long been over without an answer needs no thief.
        const isOld = line.call < thief.call - LONGEST_HOLD_NS;
        if (isOver || isLater || isYounger || isOld) continue;
        releases.push({
          client: thief.client,
          op: 'release',
          key,
          owner: line.owner,
          token: null,
          call: thief.call,
          return: null,
          result: 'unknown',
          holder: null,
          thief: thief.owner as string,
        });
      }
    }
  }
  return releases;
}

/** No workload that steals waits and holds for longer together. */
const LONGEST_HOLD_NS = 60e9;
