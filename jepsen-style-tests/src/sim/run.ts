import { execFileSync } from 'node:child_process';
import { monotonicNs } from '../clock.ts';
import type { Options } from './options.ts';
import { type SimulationResult, simulateRaft } from './raft/simulation.ts';
import { runRange } from './range.ts';
import { reportRange } from './summary.ts';

/** Runs what the options ask for; the exit code. */
export async function run(options: Options): Promise<number> {
  const print = (line: string): void => {
    process.stdout.write(`${line}\n`);
  };
  const startNs = monotonicNs();
  if (options.from !== options.to) {
    print(`seeds ${options.from}..${options.to}`);
    const outcome = await runRange(options, print);
    if (outcome.failed !== undefined) printFailure(outcome.failed, options, print);
    return reportRange(outcome, (monotonicNs() - startNs) / 1e9, print);
  }
  print(`seed ${options.from}`);
  const result = await simulateRaft({
    seed: options.from,
    nodes: options.nodes,
    print: options.isTraced ? print : undefined,
  });
  if (result.failure !== undefined) printFailure(result, options, print);
  else for (const [name, count] of Object.entries(result.counts)) print(`${String(count).padStart(8)}  ${name}`);
  const seconds = (monotonicNs() - startNs) / 1e9;
  print(
    `trace ${result.traceHash}  nodes=${result.nodes}  steps=${result.steps}  events=${result.events}  simulated ${Math.round(result.simulatedMs / 1000)} s in ${seconds.toFixed(2)} s`,
  );
  return result.failure === undefined ? 0 : 1;
}

function printFailure(result: SimulationResult, options: Options, print: (line: string) => void): void {
  const { failure, seed, steps, nodes } = result;
  if (failure === undefined) return;
  if (!options.isTraced) for (const line of failure.events) print(line);
  if (failure.promise === 'no unexpected error' || failure.promise === "the code's own invariant") print(failure.stack);
  const flags = [
    options.nodes === undefined ? '' : ` --nodes ${options.nodes}`,
    options.planted === undefined ? '' : ` --planted ${options.planted}`,
  ].join('');
  print(`FAIL ${failure.message}`);
  print(`  seed=${seed}  commit=${commit()}  step=${steps}  nodes=${nodes}`);
  print(`  replay: npm run sim -- --seed ${seed}${flags} --trace      # last 30 events above`);
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .trim();
  } catch {
    return 'unknown';
  }
}
