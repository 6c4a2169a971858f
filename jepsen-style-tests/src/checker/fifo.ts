import { type HistoryLine, modeOf } from '../history/history-line.ts';
import { partitionByKey } from './linearizability.ts';
import { type Failure, type Verdict, verdictOf } from './verdict.ts';
import { failure } from './words.ts';

/**
 * Among live waiters of a name the order of the log decides. A request that was told it stands in the queue (`queued`)
 * before another was sent is ahead of it, so the later one must not be granted first. Excused: one whose connection was
 * closed while it waited, one whose wait or connection may have ended by then (`until`, `heard`), and two that do not exclude each other. A steal goes first.
 */
export function checkFifo(lines: readonly HistoryLine[]): Verdict {
  const originNs = lines.reduce((first, line) => Math.min(first, line.call), Infinity);
  const failures: Failure[] = [];
  let judged = 0;
  for (const [key, ofKey] of partitionByKey(lines)) {
    const requests = ofKey.filter((line) => line.op === 'acquire' && line.owner !== null);
    // Who was granted it without hearing of it may have been robbed since, and waits no more.
    const mayBeRobbed = requests.some(({ steal }) => steal === true);
    const waiters = requests
      .filter(
        (line): line is HistoryLine & { readonly queued: number } =>
          line.queued !== undefined && line.disconnected !== true && !(mayBeRobbed && line.result !== 'ok'),
      )
      .sort((a, b) => a.queued - b.queued);
    const granted = requests.filter(
      (line): line is HistoryLine & { readonly return: number; readonly token: number } =>
        line.result === 'ok' && line.token !== null && line.steal !== true,
    );
    // In order of calls, so the waiters that were queued before the call are a growing front of `waiters`.
    let front = 0;
    const live: (typeof waiters)[number][] = [];
    for (const later of granted.sort((a, b) => a.call - b.call)) {
      for (; front < waiters.length && (waiters[front] as (typeof waiters)[number]).queued < later.call; front++) {
        live.push(waiters[front] as (typeof waiters)[number]);
      }
      for (let i = live.length - 1; i >= 0; i--) {
        const earlier = live[i] as (typeof waiters)[number];
        // Over before this call, so it can stand before no later one either.
        if (overNs(earlier) < later.call) {
          live.splice(i, 1);
          continue;
        }
        judged++;
        // They stand together; of one whose answer was lost it is not known in which phase.
        if (
          modeOf(earlier) === 'shared' &&
          modeOf(later) === 'shared' &&
          (earlier.token === null || earlier.token === later.token)
        )
          continue;
        const overtook =
          earlier.result === 'ok' && earlier.token !== null
            ? earlier.token > later.token && later.return < overNs(earlier)
            : later.return < overNs(earlier);
        if (overtook) {
          failures.push(
            failure(
              key,
              `${later.owner} asked for ${key} after ${earlier.owner} stood in the queue, and got it first`,
              [earlier, later],
              originNs,
            ),
          );
        }
      }
    }
  }
  return verdictOf('first come, first served', judged, 'pairs of waiters', failures);
}

/** The earliest instant at which this request may have left the queue, its own grant aside: that is told by tokens. */
function overNs(waiter: HistoryLine): number {
  if (waiter.result === 'ok') return waiter.return ?? Infinity;
  return Math.min(waiter.until ?? waiter.call, waiter.heard ?? Infinity);
}
