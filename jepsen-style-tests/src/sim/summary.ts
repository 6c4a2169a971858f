import { FAULTS } from './raft/faults.ts';
import { NOT_JUDGED } from './raft/simulation.ts';
import type { RangeOutcome } from './range.ts';

/** What a long range must have seen at least once: otherwise it has not tested what it is for. */
export const RARE_SITUATIONS: readonly string[] = [
  'uncommitted suffix truncated',
  'unsynced entries lost with the power',
  'unsynced entries survived a loss of power',
  'torn tail trimmed',
  'leader change with reads under way',
  'leader change with writes under way',
  'transfer handed over',
  'transfer lost midway',
  'snapshot installed',
  'snapshot installed under load',
  'joint configuration took effect',
  'crash inside a joint configuration',
  'damaged node refused',
  'lost node replaced',
  'node left a full disk',
  'closed link was evidence',
  'message lost',
  'message lost in a cut',
  'message duplicated',
  'message overtaken',
  'request without an answer',
];

/** From this many seeds on, a fault or situation that never came about fails the range. */
const LONG_RANGE = 2_000;
/** More runs than this share whose liveness could not be judged fail a long range: then the faults are too hard, or the code loses members. */
const MAX_NOT_JUDGED_SHARE = 0.05;

/** Prints what a range came to; the exit code. */
export function reportRange(outcome: RangeOutcome, seconds: number, print: (line: string) => void): number {
  const { counts, seeds, failed } = outcome;
  const expected = [...RARE_SITUATIONS, ...FAULTS.map((fault) => `fault: ${fault}`)];
  const names = [...new Set([...expected, ...counts.keys()])].sort();
  for (const name of names) print(`${String(counts.get(name) ?? 0).padStart(10)}  ${name}`);
  const hours = outcome.simulatedMs / 3_600_000;
  print(
    `${seeds} seeds in ${seconds.toFixed(0)} s (${(seeds / seconds).toFixed(1)} a second): ${hours.toFixed(1)} simulated hours, ${((60 * hours) / seconds).toFixed(2)} a real minute, ${Math.round(outcome.events / seconds)} events a second`,
  );
  const missing = expected.filter((name) => (counts.get(name) ?? 0) === 0);
  if (failed !== undefined) return 1;
  if (seeds >= LONG_RANGE && missing.length > 0) {
    print(`FAIL never came about: ${missing.join(', ')}`);
    return 1;
  }
  const notJudged = counts.get(NOT_JUDGED) ?? 0;
  if (seeds >= LONG_RANGE && notJudged > seeds * MAX_NOT_JUDGED_SHARE) {
    print(`FAIL ${notJudged} of ${seeds} seeds: ${NOT_JUDGED}`);
    return 1;
  }
  print(`no failure in seeds ${outcome.from}..${outcome.to}`);
  return 0;
}
