import { median } from '../measure/statistics.ts';

/** One hot path by itself, in this process. */
export interface MicroCase {
  /** Path and what one operation of it is, such as `codec: encode a frame of 64 acquires, per message`. */
  readonly name: string;
  /** For slow paths: only one operation for so many of the others'. Default 1. */
  readonly operationsDivisor?: number;
  /** Builds what the case works on; called once, before it is timed. */
  prepare(): MicroRun | Promise<MicroRun>;
}

export interface MicroRun {
  /** Does `operations` of them, or a little more; returns how many it did. Must check that they did what they should. */
  run(operations: number): number | Promise<number>;
  close?(): void | Promise<void>;
}

export interface MicroOptions {
  /** Operations in each sample; the harness runs as many unmeasured ones first. */
  readonly operations: number;
  readonly samples: number;
}

export interface MicroResult {
  readonly name: string;
  /** Median and smallest over the samples, in nanoseconds an operation. */
  readonly nanosMedian: number;
  readonly nanosMin: number;
  readonly operations: number;
}

interface Prepared {
  readonly name: string;
  readonly run: MicroRun;
  readonly perSample: number;
  readonly nanos: number[];
  operations: number;
}

/** Runs the cases, their samples taking turns, so that what slows the machine for a while slows all of them. */
export async function runMicro(cases: readonly MicroCase[], options: MicroOptions): Promise<readonly MicroResult[]> {
  const prepared: Prepared[] = [];
  try {
    for (const each of cases) {
      const perSample = Math.max(1, Math.round(options.operations / (each.operationsDivisor ?? 1)));
      prepared.push({ name: each.name, run: await each.prepare(), perSample, nanos: [], operations: 0 });
    }
    for (const { run, perSample } of prepared) await run.run(perSample);
    for (let sample = 0; sample < options.samples; sample++) {
      for (const entry of prepared) {
        const begun = performance.now();
        const done = await entry.run.run(entry.perSample);
        entry.nanos.push(((performance.now() - begun) * 1e6) / done);
        entry.operations += done;
      }
    }
    return prepared.map(({ name, nanos, operations }) => ({
      name,
      nanosMedian: median(nanos),
      nanosMin: Math.min(...nanos),
      operations,
    }));
  } finally {
    for (const { run } of prepared) await run.close?.();
  }
}
