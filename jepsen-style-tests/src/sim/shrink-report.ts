import { monotonicNs } from '../clock.ts';
import { printFailure } from './failure.ts';
import { Outline } from './outline.ts';
import { shrink } from './shrink.ts';
import type { Simulate, SimulationRequest, SimulationResult } from './simulation.ts';

/** Shrinks a failing run within so many seconds of real time, and prints what is left of it and how to replay that. */
export async function reportShrunk(
  simulate: Simulate,
  request: SimulationRequest,
  failed: SimulationResult,
  how: { readonly seconds: number; readonly planted: string | undefined },
  print: (line: string) => void,
): Promise<void> {
  print(`\nshrinking, for ${how.seconds} s at most`);
  const startNs = monotonicNs();
  const passedSeconds = (): number => (monotonicNs() - startNs) / 1e9;
  const shrunk = await shrink(simulate, request, failed, () => passedSeconds() > how.seconds);
  const seconds = passedSeconds();
  const outline = new Outline();
  const again = await simulate(shrunk.request, outline.print);
  if (again.traceHash !== shrunk.result.traceHash)
    throw new Error(`the shrunk run is another one when it is run again: ${JSON.stringify(shrunk.request)}`);
  for (const line of outline.lines(again.failure?.message)) print(line);
  const sizes: readonly (readonly [string, (result: SimulationResult) => string | number])[] = [
    ['faults', ({ strikes }) => strikes.length],
    ['simulated seconds', ({ simulatedMs }) => simulatedMs / 1000],
    ['nodes', ({ nodes }) => nodes],
    ['clients', ({ clients }) => clients],
    ['events', ({ events }) => events],
  ];
  print(`shrunk: ${sizes.map(([name, of]) => `${name} ${of(failed)} -> ${of(again)}`).join(', ')}`);
  print(
    `  ${shrunk.runs} runs in ${seconds.toFixed(1)} s; ${shrunk.isMinimal ? 'nothing more can be left out by itself' : 'there was no time for more'}`,
  );
  printFailure(
    again,
    shrunk.request,
    { planted: how.planted, show: '--outline', note: `trace ${again.traceHash}` },
    print,
  );
}
