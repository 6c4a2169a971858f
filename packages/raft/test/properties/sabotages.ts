import { EntryRun } from '../../src/core/entry-run.ts';
import type { LogIndex } from '../../src/core/ids.ts';
import type { AppendRequest, Message } from '../../src/core/message.ts';
import { quorumIndex } from '../../src/core/quorum.ts';
import type { CoreMember, StoredEntry } from '../../src/testing/core-member.ts';
import type { RandomCluster, Sabotage } from './random-cluster.ts';

/** Faults of the catalogue (docs/raft.md), each planted around the unchanged core. Row 22 has a scenario of its own. */
export const SABOTAGES: Readonly<Record<string, () => Sabotage>> = {
  'row 1: votes are answered before they are durable': () => ({
    acknowledgesEarly: (write, member) => write.hardState !== undefined && write.hardState.votedFor !== member.id,
  }),
  'row 2: a candidate does not persist its own vote': () => ({
    stores: (write, member) =>
      write.hardState?.votedFor === member.id
        ? { ...write, hardState: { ...write.hardState, votedFor: undefined } }
        : write,
  }),
  'row 3: the vote is forgotten when a leader of the same term is heard': () => ({
    beforeStep: (message, member, cluster) => {
      const { term, votedFor } = member.node.status();
      if (message.type !== 'append-request' || message.term !== term || votedFor === undefined) return;
      forgetVote(member, cluster);
    },
  }),
  'row 4: a repeated vote counts as another one': () => ({
    delivers: (message, cluster) => {
      if (message.type !== 'vote-response' || !message.granted) return [message];
      return cluster.members.map((member) => ({ ...message, from: member.id }));
    },
  }),
  'row 15: entries of earlier terms commit by counting': countingOldTerms,
  'row 16: an append truncates what follows it, conflict or not': () => ({
    beforeStep: (message, member, cluster) => {
      if (message.type !== 'append-request' || message.term !== member.node.status().term) return;
      const last = message.runs.at(-1)?.lastIndex ?? message.previousIndex;
      if (last < member.node.status().lastIndex) truncate(member, last, cluster);
    },
  }),
  'row 17: a conflict replaces entries but leaves the tail behind them': () => ({
    stores: (write, member) => keepTail(write.runs[0]?.firstIndex, write.lastIndex, write, member),
  }),
  'row 18: heartbeats carry a commit index beyond the verified prefix': () => ({
    delivers: (message, cluster) => {
      if (message.type !== 'heartbeat') return [message];
      const leader = cluster.member(message.from);
      const member = cluster.member(message.to);
      if (!leader.isUp || !member.isUp) return [message];
      // As far as the receiver's log goes, so that it does not notice by its length.
      const reach = Math.min(leader.node.status().commitIndex, member.node.status().lastIndex);
      return [{ ...message, commitIndex: Math.max(message.commitIndex, reach) as LogIndex }];
    },
  }),
  'row 20: the commit index is computed without a quorum': () => ({
    delivers: (message, cluster) => {
      if (message.type !== 'append-response' || !message.success) return [message];
      return cluster.members
        .filter((member) => member.id !== message.to)
        .map((member) => ({ ...message, from: member.id }));
    },
  }),
  'row 31: a new leader serves reads before it has committed in its term': () => ({ servesReadsAtOnce: true }),
};

/** As if the vote were cleared in memory and on disk: the member goes on from its own state without it. */
function forgetVote(member: CoreMember, cluster: RandomCluster): void {
  const { term, commitIndex } = member.node.status();
  if (member.write !== undefined || member.install !== undefined) return;
  cluster.crash(member, true);
  member.disk.hardState = { term, votedFor: undefined, commitIndex };
  member.start(cluster.nowMs);
}

/** As if the entries after `last` were dropped, in memory and on disk. */
function truncate(member: CoreMember, last: number, cluster: RandomCluster): void {
  if (member.install !== undefined || last < member.disk.snapshot.metadata.index || last < 1) return;
  cluster.crash(member, true);
  member.disk.entries.length = Math.min(member.disk.entries.length, last - member.disk.baseIndex);
  member.disk.hardState = { ...member.disk.hardState, commitIndex: 0 as LogIndex };
  member.start(cluster.nowMs);
}

type Write = Parameters<NonNullable<Sabotage['stores']>>[0];

function keepTail(from: number | undefined, last: number, write: Write, member: CoreMember): Write {
  const { disk } = member;
  const tail: readonly StoredEntry[] = disk.entries.slice(last - disk.baseIndex);
  if (from === undefined || tail.length === 0) return write;
  const runs = tail.map((entry, position) => {
    return new EntryRun(
      (last + 1 + position) as LogIndex,
      entry.term,
      entry.bytes,
      0,
      Uint32Array.of(entry.bytes.length),
    );
  });
  return { ...write, runs: [...write.runs, ...runs] };
}

/** Followers are told the commit index of a leader that counts every entry a quorum has, whatever its term. */
function countingOldTerms(): Sabotage {
  const matches = new Map<string, number>();
  return {
    delivers: (message, cluster) => {
      if (message.type === 'append-response' && message.success) {
        matches.set(`${message.to} ${message.term} ${message.from}`, message.matchIndex);
      }
      return [isReplication(message) ? withWrongCommit(message, matches, cluster) : message];
    },
  };
}

function isReplication(message: Message): message is AppendRequest {
  return message.type === 'append-request';
}

function withWrongCommit(
  message: AppendRequest,
  matches: ReadonlyMap<string, number>,
  cluster: RandomCluster,
): AppendRequest {
  const leader = cluster.member(message.from);
  if (!leader.isUp) return message;
  const { configuration, stableIndex } = leader.node.status();
  const counted = quorumIndex(configuration, (node) =>
    node === leader.id ? stableIndex : (matches.get(`${leader.id} ${message.term} ${node}`) ?? 0),
  );
  return { ...message, commitIndex: Math.max(message.commitIndex, counted) as LogIndex };
}
