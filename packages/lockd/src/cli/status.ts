import type { NodeStatus } from '@lockd/client/protocol';
import type { Clock } from '../clock.ts';
import { EXIT } from './exit-codes.ts';
import { askNode, type NodeAnswer } from './node-client.ts';

/** One node in `lockd status -o json`. What an unreachable node would have said is null. */
export interface StatusRow {
  readonly name: string;
  readonly reachable: boolean;
  readonly client: string | null;
  readonly pid: number | null;
  readonly role: NodeStatus['role'] | null;
  readonly reason: string | null;
  readonly term: number | null;
  readonly commitIndex: number | null;
  readonly appliedIndex: number | null;
  readonly lastIndex: number | null;
  readonly sessions: number | null;
  readonly held: number | null;
  readonly waiting: number | null;
}

export interface ClusterStatus {
  readonly leader: string | null;
  readonly term: number | null;
  readonly clusterId: string | null;
  readonly nodes: readonly StatusRow[];
}

/** Two rounds of questions, given endpoints and members learnt from them, together stay below three seconds. */
const ROUND_TIMEOUT_MS = 1200;

/** All members, whether or not they answer and whether or not anybody leads. Never rejects. */
export async function clusterStatus(
  endpoints: readonly string[],
  credentials: string | undefined,
  clock: Clock,
): Promise<ClusterStatus> {
  const answers = new Map<string, NodeAnswer>();
  const ask = async (addresses: readonly string[]): Promise<void> => {
    const fresh = [...new Set(addresses)].filter((address) => !answers.has(address));
    await Promise.all(
      fresh.map(async (address) => answers.set(address, await askNode(address, credentials, ROUND_TIMEOUT_MS, clock))),
    );
  };
  await ask(endpoints.map(normalUrl));
  const learnt = [...answers.values()].flatMap((answer) => (answer.isReachable ? answer.status.members : []));
  await ask(learnt.flatMap((member) => (member.client === null ? [] : [normalUrl(member.client)])));

  const rows = new Map<string, StatusRow>();
  let leader: { readonly name: string; readonly term: number } | undefined;
  let newestTerm = -1;
  let clusterId: string | null = null;
  for (const [address, answer] of answers) {
    if (!answer.isReachable) continue;
    const { status } = answer;
    rows.set(status.name, reachableRow(status, address));
    clusterId ??= status.clusterId;
    newestTerm = Math.max(newestTerm, status.term);
    if (status.role === 'leader' && status.term >= (leader?.term ?? -1)) leader = status;
  }
  // A leader that cannot be reached from here may still lead: believe those in the newest term.
  const named = [...answers.values()].find(
    (answer) => answer.isReachable && answer.status.term === newestTerm && answer.status.leader !== null,
  );
  const leaderName = leader?.name ?? (named?.isReachable === true ? named.status.leader : null);
  for (const member of learnt) {
    if (rows.has(member.name)) continue;
    const answer = member.client === null ? undefined : answers.get(normalUrl(member.client));
    rows.set(
      member.name,
      unreachableRow(
        member.name,
        member.client,
        answer?.isReachable === false ? answer.reason : 'its client address is not known yet',
      ),
    );
  }
  const known = new Set([...rows.values()].map((row) => (row.client === null ? null : normalUrl(row.client))));
  for (const [address, answer] of answers) {
    if (!answer.isReachable && !known.has(address)) rows.set(address, unreachableRow(address, address, answer.reason));
  }
  const nodes = [...rows.values()].sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  // Without a client address of its own, an unreachable member also stands under the address it was asked at: once is enough.
  const unnamed = nodes.filter((row) => row.name !== row.client);
  const missing = unnamed.filter((row) => row.client === null).length;
  const shown = missing > 0 && nodes.length - unnamed.length <= missing ? unnamed : nodes;
  return { leader: leaderName, term: newestTerm === -1 ? null : newestTerm, clusterId, nodes: shown };
}

export function statusExitCode(status: ClusterStatus): number {
  return status.nodes.some((node) => node.reachable) ? EXIT.ok : EXIT.unavailable;
}

export function describeStatus(status: ClusterStatus): string {
  const header = ['NODE', 'ROLE', 'TERM', 'COMMITTED', 'APPLIED', 'HELD', 'WAITING', 'SESSIONS', 'CLIENTS', 'NOTE'];
  const lines = status.nodes.map((node) => [
    node.name,
    node.reachable ? (node.role ?? '?') : 'unreachable',
    ...[node.term, node.commitIndex, node.appliedIndex, node.held, node.waiting, node.sessions].map((value) =>
      value === null ? '-' : String(value),
    ),
    node.client ?? '-',
    node.reason ?? '',
  ]);
  const rows = [header, ...lines];
  const widths = header.map((_, column) => Math.max(...rows.map((row) => (row[column] as string).length)));
  const table = rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] as number))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
  const verdict =
    status.leader === null
      ? 'No leader: nothing is granted or renewed now.'
      : `${status.leader} leads in term ${status.term}.`;
  return `${table}\n\n${verdict}\n`;
}

function reachableRow(status: NodeStatus, address: string): StatusRow {
  const { name, pid, role, reason, term, commitIndex, appliedIndex, lastIndex, sessions, held, waiting } = status;
  return {
    name,
    reachable: true,
    client: address,
    pid,
    role,
    reason,
    term,
    commitIndex,
    appliedIndex,
    lastIndex,
    sessions,
    held,
    waiting,
  };
}

function unreachableRow(name: string, client: string | null, reason: string): StatusRow {
  const nothing = {
    pid: null,
    role: null,
    term: null,
    commitIndex: null,
    appliedIndex: null,
    lastIndex: null,
    sessions: null,
    held: null,
    waiting: null,
  };
  return { name, reachable: false, client, reason, ...nothing };
}

function normalUrl(address: string): string {
  const url = address.includes('://') ? address : `ws://${address}`;
  return url.endsWith('/') ? url.slice(0, -1) : url;
}
