import type { HistoryLine } from '../history/history-line.ts';
import { checkAtMostOnce } from './at-most-once.ts';
import { checkFifo } from './fifo.ts';
import { checkLeaseBounds } from './lease-bounds.ts';
import { checkLinearizability, type LinearizabilityOptions } from './linearizability.ts';
import { checkReservations } from './reservations.ts';
import { checkTokens } from './tokens.ts';
import { checkToldBeforeLost } from './told-before-lost.ts';
import type { Verdict } from './verdict.ts';

export interface CheckOptions extends LinearizabilityOptions {
  /** How long a cancel may take to arrive. @default 60 s */
  readonly settleNs?: number;
}

/** Every check a history can be put to, in the order they are worth reading. */
export function checkHistory(lines: readonly HistoryLine[], options: CheckOptions = {}): readonly Verdict[] {
  return [
    checkLinearizability(lines, options),
    checkTokens(lines),
    checkAtMostOnce(lines, options),
    checkFifo(lines),
    checkLeaseBounds(lines),
    checkToldBeforeLost(lines),
    checkReservations(lines),
  ];
}
