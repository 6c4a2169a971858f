import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Options } from './options.ts';
import type { SimulationRequest, SimulationResult } from './simulation.ts';

export interface RangeOutcome {
  readonly from: number;
  readonly to: number;
  /** Seeds that ran. */
  seeds: number;
  events: number;
  simulatedMs: number;
  readonly counts: Map<string, number>;
  /** Of the trace, by seed. */
  readonly hashes: Map<number, string>;
  /** The failing seed that is smallest among those that were run. */
  failed: SimulationResult | undefined;
}

const PROGRESS_EVERY = 100;

/** Runs a range on worker processes, each of which gets the next seed when it is done with one. Stops at a failure. */
export async function runRange(options: Options, print: (line: string) => void): Promise<RangeOutcome> {
  const { from, to } = options;
  const outcome: RangeOutcome = {
    from,
    to,
    seeds: 0,
    events: 0,
    simulatedMs: 0,
    counts: new Map(),
    hashes: new Map(),
    failed: undefined,
  };
  let next = from;
  const jobs = Math.min(options.jobs ?? availableParallelism(), to - from + 1);
  const work = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const args = [...(options.planted === undefined ? [] : ['--planted', options.planted])];
      const worker = fork(fileURLToPath(new URL('./seed-worker.js', import.meta.url)), args);
      const give = (): void => {
        if (next > to || outcome.failed !== undefined) {
          worker.disconnect();
          return;
        }
        const request: SimulationRequest = { seed: next, nodes: options.nodes };
        worker.send(request);
        next += 1;
      };
      worker.on('message', (message: 'ready' | SimulationResult) => {
        if (message !== 'ready') {
          take(outcome, message);
          if (outcome.seeds % PROGRESS_EVERY === 0) print(`${outcome.seeds} of ${to - from + 1} seeds`);
        }
        give();
      });
      worker.on('error', reject);
      worker.on('exit', (code) => {
        if (code === 0) resolve();
        else reject(new Error(`a worker ended with code ${code}`));
      });
    });
  await Promise.all(Array.from({ length: jobs }, work));
  return outcome;
}

function take(outcome: RangeOutcome, result: SimulationResult): void {
  outcome.seeds += 1;
  outcome.events += result.events;
  outcome.simulatedMs += result.simulatedMs;
  outcome.hashes.set(result.seed, result.traceHash);
  for (const [name, count] of Object.entries(result.counts))
    outcome.counts.set(name, (outcome.counts.get(name) ?? 0) + count);
  if (result.failure !== undefined && (outcome.failed === undefined || result.seed < outcome.failed.seed))
    outcome.failed = result;
}
