import { monotonicNs } from '../clock.ts';
import { printFailure } from './failure.ts';
import { type Options, worldsOf } from './options.ts';
import { Outline } from './outline.ts';
import { bugNamed } from './planted/bugs.ts';
import { runRange } from './range.ts';
import { reportShrunk } from './shrink-report.ts';
import type { SimulationRequest, SimulationResult, WorldName } from './simulation.ts';
import { reportRange } from './summary.ts';
import { simulate } from './worlds.ts';

/** Runs what the options ask for; the exit code. */
export async function run(asked: Options): Promise<number> {
  const shownBy = bugNamed(asked.planted)?.shownBy;
  const options = { ...asked, faults: asked.faults ?? shownBy?.faults };
  const print = (line: string): void => {
    process.stdout.write(`${line}\n`);
  };
  if (options.show !== 'hashes')
    print(options.from === options.to ? `seed ${options.from}` : `seeds ${options.from}..${options.to}`);
  const worlds = worldsOf(options, shownBy?.world);
  if (options.from !== options.to) return runMany(options, worlds, print);
  let code = 0;
  for (const world of worlds) code = Math.max(code, await runOne(options, world, print));
  return code;
}

async function runMany(options: Options, worlds: readonly WorldName[], print: (line: string) => void): Promise<number> {
  const startNs = monotonicNs();
  const outcome = await runRange(options, worlds, options.show === 'hashes' ? () => undefined : print);
  const seconds = (monotonicNs() - startNs) / 1e9;
  const { failed } = outcome;
  if (options.show === 'hashes') {
    for (const [seed, hashes] of [...outcome.hashes].sort(([left], [right]) => left - right))
      printHash(seed, hashes.join(' '), print);
    return failed === undefined ? 0 : 1;
  }
  if (failed !== undefined) await fail(failed.result, failed.request, options, print);
  return reportRange(outcome, worlds, seconds, print);
}

async function runOne(options: Options, world: WorldName, print: (line: string) => void): Promise<number> {
  const startNs = monotonicNs();
  const { from: seed, nodes, faults, limits, show } = options;
  const outline = new Outline();
  const request = { seed, world, nodes, faults, limits };
  const result = await simulate(request, show === 'trace' ? print : show === 'outline' ? outline.print : undefined);
  const seconds = (monotonicNs() - startNs) / 1e9;
  if (show === 'hashes') {
    printHash(seed, result.traceHash, print);
    return result.failure === undefined ? 0 : 1;
  }
  if (show === 'outline') for (const line of outline.lines(result.failure?.message)) print(line);
  if (result.failure !== undefined) await fail(result, request, options, print);
  else for (const [name, count] of Object.entries(result.counts)) print(`${String(count).padStart(8)}  ${name}`);
  print(
    `trace ${result.traceHash}  world=${world}  nodes=${result.nodes}  steps=${result.steps}  events=${result.events}  simulated ${Math.round(result.simulatedMs / 1000)} s in ${seconds.toFixed(2)} s`,
  );
  return result.failure === undefined ? 0 : 1;
}

async function fail(
  result: SimulationResult,
  request: SimulationRequest,
  { show, planted, shrinkSeconds }: Options,
  print: (line: string) => void,
): Promise<void> {
  const { failure } = result;
  if (failure === undefined) return;
  if (show === 'nothing') for (const line of failure.events) print(line);
  printFailure(result, request, { planted, show: '--trace', note: 'last 30 events above' }, print);
  if (shrinkSeconds > 0) await reportShrunk(simulate, request, result, { seconds: shrinkSeconds, planted }, print);
}

function printHash(seed: number, hash: string, print: (line: string) => void): void {
  print(`seed ${seed}  trace ${hash}`);
}
