import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Options } from './options.ts';
import type { SimulationRequest, SimulationResult, WorldName } from './simulation.ts';

export interface RangeOutcome {
  readonly from: number;
  readonly to: number;
  /** Runs: seeds times worlds. */
  runs: number;
  events: number;
  simulatedMs: number;
  /** By world, then by name. */
  readonly counts: ReadonlyMap<WorldName, Map<string, number>>;
  /** Of the traces, by seed, in the order of the worlds. */
  readonly hashes: Map<number, string[]>;
  /** The failing seed that is smallest among those that were run. */
  failed: { readonly request: SimulationRequest; readonly result: SimulationResult } | undefined;
}

const PROGRESS_EVERY = 100;

/** Runs a range on worker processes, each of which gets the next seed when it is done with one. Stops at a failure. */
export async function runRange(
  options: Pick<Options, 'from' | 'to' | 'nodes' | 'faults' | 'jobs' | 'planted'>,
  worlds: readonly WorldName[],
  print: (line: string) => void,
): Promise<RangeOutcome> {
  const { from, to } = options;
  const outcome: RangeOutcome = {
    from,
    to,
    runs: 0,
    events: 0,
    simulatedMs: 0,
    counts: new Map(worlds.map((world) => [world, new Map()])),
    hashes: new Map(),
    failed: undefined,
  };
  const total = (to - from + 1) * worlds.length;
  let next = 0;
  const jobs = Math.min(options.jobs ?? availableParallelism(), total);
  const work = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const args = [...(options.planted === undefined ? [] : ['--planted', options.planted])];
      const worker = fork(fileURLToPath(new URL('./seed-worker.js', import.meta.url)), args);
      let request: SimulationRequest | undefined;
      const give = (): void => {
        if (next >= total || outcome.failed !== undefined) {
          worker.disconnect();
          return;
        }
        request = {
          seed: from + Math.floor(next / worlds.length),
          world: worlds[next % worlds.length],
          nodes: options.nodes,
          faults: options.faults,
        };
        worker.send(request);
        next += 1;
      };
      worker.on('message', (message: 'ready' | SimulationResult) => {
        if (message !== 'ready' && request !== undefined) {
          take(outcome, worlds, request, message);
          if (outcome.runs % (PROGRESS_EVERY * worlds.length) === 0)
            print(`${outcome.runs / worlds.length} of ${to - from + 1} seeds`);
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

function take(
  outcome: RangeOutcome,
  worlds: readonly WorldName[],
  request: SimulationRequest,
  result: SimulationResult,
): void {
  const world = request.world as WorldName;
  outcome.runs += 1;
  outcome.events += result.events;
  outcome.simulatedMs += result.simulatedMs;
  const hashes = outcome.hashes.get(result.seed) ?? [];
  hashes[worlds.indexOf(world)] = result.traceHash;
  outcome.hashes.set(result.seed, hashes);
  const counts = outcome.counts.get(world) as Map<string, number>;
  for (const [name, count] of Object.entries(result.counts)) counts.set(name, (counts.get(name) ?? 0) + count);
  if (result.failure !== undefined && (outcome.failed === undefined || result.seed < outcome.failed.result.seed))
    outcome.failed = { request, result };
}
