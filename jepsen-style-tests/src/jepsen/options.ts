import { parseArgs } from 'node:util';
import { WORKLOADS, type WorkloadName } from '../workload/messages.ts';
import { PLANTED_IN_NODES } from './planted-bugs.ts';

export interface JepsenOptions {
  readonly seconds: number;
  readonly nodes: number;
  readonly seed: number;
  readonly out: string | undefined;
  readonly workloads: readonly WorkloadName[];
  readonly faults: readonly string[];
  readonly ttlMs: number;
  readonly electionTimeoutMs: number;
  readonly clients: number;
  /** A bug that is put into the nodes. */
  readonly planted: string | undefined;
}

export const USAGE: string = `npm run jepsen -- [options]

  --seconds N       how long faults and clients run (default 60); a quarter more where too little has happened by then
  --nodes N         3, 5 or 7 (default 3)
  --seed N          schedule of faults and workload (default: random, printed first)
  --out DIR         histories, logs and report.html: missing or empty (default: a new one in ./jepsen-out)
  --workload A,B    ${WORKLOADS.join(', ')} (default: all)
  --faults A,B      all, none, kill, pause, partition, network, disk, members, clock, client, or single kinds (default: all)
  --clients N       client processes that mix all workloads, beside two for the protected sets (default 4)
  --ttl MS          session TTL, at least four election time-outs (default 2500)
  --election-timeout MS   (default 500)
  --check FILE...   only judge these histories
  --control etcd    the harness's own test: the protected sets under etcd's locks, where it must see what they lose
  --planted NAME    a bug in the nodes, with the faults that show it unless others are chosen; --planted list
  --list            only list faults and workloads

exit code: 0 clean, 1 a verdict failed, 2 too little happened to judge, or it could not be run`;

export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export type Command =
  | { readonly type: 'run'; readonly options: JepsenOptions }
  | { readonly type: 'check'; readonly files: readonly string[] }
  | {
      readonly type: 'control';
      readonly seconds: number;
      readonly seed: number;
      readonly out: string | undefined;
    }
  | { readonly type: 'list' | 'list-planted' | 'help' };

/** `seed`: for a run that is given none. Throws UsageError. */
export function parseCommand(args: readonly string[], seed: number): Command {
  let values: Record<string, string | boolean | undefined>;
  let positionals: string[];
  try {
    ({ values, positionals } = parseArgs({
      args: args.filter((argument) => argument !== '--'),
      allowPositionals: true,
      options: {
        seconds: { type: 'string' },
        nodes: { type: 'string' },
        seed: { type: 'string' },
        out: { type: 'string' },
        workload: { type: 'string' },
        faults: { type: 'string' },
        clients: { type: 'string' },
        ttl: { type: 'string' },
        'election-timeout': { type: 'string' },
        check: { type: 'boolean' },
        control: { type: 'string' },
        planted: { type: 'string' },
        list: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }));
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  if (values['help'] === true) return { type: 'help' };
  if (values['list'] === true) return { type: 'list' };
  if (values['check'] === true) {
    if (positionals.length === 0) throw new UsageError('--check needs at least one history file');
    return { type: 'check', files: positionals };
  }
  if (positionals.length > 0) throw new UsageError(`unexpected argument ${positionals[0]}`);
  const whole = (name: string, fallback: number, low: number, high: number): number => {
    const text = values[name];
    if (text === undefined) return fallback;
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < low || value > high)
      throw new UsageError(`--${name} is a whole number from ${low} to ${high}`);
    return value;
  };
  if (values['control'] !== undefined) {
    if (values['control'] !== 'etcd') throw new UsageError('--control knows etcd');
    return {
      type: 'control',
      seconds: whole('seconds', 40, 5, 3600),
      seed: whole('seed', seed, 0, Number.MAX_SAFE_INTEGER),
      out: typeof values['out'] === 'string' ? values['out'] : undefined,
    };
  }
  const names = (name: string): string[] | undefined => {
    const text = values[name];
    return typeof text === 'string'
      ? text
          .split(',')
          .map((part) => part.trim())
          .filter((part) => part !== '')
      : undefined;
  };
  if (values['planted'] === 'list') return { type: 'list-planted' };
  const planted = PLANTED_IN_NODES.find(({ name }) => name === values['planted']);
  if (values['planted'] !== undefined && planted === undefined)
    throw new UsageError(`no bug is called ${values['planted']}: see --planted list`);
  const chosen = names('workload') ?? ['all'];
  const workloads = new Set<WorkloadName>();
  for (const name of chosen) {
    const matches = WORKLOADS.filter((workload) => name === 'all' || name === workload);
    if (matches.length === 0)
      throw new UsageError(`no workload is called ${name}: choose from ${WORKLOADS.join(', ')}`);
    for (const workload of matches) workloads.add(workload);
  }
  const electionTimeoutMs = whole('election-timeout', 500, 50, 60_000);
  const ttlMs = whole('ttl', Math.max(2500, 4 * electionTimeoutMs), 4 * electionTimeoutMs, 600_000);
  return {
    type: 'run',
    options: {
      seconds: whole('seconds', planted?.seconds ?? 60, 5, 86_400),
      nodes: whole('nodes', 3, 3, 9),
      seed: whole('seed', seed, 0, Number.MAX_SAFE_INTEGER),
      out: typeof values['out'] === 'string' ? values['out'] : undefined,
      workloads: [...workloads],
      faults: names('faults') ?? planted?.faults ?? ['all'],
      planted: planted?.name,
      ttlMs,
      electionTimeoutMs,
      clients: whole('clients', 4, 1, 32),
    },
  };
}
