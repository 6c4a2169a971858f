import type { HistoryLine } from '../history/history-line.ts';

/** What one check says about one history. */
export interface Verdict {
  readonly check: string;
  /** `undecided`: the stated budget was exceeded. `nothing`: the history has nothing this check could judge. */
  readonly outcome: 'pass' | 'fail' | 'undecided' | 'nothing';
  /** One sentence. */
  readonly summary: string;
  /** How many operations or pairs were judged. */
  readonly judged: number;
  readonly failures: readonly Failure[];
}

/** One violation, with the smallest part of the history that still shows it. */
export interface Failure {
  readonly key: string;
  /** What is wrong, in one sentence. */
  readonly what: string;
  /** The window in words, one line an operation, in time order. */
  readonly story: readonly string[];
  readonly window: readonly HistoryLine[];
}

/** No report needs more than these: the rest is counted. */
export const MAX_FAILURES_KEPT = 20;

export function verdictOf(
  check: string,
  judged: number,
  unit: string,
  failures: readonly Failure[],
  total: number = failures.length,
): Verdict {
  if (total > 0) {
    const first = failures[0];
    return {
      check,
      outcome: 'fail',
      summary: `${total} violation${total === 1 ? '' : 's'}; the first: ${first?.what ?? ''}`,
      judged,
      failures: failures.slice(0, MAX_FAILURES_KEPT),
    };
  }
  if (judged === 0) return { check, outcome: 'nothing', summary: `no ${unit} to judge`, judged, failures: [] };
  return {
    check,
    outcome: 'pass',
    summary: `${judged.toLocaleString('en-US')} ${unit}, no violation`,
    judged,
    failures: [],
  };
}
