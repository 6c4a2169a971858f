import { InvariantViolation } from '@lockd/raft';
import type { Failure, Print, SimulationRequest, SimulationResult, Strike } from '../simulation.ts';
import { Counters } from './counters.ts';
import { Trace } from './trace.ts';
import { Violation } from './violation.ts';
import { World } from './world.ts';

/** How long faults go on at most, in simulated time. */
export const CHAOS_US = 60_000_000;

/** What every run has. */
export interface RunParts {
  readonly world: World;
  readonly trace: Trace;
  readonly counters: Counters;
}

/** One run, as a world puts it together. */
export interface Run {
  /** Faults that came about so far: the same list all the time. */
  readonly strikes: readonly Strike[];
  /** Work goes on, and faults strike. */
  chaos(untilUs: number): Promise<void>;
  /** What must come about once a quorum is healed, and what is judged when all is over. */
  conclude(): Promise<void>;
  /** Nothing of it stays in memory. */
  abandon(): void;
}

/** What the seed and the limits make of a world. */
export interface Drawing {
  readonly nodes: number;
  readonly clients: number;
  /** See `SimulationResult.restless`. */
  readonly restless: readonly string[];
}

/** Runs it, whatever comes of it. */
export async function runOnce(
  { seed, limits = {} }: SimulationRequest,
  print: Print | undefined,
  { nodes, clients, restless }: Drawing,
  begin: (parts: RunParts) => Run,
): Promise<SimulationResult> {
  const world = new World();
  const trace = new Trace(print);
  const counters = new Counters();
  const onRejection = (reason: unknown): void => world.fail(reason);
  process.on('unhandledRejection', onRejection);
  let failure: Failure | undefined;
  let faultsEndedMs: number | undefined;
  let run: Run | undefined;
  try {
    run = begin({ world, trace, counters });
    await run.chaos(limits.untilMs === undefined ? CHAOS_US : Math.min(CHAOS_US, 1000 * limits.untilMs));
    faultsEndedMs = Math.floor(world.nowUs / 1000);
    await run.conclude();
  } catch (error) {
    failure = describe(error, trace);
  } finally {
    run?.abandon();
    process.off('unhandledRejection', onRejection);
  }
  return {
    seed,
    nodes,
    clients,
    steps: world.steps,
    events: trace.count,
    simulatedMs: Math.floor(world.nowUs / 1000),
    faultsEndedMs,
    traceHash: trace.hash(),
    counts: counters.all(),
    strikes: run?.strikes ?? [],
    restless,
    failure,
  };
}

function describe(error: unknown, trace: Trace): Failure {
  const promise =
    error instanceof Violation
      ? error.promise
      : error instanceof InvariantViolation
        ? "the code's own invariant"
        : 'no unexpected error';
  const isForeseen = error instanceof Violation;
  return {
    promise,
    isForeseen,
    message: isForeseen ? error.message : `${promise}: ${String(error)}`,
    stack: error instanceof Error ? (error.stack ?? '') : '',
    events: trace.last(),
  };
}
