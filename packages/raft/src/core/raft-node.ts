import type { ConfigurationChange } from './configuration.ts';
import type { EntryRun } from './entry-run.ts';
import type { LogIndex, NodeId, ReadRound, Term } from './ids.ts';
import type { Input } from './input.ts';
import { assertNever, invariant } from './invariant.ts';
import { isFromLeader, type Message, type VoteRequest } from './message.ts';
import { NodeState } from './node-state.ts';
import type { InitialState, MemberProgress, ProposeResult, RaftOptions, RaftStatus, Refusal } from './options.ts';
import type { Ready } from './ready.ts';
import { Candidate } from './roles/candidate.ts';
import { Follower } from './roles/follower.ts';
import { Leader } from './roles/leader.ts';
import { PreCandidate } from './roles/pre-candidate.ts';
import type { RoleBehaviour, Transitions } from './roles/role.ts';

const NO_SNAPSHOTS: Ready['sendSnapshots'] = [];

/**
 * One member of a Raft group, without IO: what happens is stepped in, what the driver owes comes out of
 * `takeReady`. The same inputs with the same options give the same outputs.
 *
 * A turn of the driver: any number of `step`, `propose`, `requestRead`, then `takeReady` until it is undefined.
 * Time is monotonic, in whole milliseconds; nothing falls due but in a `tick`, and `nextDeadlineMs` says when one
 * is needed. Peers cannot make it throw; an `InvariantViolation` means that the process must stop.
 */
export class RaftNode {
  readonly #state: NodeState;
  #role: RoleBehaviour;
  /** The same object as `#role` while this node leads. */
  #leader: Leader | undefined;

  constructor(options: RaftOptions, initial: InitialState, nowMs: number) {
    invariant(
      options.heartbeatMs > 0 && options.heartbeatMs * 5 <= options.electionTimeoutMs,
      'the heartbeat is at most a fifth of the election time-out',
    );
    invariant(
      options.maxInflightMessages > 0 && options.maxInflightBytes > 0 && options.maxAppendBytes > 0,
      'windows are not empty',
    );
    this.#state = new NodeState(options, initial, nowMs);
    this.#role = new Follower(this.#state, this.#transitions);
  }

