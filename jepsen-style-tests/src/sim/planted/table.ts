import { availableParallelism } from 'node:os';
import { type RangeOutcome, runRange } from '../range.ts';
import { PLANTED_BUGS } from './bugs.ts';
import type { PlantedBug } from './planted-bug.ts';

/** Where the first seed no longer shows a bug, so many more are tried. */
export const SEEDS_ON = 40;

interface Row {
  readonly words: string;
  readonly isCaught: boolean;
}

/**
 * Plants every bug in turn and prints which seed shows it, and which promise is seen broken; then the same seeds without
 * the bug, which must be clean. The exit code.
 */
export async function runPlantedTable(
  jobs: number = availableParallelism(),
  print: (line: string) => void,
): Promise<number> {
  print(inColumns('row', 'planted bug', 'world', 'seed', 'promise seen broken', 'without it'));
  const rows: Row[] = [];
  const waiting = PLANTED_BUGS.entries();
  let printed = 0;
  const work = async (): Promise<void> => {
    // All workers take from one list, and print in its order.
    for (const [at, bug] of waiting) {
      rows[at] = await tried(bug);
      for (let row = rows[printed]; row !== undefined; row = rows[printed]) {
        print(row.words);
        printed += 1;
      }
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  const caught = rows.filter(({ isCaught }) => isCaught).length;
  print(`${caught} of ${rows.length} planted bugs are caught, and their seeds are clean without them`);
  return caught === rows.length ? 0 : 1;
}

async function tried(bug: PlantedBug): Promise<Row> {
  const { name, row, shownBy } = bug;
  const { world, seed } = shownBy;
  const of = (found: string, promise: string, without: string): string =>
    inColumns(row === undefined ? '' : String(row), name, world, found, promise, without);
  try {
    const { failed } = await seeds(bug, name, seed + SEEDS_ON);
    if (failed === undefined) return { words: of(`${seed}..${seed + SEEDS_ON}`, 'NOT CAUGHT', ''), isCaught: false };
    const found = failed.result.seed;
    const clean = await seeds(bug, undefined, found);
    const isClean = clean.failed === undefined;
    const promise = failed.result.failure?.promise ?? '';
    return { words: of(String(found), promise, isClean ? 'clean' : 'FAILS TOO'), isCaught: isClean };
  } catch (error) {
    // Its edits fit no more.
    return { words: of('', `NOT PLANTED: ${String(error)}`, ''), isCaught: false };
  }
}

function seeds({ shownBy }: PlantedBug, planted: string | undefined, to: number): Promise<RangeOutcome> {
  const { world, seed, faults } = shownBy;
  return runRange({ from: seed, to, nodes: undefined, faults, planted, jobs: 1 }, [world], () => undefined);
}

function inColumns(row: string, name: string, world: string, seed: string, promise: string, without: string): string {
  return `${row.padStart(3)}  ${name.padEnd(30)} ${world.padEnd(8)} ${seed.padStart(7)}  ${promise.padEnd(30)} ${without}`.trimEnd();
}
