import { logIndex, nodeId, type ReadRound, term } from '../../src/core/ids.ts';
import { configurationOf } from '../../src/core/membership.ts';
import type { AppendRequest, Heartbeat, Message, VoteRequest, VoteResponse } from '../../src/core/message.ts';
import type { RaftOptions } from '../../src/core/options.ts';
import { DEFAULT_RAFT_OPTIONS } from '../../src/testing/core-cluster.ts';
import { CoreMember, commandOf, emptyDisk, runsOf } from '../../src/testing/core-member.ts';
import { seededRandom } from '../../src/testing/seeded-random.ts';

const ID = nodeId('a');

/**
 * One node, `a`, of a cluster whose other members are played by the test. Its log begins with entries of the given
 * terms (the configuration stands before it), and it is in the given term.
 */
export class Subject {
  nowMs = 0;
  readonly member: CoreMember;
  sent: Message[] = [];

  constructor(
    names: readonly string[] = ['a', 'b', 'c'],
    logTerms: readonly number[] = [],
    inTerm = logTerms.at(-1) ?? 0,
    raft: Partial<RaftOptions> = {},
  ) {
    const disk = emptyDisk(configurationOf(names.map(nodeId)));
    disk.entries = logTerms.map((value, position) => ({ term: term(value), bytes: commandOf(`${position + 1}`) }));
    disk.hardState = { term: term(inTerm), votedFor: undefined, commitIndex: logIndex(0) };
    this.member = new CoreMember({ ...DEFAULT_RAFT_OPTIONS, ...raft, id: ID, random: seededRandom(1) }, disk, 0);
  }

  get status(): ReturnType<CoreMember['node']['status']> {
    return this.member.node.status();
  }

  /** What it has sent since the last call, after everything that its disk and state machine can complete at once. */
  settle(): Message[] {
    do this.sent.push(...this.takeUnsettled());
    while (this.member.completeWrite(this.nowMs) || this.member.completeApply(this.nowMs));
    return this.sent.splice(0);
  }

  /** What it sends before its disk has done anything. */
  takeUnsettled(): Message[] {
    this.member.pull();
    return this.member.outbox.splice(0);
  }

  receive(message: Message): Message[] {
    this.member.step({ type: 'receive', message }, this.nowMs);
    return this.settle();
  }

  /** Lets its election time-out pass. */
  timeOut(): Message[] {
    this.nowMs = Math.max(this.nowMs, this.member.node.nextDeadlineMs());
    this.member.step({ type: 'tick' }, this.nowMs);
    return this.settle();
  }

  /** Makes it a candidate: its pre-vote is granted by everybody. */
  becomeCandidate(): Message[] {
    for (const asked of this.timeOut()) {
      if (asked.type === 'vote-request') this.member.step({ type: 'receive', message: grant(asked) }, this.nowMs);
    }
    return this.settle();
  }

  becomeLeader(): Message[] {
    for (const asked of this.becomeCandidate()) {
      if (asked.type === 'vote-request') this.member.step({ type: 'receive', message: grant(asked) }, this.nowMs);
    }
    return this.settle();
  }
}

export function grant(request: VoteRequest): VoteResponse {
  const { from: to, to: from, term: asked, preVote } = request;
  return { type: 'vote-response', from, to, term: asked, preVote, granted: true };
}

export function refusal(request: VoteRequest, inTerm: number): VoteResponse {
  return { ...grant(request), granted: false, term: term(inTerm) };
}

export function voteRequest(
  from: string,
  inTerm: number,
  last: readonly [index: number, term: number],
  more: Partial<VoteRequest> = {},
): VoteRequest {
  return {
    type: 'vote-request',
    from: nodeId(from),
    to: ID,
    term: term(inTerm),
    preVote: false,
    lastLogIndex: logIndex(last[0]),
    lastLogTerm: term(last[1]),
    transfer: false,
    ...more,
  };
}

/** Entries of the given terms after the point `previous`. */
export function appendRequest(
  from: string,
  inTerm: number,
  previous: readonly [index: number, term: number],
  terms: readonly number[],
  commitIndex = 0,
  label = '',
): AppendRequest {
  const entries = terms.map((value, position) => ({
    term: term(value),
    bytes: commandOf(`${label}${previous[0] + position + 1}`),
  }));
  return {
    type: 'append-request',
    from: nodeId(from),
    to: ID,
    term: term(inTerm),
    previousIndex: logIndex(previous[0]),
    previousTerm: term(previous[1]),
    runs: runsOf(previous[0] + 1, entries),
    commitIndex: logIndex(commitIndex),
  };
}

export function heartbeat(from: string, inTerm: number, commitIndex = 0, round = 0): Heartbeat {
  return {
    type: 'heartbeat',
    from: nodeId(from),
    to: ID,
    term: term(inTerm),
    commitIndex: logIndex(commitIndex),
    round: round as ReadRound,
  };
}

export function accepted(from: string, inTerm: number, matchIndex: number): Message {
  const index = logIndex(matchIndex);
  return {
    type: 'append-response',
    from: nodeId(from),
    to: ID,
    term: term(inTerm),
    success: true,
    matchIndex: index,
    hintIndex: index,
    hintTerm: term(inTerm),
  };
}

export function refused(
  from: string,
  inTerm: number,
  previousIndex: number,
  hint: readonly [index: number, term: number],
): Message {
  return {
    type: 'append-response',
    from: nodeId(from),
    to: ID,
    term: term(inTerm),
    success: false,
    matchIndex: logIndex(previousIndex),
    hintIndex: logIndex(hint[0]),
    hintTerm: term(hint[1]),
  };
}

export { logIndex, nodeId, term };