  /** Takes one thing that happened. `nowMs` never goes back; where it does, it counts as standing still. */
  step(input: Input, nowMs: number): void {
    const state = this.#state;
    this.#advanceTime(nowMs);
    switch (input.type) {
      case 'tick':
        this.#role.tick();
        return;
      case 'receive':
        this.#receive(input.message);
        return;
      case 'persisted':
        if (!state.lane.written(input.write)) return;
        state.log.markStable(input.lastIndex, input.term);
        this.#written(input.write);
        return;
      case 'applied':
        if (state.applied(input.lastIndex)) this.#leader?.configurationApplied();
        return;
      case 'unreachable':
        this.#leader?.unreachable(input.peer);
        return;
      case 'link-closed':
        this.#role.linkClosed(input.peer);
        return;
      case 'snapshot-advanced':
        this.#leader?.snapshotAdvanced(input.peer);
        return;
      case 'snapshot-sent':
        this.#leader?.snapshotSent(input.peer, input.ok);
        return;
      case 'snapshot-installed': {
        const installed = state.lane.installed(input.index);
        if (installed === undefined) return;
        state.snapshotInstalled(installed);
        this.#written(undefined);
        return;
      }
      case 'snapshot-created':
        // Not what is applied but not durable here yet: a write that is out may still be followed by its entries.
        invariant(input.compactTo <= input.metadata.index, 'compaction stays within the snapshot');
        state.compactTo(input.compactTo);
        return;
      case 'transfer-leadership':
        this.#leader?.transferTo(input.to);
        return;
      case 'abdicate':
        if (this.#leader !== undefined) this.#becomeFollower(state.term, undefined);
        return;
      case 'campaign':
        if (this.#leader === undefined && state.canCampaign) this.#preCampaign();
        return;
      default:
        assertNever(input);
    }
  }

  /**
   * Entries for the log, each beginning with `ENTRY_KIND.command`: entry `i` is `bytes[ends[i - 1] ?? start, ends[i])`.
   * The buffers are given away. Accepted is not committed: the entries stand at `firstIndex` on if they commit
   * with this term, and are gone if another leader's take their place. `awaitedBy`: the member that hears of their commit
   * at once, and not with the next entries.
   */
  propose(bytes: Uint8Array, start: number, ends: Uint32Array, nowMs: number, awaitedBy?: NodeId): ProposeResult {
    this.#advanceTime(nowMs);
    return this.#leader?.propose(bytes, start, ends, awaitedBy) ?? this.#notLeader();
  }

  /**
   * Changes the members, in one step where one voter changes and through a joint configuration otherwise; no changes at
   * all leave a joint configuration. One change at a time: the next one is refused until this one is applied.
   */
  proposeConfiguration(changes: readonly ConfigurationChange[], nowMs: number): ProposeResult {
    this.#advanceTime(nowMs);
    return this.#leader?.proposeConfiguration(changes) ?? this.#notLeader();
  }

  /** A round that starts after this call: reads are linearizable once a Ready confirms it and its index is applied. */
  requestRead(nowMs: number): { readonly type: 'round'; readonly round: ReadRound } | Refusal {
    this.#advanceTime(nowMs);
    return this.#leader?.requestRead() ?? this.#notLeader();
  }

  /** What the driver owes after this turn; undefined when there is nothing to do. */
  takeReady(): Ready | undefined {
    const state = this.#state;
    this.#leader?.endTurn();
    const persist = state.lane.takeWrite(state.log, state);
    const install = persist === undefined ? state.lane.takeInstall() : undefined;
    const committed = state.takeCommitted();
    const reads = this.#leader?.takeReads();
    const sendSnapshots = this.#leader?.takeSnapshots() ?? NO_SNAPSHOTS;
    const messages = state.takeMessages();
    const forgotten = state.takeForgotten();
    const isEmpty =
      persist === undefined &&
      install === undefined &&
      reads === undefined &&
      forgotten === undefined &&
      committed.length === 0 &&
      sendSnapshots.length === 0 &&
      messages.length === 0;
    return isEmpty ? undefined : { messages, persist, committed, reads, sendSnapshots, install, forgotten };
  }

  /** When the next `tick` is due. Changes with every step. */
  nextDeadlineMs(): number {
    return this.#role.deadlineMs();
  }

  status(): RaftStatus {
    const state = this.#state;
    return {
      id: state.id,
      ...state.facts(),
      isReady: this.#leader?.isReady ?? false,
      transferringTo: this.#leader?.transferringTo,
    };
  }

  /** How far this leader has brought another member; undefined on other nodes and for strangers. */
  progressOf(peer: NodeId): MemberProgress | undefined {
    return this.#leader?.progressOf(peer);
  }

  /** A quorum knows for good that the configuration in force is committed: whoever left it is needed no more. */
  get isConfigurationConfirmed(): boolean {
    const { log, appliedIndex, isConfigurationConfirmed } = this.#state;
    return isConfigurationConfirmed && log.lastConfigurationIndex(appliedIndex, log.lastIndex) === undefined;
  }

  /** The term of an entry that is kept, or of the point before the first one. */
  termAt(index: LogIndex): Term | undefined {
    return this.#state.log.termAt(index);
  }

  /** Entries that are kept, both ends included, sharing the node's buffers: for tests and tools. */
  entriesBetween(from: LogIndex, to: LogIndex): readonly EntryRun[] {
    return this.#state.log.runsBetween(from, to);
  }

  /** The entry before the first one kept; 0 where none has been dropped. */
  get baseIndex(): LogIndex {
    return this.#state.log.baseIndex;
  }

  /** For tests: the election time-out in force, until it is drawn again. */
  setElectionTimeout(timeoutMs: number): void {
    this.#state.timer.set(timeoutMs);
  }

  #advanceTime(nowMs: number): void {
    if (nowMs > this.#state.nowMs) this.#state.nowMs = nowMs;
  }

  #notLeader(): Refusal {
    return { type: 'refused', reason: 'not-leader', leader: this.#state.leader };
  }

  #written(write: number | undefined): void {
    const state = this.#state;
    if (write !== undefined) state.trace({ type: 'durable', write });
    state.releaseHeld();
    this.#role.written();
  }

  /** Settles terms (§5.1), then leaves the message to the role. */
  #receive(message: Message): void {
    const state = this.#state;
    if (message.to !== state.id || message.from === state.id || state.isMute) return;
    if (state.options.trace !== undefined) state.trace({ type: 'receive', message });
    if (message.term < state.term) {
      this.#answerOldTerm(message);
      return;
    }
    if (message.term > state.term) {
      // Who hears a leader supports no campaign, not even by taking over its term (§6, thesis §4.2.3): a node that was cut off or
      // removed cannot depose a leader that works (row 6).
      if (message.type === 'vote-request' && !message.transfer && state.hasLiveLeader) return;
      // A pre-vote asks about a term that nobody has entered.
      const isHypothetical =
        (message.type === 'vote-request' && message.preVote) ||
        (message.type === 'vote-response' && message.preVote && message.granted);
      if (!isHypothetical) this.#becomeFollower(message.term, isFromLeader(message) ? message.from : undefined);
    }
    if (message.type === 'vote-request') this.#answerVote(message);
    else if (isExpected(message, state.term)) this.#role.receive(message);
  }

