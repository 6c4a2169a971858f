import { parseArgs } from 'node:util';
import { type Limits, type SimulationRequest, WORLDS, type WorldName } from './simulation.ts';

export interface Options {
  readonly from: number;
  readonly to: number;
  readonly nodes: number | undefined;
  /** Kinds of faults that are drawn. Undefined: those that each seed picks. */
  readonly faults: readonly string[] | undefined;
  /** Undefined: see `worldsOf`. */
  readonly world: WorldName | undefined;
  readonly limits: Limits | undefined;
  readonly show: 'nothing' | 'outline' | 'trace' | 'hashes';
  /** How long a failure is shrunk, in real time. 0: not at all. */
  readonly shrinkSeconds: number;
  readonly jobs: number | undefined;
  readonly planted: string | undefined;
}

/** How long a failure is shrunk unless it is said: where it was asked for, and at the end of a range. */
const SHRINK_SECONDS = { asked: 120, range: 20 };

export const USAGE: string = `npm run sim -- [options]
  --seed N            one seed (default: drawn from the clock)
  --seeds A..B        a range, both ends included; its first failure is shrunk for ${SHRINK_SECONDS.range} seconds
  --world NAME        raft, or service; without it every seed is run in both
  --nodes N           members at first, 3 to 7 (default: drawn from the seed)
  --fault NAME        only this kind of fault, by its name in the counts; may be repeated
  --trace             every event in words
  --outline           who leads, faults, and the last events
  --hash              only the seeds and the hashes of their traces, to compare
  --jobs N            processes for a range (default: one a core)
  --planted NAME      a run that shows a bug planted in the code, or --seed or --seeds with it; --planted list names them
  --planted all       plants each in turn, and prints which seed and which promise show it
  --shrink            leave out of a failing run what it does not need to fail
  --shrink-seconds N  for so long at most; 0 for not at all

What is left out of a run, as --shrink prints it (one seed only):
  --only A,B          these faults and no others, by the names they have in the trace; --only none
  --until SECONDS     faults end then at the latest
  --gap SECONDS       between two faults at most
  --clients N         at most
  --calm A,B          parts of the surroundings that behave
`;

const NONE = 'none';
const NAMES = /^[\w.-]+(,[\w.-]+)*$/;

/** The options, or in words what is wrong with them. `seedFor`: which seed where none is asked for. */
export function parseOptions(
  args: readonly string[],
  seedFor: (planted: string | undefined) => number,
): Options | string {
  let values;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        seed: { type: 'string' },
        seeds: { type: 'string' },
        world: { type: 'string' },
        nodes: { type: 'string' },
        fault: { type: 'string', multiple: true },
        trace: { type: 'boolean', default: false },
        outline: { type: 'boolean', default: false },
        hash: { type: 'boolean', default: false },
        jobs: { type: 'string' },
        planted: { type: 'string' },
        shrink: { type: 'boolean', default: false },
        'shrink-seconds': { type: 'string' },
        only: { type: 'string' },
        until: { type: 'string' },
        gap: { type: 'string' },
        clients: { type: 'string' },
        calm: { type: 'string' },
      },
    }));
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  const seed = numberOf(values.seed);
  const range = values.seeds === undefined ? undefined : /^(\d+)\.\.(\d+)$/.exec(values.seeds);
  const nodes = numberOf(values.nodes);
  const jobs = numberOf(values.jobs);
  const seconds = numberOf(values['shrink-seconds']);
  if (seed !== undefined && !(Number.isSafeInteger(seed) && seed >= 0)) return '--seed is a whole number';
  if (range === null) return '--seeds is a range like 1..2000';
  if (seed !== undefined && range !== undefined) return 'either --seed or --seeds';
  const world = WORLDS.find((name) => name === values.world);
  if (values.world !== undefined && world === undefined) return `--world is ${WORLDS.join(' or ')}`;
  if (nodes !== undefined && !(Number.isInteger(nodes) && nodes >= 3 && nodes <= 7)) return '--nodes is 3 to 7';
  if (jobs !== undefined && !(Number.isInteger(jobs) && jobs >= 1)) return '--jobs is at least 1';
  if (seconds !== undefined && !(seconds >= 0)) return '--shrink-seconds is a number';
  if ([values.trace, values.outline, values.hash].filter(Boolean).length > 1)
    return 'one of --trace, --outline and --hash';
  const limits = parseLimits(values);
  if (typeof limits === 'string') return limits;
  if (limits !== undefined && seed === undefined) return 'what is left out belongs to one seed: --seed';
  const only = seed ?? seedFor(values.planted);
  const [from, to] = range === undefined ? [only, only] : [Number(range[1]), Number(range[2])];
  if (to < from) return '--seeds ends before it begins';
  const usual = values.shrink ? SHRINK_SECONDS.asked : range === undefined ? 0 : SHRINK_SECONDS.range;
  return {
    from,
    to,
    nodes,
    faults: values.fault,
    world,
    limits,
    show: values.trace ? 'trace' : values.outline ? 'outline' : values.hash ? 'hashes' : 'nothing',
    shrinkSeconds: seconds ?? usual,
    jobs,
    planted: values.planted,
  };
}

/** The worlds that every seed is run in: both, unless it is said, or something is asked for that belongs to one. */
export function worldsOf({ world, limits }: Options, ofPlanted: WorldName | undefined): readonly WorldName[] {
  const one = world ?? ofPlanted ?? (limits === undefined ? undefined : 'raft');
  return one === undefined ? WORLDS : [one];
}

/** The options that ask for this run, for people to paste. */
export function optionsOf({ seed, world, nodes, faults = [], limits = {} }: SimulationRequest): string {
  const { only, untilMs, gapMs, clients, calm } = limits;
  return [
    `--seed ${seed}`,
    world === undefined ? [] : `--world ${world}`,
    nodes === undefined ? [] : `--nodes ${nodes}`,
    faults.map((fault) => `--fault '${fault}'`),
    only === undefined ? [] : `--only ${only.length === 0 ? NONE : only.join(',')}`,
    untilMs === undefined ? [] : `--until ${untilMs / 1000}`,
    gapMs === undefined ? [] : `--gap ${gapMs / 1000}`,
    clients === undefined ? [] : `--clients ${clients}`,
    calm === undefined || calm.length === 0 ? [] : `--calm ${calm.join(',')}`,
  ]
    .flat()
    .join(' ');
}

function parseLimits(
  values: Readonly<Partial<Record<'only' | 'until' | 'gap' | 'clients' | 'calm', string>>>,
): Limits | string | undefined {
  const untilMs = millisecondsOf(values.until);
  const gapMs = millisecondsOf(values.gap);
  const clients = numberOf(values.clients);
  if (values.only !== undefined && !NAMES.test(values.only)) return '--only is a list like 3,7,n2.votes.4, or none';
  if (values.calm !== undefined && !NAMES.test(values.calm)) return '--calm is a list like loss,drift';
  if (untilMs !== undefined && !(untilMs >= 0)) return '--until is a time in seconds';
  if (gapMs !== undefined && !(gapMs >= 0)) return '--gap is a time in seconds';
  if (clients !== undefined && !(Number.isInteger(clients) && clients >= 1)) return '--clients is at least 1';
  const limits = {
    only: values.only === undefined ? undefined : values.only === NONE ? [] : values.only.split(','),
    untilMs,
    gapMs,
    clients,
    calm: values.calm?.split(','),
  };
  return Object.values(limits).every((limit) => limit === undefined) ? undefined : limits;
}

function numberOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

function millisecondsOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Math.round(Number(text) * 1000);
}
