import type { HistoryLine } from '../../history/history-line.ts';

/** Two clocks, each in whole milliseconds. */
const ROUNDING_NS = 3e6;

/**
 * A history of true time for judges that count by it: whatever the service counts by a clock that may run fast is
 * taken to be over a little sooner. `longestNs`: of what it counts.
 */
export function relaxed(line: HistoryLine, driftPpm: number, longestNs: number): HistoryLine {
  const shorter = (ns: number): number => Math.max(0, ns - ROUNDING_NS - (ns * driftPpm) / 1_000_000);
  return {
    ...line,
    ...(line.op === 'expire' ? { call: line.call - (longestNs - shorter(longestNs)) } : {}),
    ...(line.minHold === undefined ? {} : { minHold: shorter(line.minHold) }),
    ...(line.lockDelay === undefined ? {} : { lockDelay: shorter(line.lockDelay) }),
  };
}
