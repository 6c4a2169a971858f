import type { AdminAnswer } from '@lockd/client/protocol';
import type { ConfigurationChange, MemberProgress, NodeId, ProposeResult, RaftStatus } from '@lockd/raft';
import type { MemberAddress } from '@lockd/raft/node';

/** What operations need of the node that leads. */
export interface Cluster {
  readonly self: NodeId;
  /** It takes part: otherwise it will not learn of a leader. */
  takesPart(): boolean;
  status(): RaftStatus;
  proposeConfiguration(changes: readonly ConfigurationChange[]): ProposeResult;
  proposeAddress(node: NodeId, address: MemberAddress): ProposeResult;
  addressOf(node: NodeId): MemberAddress | undefined;
  instanceOf(node: NodeId): string | undefined;
  progressOf(node: NodeId): MemberProgress | undefined;
  isConfigurationConfirmed(): boolean;
  transferLeadership(to: NodeId | undefined): void;
  /** Of this node's own state, to itself. */
  makeSnapshot(): void;
  /** Where this node reaches that one, whoever has said so. */
  peerAddressOf(node: NodeId): string | undefined;
  clientAddressOf(node: NodeId): string | undefined;
  nowMs(): number;
  readonly electionTimeoutMs: number;
}

/** Not an answer for the operator: this node does not lead, or leads no more. Asking the next leader is harmless. */
export const ASK_LEADER = 'ask-leader';
export type Step = AdminAnswer | typeof ASK_LEADER | undefined;

/** One thing an operator has asked for, on the leader. */
export interface Operation {
  /** Goes one step further. Undefined: not done yet, call again. */
  step(): Step;
  /** What to answer when time is up. */
  late(): AdminAnswer;
}

export interface OperationArguments {
  readonly name: string | undefined;
  readonly peer: string | undefined;
  readonly client: string | undefined;
  readonly force: boolean;
  /** Asked before, of a leader whose answer was lost: what stands as asked may be this request's doing. */
  readonly isRepeated: boolean;
}

export function refused(reason: string, message: string, more: Readonly<Record<string, unknown>> = {}): AdminAnswer {
  return { ...more, ok: false, reason, message };
}

export function roleOf({ configuration }: RaftStatus, node: NodeId): 'voter' | 'learner' | undefined {
  const { voters, outgoing, learners, learnersNext } = configuration;
  if (voters.includes(node)) return 'voter';
  if (learners.includes(node) || learnersNext.includes(node)) return 'learner';
  return outgoing.includes(node) ? 'voter' : undefined;
}

export function membersIn({ configuration }: RaftStatus): NodeId[] {
  const { voters, outgoing, learners, learnersNext } = configuration;
  return [...new Set([...voters, ...outgoing, ...learners, ...learnersNext])].sort();
}

/** Heard from within two election time-outs. */
export function isReachable(cluster: Cluster, node: NodeId): boolean {
  if (node === cluster.self) return true;
  const progress = cluster.progressOf(node);
  return (
    progress !== undefined &&
    progress.matchIndex > 0 &&
    cluster.nowMs() - progress.lastHeardMs < 2 * cluster.electionTimeoutMs
  );
}

/** How much of the log a member has, from 0 to 1. */
export function progressShare(cluster: Cluster, node: NodeId): number {
  if (node === cluster.self) return 1;
  const { lastIndex } = cluster.status();
  return lastIndex === 0 ? 1 : (cluster.progressOf(node)?.matchIndex ?? 0) / lastIndex;
}