  /**
   * The sender is behind. It learns the term from the answer: else, with stickiness in force, a node in a later term
   * whose log is too short to win could neither be led nor be elected, for ever (rows 7, 8).
   */
  #answerOldTerm(message: Message): void {
    const state = this.#state;
    const { id, term } = state;
    if (isFromLeader(message)) {
      const matchIndex = message.type === 'append-request' ? message.previousIndex : (0 as LogIndex);
      state.send({
        type: 'append-response',
        from: id,
        to: message.from,
        term,
        success: false,
        matchIndex,
        hintIndex: matchIndex,
        hintTerm: 0 as Term,
      });
    } else if (message.type === 'vote-request') {
      state.send({ type: 'vote-response', from: id, to: message.from, term, preVote: message.preVote, granted: false });
    }
  }

  /**
   * Votes whatever it believes about its own membership: a configuration in which it is a voter may be
   * committed and not known here yet (row 14).
   */
  #answerVote(request: VoteRequest): void {
    const state = this.#state;
    const { id, term, log } = state;
    const { from: to, preVote } = request;
    const isFree =
      state.votedFor === to ||
      (state.votedFor === undefined && state.leader === undefined) ||
      (preVote && request.term > term);
    const isBehind = !log.isUpToDate(request.lastLogIndex, request.lastLogTerm);
    if (isBehind && !state.isVoter && state.configuration.voters.includes(to)) state.isMissed = true;
    if (!isFree || isBehind) {
      state.send({ type: 'vote-response', from: id, to, term, preVote, granted: false });
    } else if (preVote) {
      // With the term that was asked about: the sender must not take it for an old answer.
      state.send({ type: 'vote-response', from: id, to, term: request.term, preVote, granted: true });
    } else {
      state.vote(to);
      state.timer.granted(state.nowMs);
      state.sendWhenDurable({ type: 'vote-response', from: id, to, term, preVote, granted: true });
    }
  }

  #becomeFollower(term: Term, leader: NodeId | undefined): void {
    const state = this.#state;
    if (this.#leader !== undefined) state.reads.abandon();
    if (term > state.term) state.enterTerm(term);
    state.leader = leader;
    state.leaderHeardMs = state.nowMs;
    state.timer.redraw(state.nowMs);
    this.#enter('follower', new Follower(state, this.#transitions));
    state.trace({ type: 'role' });
  }

  #preCampaign(): void {
    const state = this.#state;
    if (!state.canCampaign) {
      this.#becomeFollower(state.term, undefined);
      return;
    }
    state.leader = undefined;
    state.timer.startAttempt(state.nowMs);
    const role = new PreCandidate(state, this.#transitions);
    this.#enter('pre-candidate', role);
    state.trace({ type: 'role' });
    role.start();
  }

  #becomeCandidate(isTransfer: boolean): void {
    const state = this.#state;
    state.leader = undefined;
    state.timer.redraw(state.nowMs);
    const role = new Candidate(state, this.#transitions);
    this.#enter('candidate', role);
    role.start(isTransfer);
  }

  #becomeLeader(): void {
    const state = this.#state;
    state.leader = state.id;
    // Before the first entry is appended: whoever watches sees a leader append it.
    state.role = 'leader';
    state.trace({ type: 'role' });
    const leader = new Leader(state, this.#transitions);
    this.#enter('leader', leader);
    this.#leader = leader;
  }

  #enter(name: NodeState['role'], role: RoleBehaviour): void {
    this.#state.role = name;
    this.#role = role;
    this.#leader = undefined;
  }

  readonly #transitions: Transitions = {
    becomeFollower: (term, leader) => this.#becomeFollower(term, leader),
    preCampaign: () => this.#preCampaign(),
    becomeCandidate: ({ isTransfer }) => this.#becomeCandidate(isTransfer),
    becomeLeader: () => this.#becomeLeader(),
    followAndReceive: (message) => {
      this.#becomeFollower(this.#state.term, message.from);
      this.#role.receive(message);
    },
  };
}

/** A granted pre-vote counts only for the term after the current one; everything else is of the current term by now. */
function isExpected(message: Message, term: Term): boolean {
  return message.type === 'vote-response' && message.preVote && message.granted
    ? message.term === term + 1
    : message.term === term;
}
