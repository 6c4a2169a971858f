import { parseArgs } from 'node:util';

export interface Options {
  readonly from: number;
  readonly to: number;
  readonly nodes: number | undefined;
  readonly isTraced: boolean;
  readonly jobs: number | undefined;
  readonly planted: string | undefined;
}

export const USAGE: string = `npm run sim -- [options]
  --seed N          one seed (default: drawn from the clock)
  --seeds A..B      a range, both ends included
  --nodes N         members at first, 3 to 7 (default: drawn from the seed)
  --trace           every event in words
  --jobs N          processes for a range (default: one a core)
  --planted NAME    run with a bug planted in the code; --planted list names them
`;

/** The options, or in words what is wrong with them. */
export function parseOptions(args: readonly string[], freshSeed: () => number): Options | string {
  let values;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        seed: { type: 'string' },
        seeds: { type: 'string' },
        nodes: { type: 'string' },
        trace: { type: 'boolean', default: false },
        jobs: { type: 'string' },
        planted: { type: 'string' },
      },
    }));
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  const seed = values.seed === undefined ? undefined : Number(values.seed);
  const range = values.seeds === undefined ? undefined : /^(\d+)\.\.(\d+)$/.exec(values.seeds);
  const nodes = values.nodes === undefined ? undefined : Number(values.nodes);
  const jobs = values.jobs === undefined ? undefined : Number(values.jobs);
  if (seed !== undefined && !(Number.isSafeInteger(seed) && seed >= 0)) return '--seed is a whole number';
  if (range === null) return '--seeds is a range like 1..2000';
  if (seed !== undefined && range !== undefined) return 'either --seed or --seeds';
  if (nodes !== undefined && !(Number.isInteger(nodes) && nodes >= 3 && nodes <= 7)) return '--nodes is 3 to 7';
  if (jobs !== undefined && !(Number.isInteger(jobs) && jobs >= 1)) return '--jobs is at least 1';
  const only = seed ?? freshSeed();
  const [from, to] = range === undefined ? [only, only] : [Number(range[1]), Number(range[2])];
  if (to < from) return '--seeds ends before it begins';
  return { from, to, nodes, isTraced: values.trace, jobs, planted: values.planted };
}
