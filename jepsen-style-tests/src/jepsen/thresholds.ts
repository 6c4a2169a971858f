import type { Fault, FaultRecord } from '../nemesis/fault.ts';

/** In ten minutes; scaled to the length of the run. */
const OPERATIONS_IN_600_S = 20_000;
const EACH_FAULT_IN_600_S = 5;

export interface Enough {
  readonly isEnough: boolean;
  /** What is missing, in words. */
  readonly missing: readonly string[];
}

/**
 * How often each chosen fault must have worked, and how many answered operations there must be, to judge at all.
 * `share`: how much of what all workloads together do was chosen.
 */
export function thresholdsFor(
  seconds: number,
  share: number = 1,
): { readonly operations: number; readonly eachFault: number } {
  return {
    operations: Math.ceil((OPERATIONS_IN_600_S * seconds * Math.min(1, share)) / 600),
    // A short run has no time for all kinds: it is judged on what there was, and says so.
    eachFault: Math.floor((EACH_FAULT_IN_600_S * seconds) / 600),
  };
}

export function isEnough(
  seconds: number,
  operations: number,
  faults: readonly Fault[],
  records: readonly FaultRecord[],
  share: number = 1,
): Enough {
  const needed = thresholdsFor(seconds, share);
  const missing: string[] = [];
  if (operations < needed.operations) missing.push(`${operations} operations of at least ${needed.operations}`);
  for (const { kind } of faults) {
    const worked = records.filter((record) => record.kind === kind && record.worked).length;
    if (worked < needed.eachFault) missing.push(`${kind} worked ${worked} times of at least ${needed.eachFault}`);
  }
  if (faults.length > 0 && !records.some(({ worked }) => worked)) missing.push('no fault worked at all');
  return { isEnough: missing.length === 0, missing };
}
