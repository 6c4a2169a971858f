import type { ClusterEvent } from '../cluster/cluster.ts';
import type { HistoryLine } from '../history/history-line.ts';
import type { FaultRecord } from '../nemesis/fault.ts';

/**
 * What the page draws, as compact as 100,000 operations need: times are milliseconds since the start of the run, one
 * decimal below a millisecond, and operations are flat rows of numbers.
 */
export interface TimelineData {
  readonly lengthMs: number;
  readonly ends: readonly string[];
  readonly outcomes: readonly string[];
  readonly roles: readonly string[];
  readonly keys: readonly string[];
  readonly clients: readonly string[];
  /** [client, key, callMs, grantMs, endMs, token, end] for each grant; `end` is an index into `ends`. */
  readonly holds: readonly (readonly number[])[];
  /** [client, key, callMs, endMs, outcome] for each request that was not granted; `outcome` is an index into `outcomes`. */
  readonly refusals: readonly (readonly number[])[];
  readonly nodes: readonly {
    readonly name: string;
    /** [startMs, endMs, role, term]; `role` is an index into `roles`. */
    readonly roles: readonly (readonly number[])[];
  }[];
  readonly faults: readonly {
    readonly kind: string;
    readonly track: string;
    readonly target: string;
    readonly fromMs: number;
    readonly toMs: number;
    readonly worked: boolean;
    readonly evidence: string;
  }[];
  /** Answered operations in each second. */
  readonly rate: readonly number[];
}

const ENDS = [
  'released',
  'LOST, and told so',
  'ended by the service, or without an answer',
  'its own lease or maxHold ran out',
  'stolen',
] as const;
const OUTCOMES = ['refused', 'no certain answer'] as const;
const ROLES = [
  'silent',
  'follower',
  'candidate',
  'leader',
  'learner',
  'joining',
  'damaged',
  'disk-full',
  'removed',
  'away',
] as const;

export interface TimelineInput {
  readonly lines: readonly HistoryLine[];
  readonly faults: readonly FaultRecord[];
  readonly events: readonly ClusterEvent[];
  readonly startNs: number;
  readonly endNs: number;
}

export function timelineData({ lines, faults, events, startNs, endNs }: TimelineInput): TimelineData {
  const ms = (instantNs: number): number => Math.round((instantNs - startNs) / 1e5) / 10;
  const keys = index();
  const clients = index();
  const releases = new Map<string, HistoryLine>();
  const expires = new Map<string, HistoryLine>();
  const robbed = new Set<string>();
  const rate: number[] = Array.from({ length: Math.max(1, Math.ceil((endNs - startNs) / 1e9)) }, () => 0);
  for (const line of lines) {
    if (line.thief !== undefined) robbed.add(`${line.key} ${line.owner}`);
    else if (line.op === 'release') releases.set(`${line.key} ${line.owner}`, line);
    if (line.op === 'expire') expires.set(`${line.key} ${line.owner}`, line);
    const second = Math.floor(((line.return ?? 0) - startNs) / 1e9);
    if (line.return !== null && second >= 0 && second < rate.length) rate[second] = (rate[second] as number) + 1;
  }
  const holds: number[][] = [];
  const refusals: number[][] = [];
  for (const line of [...lines].sort((a, b) => a.call - b.call)) {
    if (line.op !== 'acquire') continue;
    const client = clients.of(line.client);
    const key = keys.of(line.key);
    if (line.result === 'ok' && line.return !== null) {
      const id = `${line.key} ${line.owner}`;
      const release = releases.get(id);
      const expire = expires.get(id);
      const isLost = expire?.told !== undefined;
      const isDead = !isLost && release?.result !== 'ok' && expire !== undefined;
      const end = isLost ? expire.told : isDead ? expire.call : (release?.call ?? endNs);
      holds.push([
        client,
        key,
        ms(line.call),
        ms(line.return),
        ms(Math.max(end, line.return)),
        line.token ?? 0,
        isLost ? lossOf(line, expire, robbed.has(id)) : isDead ? 2 : 0,
      ]);
    } else {
      const end = line.return ?? line.until ?? line.call;
      refusals.push([client, key, ms(line.call), ms(Math.max(end, line.call)), line.result === 'fail' ? 0 : 1]);
    }
  }

  const names = [...new Set(events.map(({ node }) => node))].sort();
  const nodes = names.map((name) => {
    const own = events.filter(({ node }) => node === name);
    const roles = own.map((event, at) => {
      const until = own[at + 1]?.atNs ?? endNs;
      const role = ROLES.indexOf(event.status?.role ?? (event.isAway === true ? 'away' : 'silent'));
      return [ms(event.atNs), ms(until), Math.max(0, role), event.status?.term ?? 0];
    });
    return { name, roles };
  });
  return {
    lengthMs: ms(endNs),
    ends: ENDS,
    outcomes: OUTCOMES,
    roles: ROLES,
    keys: keys.names,
    clients: clients.names,
    holds,
    refusals,
    nodes,
    faults: faults.map((fault) => ({
      kind: fault.kind,
      track: fault.track,
      target: fault.target,
      fromMs: ms(fault.startNs),
      toMs: ms(fault.endNs),
      worked: fault.worked,
      evidence: fault.evidence,
    })),
    rate,
  };
}

/** An index into `ENDS`, for a grant whose holder was told of its end. */
function lossOf(grant: HistoryLine, expire: HistoryLine, isRobbed: boolean): number {
  const ownNs = Math.min(grant.lease ?? Infinity, grant.maxHold ?? Infinity);
  // The SDK counts less than what it asked for, and from before the grant.
  if (expire.told !== undefined && expire.told - grant.call >= ownNs * 0.6) return 3;
  return isRobbed ? 4 : 1;
}

function index(): { readonly names: string[]; of(name: string): number } {
  const known = new Map<string, number>();
  const names: string[] = [];
  return {
    names,
    of(name) {
      let at = known.get(name);
      if (at === undefined) {
        at = names.length;
        known.set(name, at);
        names.push(name);
      }
      return at;
    },
  };
}
