import { execFileSync } from 'node:child_process';
import { optionsOf } from './options.ts';
import type { SimulationRequest, SimulationResult } from './simulation.ts';

/** Prints what failed, and the line that replays it. */
export function printFailure(
  result: SimulationResult,
  request: SimulationRequest,
  how: { readonly planted: string | undefined; readonly show: '--trace' | '--outline'; readonly note: string },
  print: (line: string) => void,
): void {
  const { failure, seed, steps, nodes } = result;
  if (failure === undefined) return;
  if (!failure.isForeseen) print(failure.stack);
  const planted = how.planted === undefined ? '' : ` --planted ${how.planted}`;
  print(`FAIL ${failure.message}`);
  print(`  seed=${seed}  commit=${commit()}  step=${steps}  nodes=${nodes}`);
  print(`  replay: npm run sim -- ${optionsOf(request)}${planted} ${how.show}      # ${how.note}`);
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
