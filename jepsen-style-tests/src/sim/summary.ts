import { NOT_JUDGED } from './raft/core.ts';
import { FAULTS } from './raft/faults.ts';
import type { RangeOutcome } from './range.ts';
import { SERVICE_FAULTS } from './service/nemesis.ts';
import type { WorldName } from './simulation.ts';

/** What a long range must have seen at least once: otherwise it has not tested what it is for. */
const RARE_SITUATIONS: Readonly<Record<WorldName, readonly string[]>> = {
  raft: [
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
    'leader removed',
    'damaged node refused',
    'rolled-back directory refused',
    'told removed, and led again',
    'lost node replaced',
    'node left a full disk',
    'closed link was evidence',
    'message lost',
    'message lost in a cut',
    'message duplicated',
    'message overtaken',
    'request without an answer',
  ],
  service: [
    'expiry refused',
    'new leader with an old expiry in its log',
    'cancel raced a grant',
    'repeated request answered after failover',
    'FIFO over a failover',
    'renewal waiting when its expiry was proposed',
    'session resumed on another node',
    'grant told again after a reconnect',
    'snapshot installed',
    'uncommitted suffix truncated',
    'unsynced entries lost with the power',
    'torn tail trimmed',
    'joint configuration took effect',
    'crash inside a joint configuration',
    'leader removed',
    'damaged node refused',
    'lost node replaced',
    'node left a full disk',
    'acquire refused early',
    'refused early, and served later',
    'session survived the crowd',
    'session ended: closed',
    'session ended: disconnected',
    'session ended: expired',
    'cancel overtook its acquire',
    'late open: error',
    'stream held by a cut',
    'segment sent again',
    'connection refused',
  ],
};

const FAULTS_OF: Readonly<Record<WorldName, readonly string[]>> = { raft: FAULTS, service: SERVICE_FAULTS };

/** From this many seeds on, a fault or situation that never came about fails the range. */
const LONG_RANGE = 2_000;
/** More runs than this share whose liveness could not be judged fail a long range: then the faults are too hard, or the code loses members. */
const MAX_NOT_JUDGED_SHARE = 0.05;

/** Prints what a range came to; the exit code. */
export function reportRange(
  outcome: RangeOutcome,
  worlds: readonly WorldName[],
  seconds: number,
  print: (line: string) => void,
): number {
  const { failed } = outcome;
  const seeds = outcome.runs / worlds.length;
  const wrongs = worlds.map((world) => reportCounts(world, outcome.counts.get(world) ?? new Map(), seeds, print));
  const hours = outcome.simulatedMs / 3_600_000;
  print(
    `${Math.floor(seeds)} seeds in ${seconds.toFixed(0)} s (${(seeds / seconds).toFixed(1)} a second): ${hours.toFixed(1)} simulated hours, ${((60 * hours) / seconds).toFixed(2)} a real minute, ${Math.round(outcome.events / seconds)} events a second`,
  );
  if (failed !== undefined) return 1;
  const wrong = seeds >= LONG_RANGE ? wrongs.find((found) => found !== undefined) : undefined;
  if (wrong !== undefined) {
    print(`FAIL ${wrong}`);
    return 1;
  }
  print(`no failure in seeds ${outcome.from}..${outcome.to}`);
  return 0;
}

/** Prints how often what came about; says in words what must not be so in a long range. */
function reportCounts(
  world: WorldName,
  counts: ReadonlyMap<string, number>,
  seeds: number,
  print: (line: string) => void,
): string | undefined {
  const expected = [...RARE_SITUATIONS[world], ...FAULTS_OF[world].map((fault) => `fault: ${fault}`)];
  print(`world ${world}`);
  for (const name of [...new Set([...expected, ...counts.keys()])].sort())
    print(`${String(counts.get(name) ?? 0).padStart(10)}  ${name}`);
  const missing = expected.filter((name) => (counts.get(name) ?? 0) === 0);
  if (missing.length > 0) return `never came about: ${missing.join(', ')}`;
  const notJudged = counts.get(NOT_JUDGED) ?? 0;
  return notJudged > seeds * MAX_NOT_JUDGED_SHARE ? `${notJudged} of ${seeds} seeds: ${NOT_JUDGED}` : undefined;
}
