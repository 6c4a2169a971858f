import type { Configuration, ConfigurationChange } from '../configuration.ts';
import { configurationEntry } from '../configuration-codec.ts';
import { ENTRY_KIND, EntryRun, joinRuns, runOf } from '../entry-run.ts';
import type { LogIndex, NodeId, ReadRound } from '../ids.ts';
import { changeConfiguration, leaveJoint } from '../membership.ts';
import type { Message } from '../message.ts';
import type { NodeState } from '../node-state.ts';
import type { MemberProgress, ProposeResult, Refusal } from '../options.ts';
import type { Ready } from '../ready.ts';
import { Replication } from '../replication.ts';
import type { RoleBehaviour, Transitions } from './role.ts';
import { Transfer } from './transfer.ts';

/** Followers that keep up, and have nobody who waits for it, learn the commit index with the next append, or this much later. */
const COMMIT_NOTICE_MS = 5;

/** Takes proposals, replicates them, and counts what a quorum has (§5.3). */
export class Leader implements RoleBehaviour {
  readonly #state: NodeState;
  readonly #transitions: Transitions;
  readonly #replication: Replication;
  readonly #transfer: Transfer;
  /** The first entry of this leader's term: until it is committed the leader may not know what is (§8). */
  readonly #termStartIndex: LogIndex;
  #heartbeatDueMs: number;
  #commitNoticeDueMs = Infinity;
  #uncommittedBytes: number;
  /** Proposals of this turn; they become one run. */
  #forming: EntryRun[] = [];
  /** A change has to be followed up. True at first: it may be an earlier leader's. */
  #isSettlingChange = true;
  #formingCount = 0;

  constructor(state: NodeState, transitions: Transitions) {
    this.#state = state;
    this.#transitions = transitions;
    this.#replication = new Replication(state);
    this.#transfer = new Transfer(state, this.#replication);
    this.#termStartIndex = (state.log.lastIndex + 1) as LogIndex;
    this.#heartbeatDueMs = state.nowMs + state.options.heartbeatMs;
    this.#uncommittedBytes = state.log.bytesBetween((state.commitIndex + 1) as LogIndex, state.log.lastIndex);
    const body = state.options.termStartPayload(state.log.lastIndex);
    const entry = new Uint8Array(body.length + 1);
    entry[0] = ENTRY_KIND.termStart;
    entry.set(body, 1);
    this.#append(runOf(this.#termStartIndex, state.term, [entry]));
  }

  /** It has applied the first entry of its term, and so everything any earlier leader committed. */
  get isReady(): boolean {
    return this.#state.appliedIndex >= this.#termStartIndex;
  }

  get transferringTo(): NodeId | undefined {
    return this.#transfer.target;
  }

  propose(bytes: Uint8Array, start: number, ends: Uint32Array, awaitedBy: NodeId | undefined): ProposeResult {
    if (this.#transfer.target !== undefined) return this.#refusal('transferring');
    const size = commandBytes(bytes, start, ends);
    const { maxUncommittedBytes } = this.#state.options;
    if (size === undefined || size > maxUncommittedBytes) return this.#refusal('invalid');
    if (this.#uncommittedBytes + size > maxUncommittedBytes) return this.#refusal('overloaded');
    const firstIndex = (this.#state.log.lastIndex + this.#formingCount + 1) as LogIndex;
    const run = new EntryRun(firstIndex, this.#state.term, bytes, start, ends);
    this.#forming.push(run);
    this.#formingCount += run.count;
    this.#uncommittedBytes += size;
    const member = awaitedBy === undefined ? undefined : this.#replication.get(awaitedBy);
    if (member !== undefined) member.awaitedIndex = run.lastIndex;
    return { type: 'accepted', firstIndex, term: this.#state.term };
  }

  proposeConfiguration(changes: readonly ConfigurationChange[]): ProposeResult {
    const { commitIndex, configuration } = this.#state;
    if (this.#transfer.target !== undefined) return this.#refusal('transferring');
    // Without an entry of its own term committed, another leader's change may be committed and unknown here: two
    // single changes from two leaders could then have disjoint majorities (row 25).
    if (commitIndex < this.#termStartIndex) return this.#refusal('not-ready');
    if (this.#hasPendingChange()) return this.#refusal('change-pending');
    const result = changeConfiguration(configuration, changes);
    if (result.type === 'invalid') return this.#refusal('invalid');
    return this.#appendConfiguration(result.configuration);
  }

  requestRead(): { readonly type: 'round'; readonly round: ReadRound } {
    return { type: 'round', round: this.#state.reads.request() };
  }

  receive(message: Message): void {
    if (message.type === 'append-response') {
      if (this.#replication.receiveAppendResponse(message)) this.#advanceCommit();
      this.#transfer.advance();
    } else if (message.type === 'heartbeat-response') {
      this.#replication.receiveHeartbeatResponse(message);
      this.#confirmReads();
    }
  }

  tick(): void {
    const { nowMs, options } = this.#state;
    this.#transfer.tick();
    if (nowMs >= this.#commitNoticeDueMs) this.#replication.tellCommit();
    if (nowMs < this.#heartbeatDueMs) return;
    // CheckQuorum (thesis §6.2): a leader that a quorum no longer answers would keep clients waiting, and keep those who
    // still hear it from electing another (rows 9, 11). So would one that is answered by members that take no entries.
    if (nowMs - this.#replication.quorumHeardMs() >= options.electionTimeoutMs) {
      this.#transitions.becomeFollower(this.#state.term, undefined);
      return;
    }
    this.#heartbeatDueMs = nowMs + options.heartbeatMs;
    this.#replication.heartbeat();
  }

  deadlineMs(): number {
    return Math.min(this.#heartbeatDueMs, this.#commitNoticeDueMs, this.#transfer.deadlineMs);
  }

  written(): void {
    this.#advanceCommit();
  }

  linkClosed(peer: NodeId): void {
    this.unreachable(peer);
    this.#transfer.abortTo(peer);
  }

  unreachable(peer: NodeId): void {
    this.#replication.unreachable(peer);
  }

  snapshotAdvanced(peer: NodeId): void {
    this.#replication.snapshotAdvanced(peer);
  }

  snapshotSent(peer: NodeId, ok: boolean): void {
    this.#replication.snapshotSent(peer, ok);
  }

  transferTo(to: NodeId | undefined): void {
    // What was accepted before the transfer goes with it.
    this.#appendForming();
    this.#transfer.start(to);
  }

  /** The configuration changed. */
  configurationApplied(): void {
    this.#replication.tellCommit();
    this.#replication.send();
    this.#replication.followConfiguration();
    this.#isSettlingChange = true;
    this.#transfer.configurationApplied();
    // A smaller quorum may be reached already.
    this.#advanceCommit();
    this.#confirmReads();
  }

  /** The end of a turn: appends its proposals as one run, starts the round it asked for, and sends what is due. */
  endTurn(): void {
    this.#appendForming();
    if (this.#isSettlingChange) {
      this.#settleChange();
      if (this.#state.role !== 'leader') return;
    }
    const { commitIndex, reads, nowMs } = this.#state;
    if (reads.start(commitIndex, this.#termStartIndex)) {
      this.#replication.heartbeat();
      this.#confirmReads();
    }
    this.#replication.tellAwaitedCommit();
    this.#replication.send();
    if (!this.#replication.hasUntoldCommit) this.#commitNoticeDueMs = Infinity;
    else if (this.#commitNoticeDueMs === Infinity) this.#commitNoticeDueMs = nowMs + COMMIT_NOTICE_MS;
  }

  takeReads(): Ready['reads'] {
    return this.#state.commitIndex >= this.#termStartIndex ? this.#state.reads.take() : undefined;
  }

  takeSnapshots(): Ready['sendSnapshots'] {
    return this.#replication.takeSnapshots();
  }

  progressOf(peer: NodeId): MemberProgress | undefined {
    const progress = this.#replication.get(peer);
    if (progress === undefined) return undefined;
    const { match: matchIndex, state, lastHeardMs } = progress;
    return { matchIndex, state, lastHeardMs };
  }

  /** Proposals come before whatever else changes the log. */
  #appendForming(): void {
    if (this.#formingCount === 0) return;
    const run = joinRuns(this.#forming);
    this.#forming = [];
    this.#formingCount = 0;
    this.#state.append(run);
  }

  #append(run: EntryRun): void {
    this.#uncommittedBytes += run.byteLength;
    this.#state.append(run);
  }

  #advanceCommit(): void {
    const { log, term, commitIndex } = this.#state;
    const index = this.#replication.quorumMatch();
    // Only entries of the current term commit by counting (§5.4.2, figure 8): an older entry on a majority can still
    // be overwritten by a leader that never saw it. It commits with the first newer one.
    if (index <= commitIndex || log.termAt(index) !== term) return;
    this.#uncommittedBytes -= log.bytesBetween((commitIndex + 1) as LogIndex, index);
    this.#state.commitTo(index);
  }

  #confirmReads(): void {
    if (this.#state.reads.isUnderWay) this.#state.reads.confirm(this.#replication.quorumRound());
  }

  #hasPendingChange(): boolean {
    return this.#state.log.lastConfigurationIndex(this.#state.appliedIndex, this.#state.log.lastIndex) !== undefined;
  }

  #appendConfiguration(configuration: Configuration): ProposeResult {
    this.#appendForming();
    const { log, term } = this.#state;
    const firstIndex = (log.lastIndex + 1) as LogIndex;
    this.#append(runOf(firstIndex, term, [configurationEntry(configuration)]));
    return { type: 'accepted', firstIndex, term };
  }

  /**
   * Follows up a change that is applied: leaves the joint configuration, then confirms the last one by appending it once
   * more. With that entry, a quorum of the new voters holds the proof that the change is committed; until then the old
   * voters are still needed. A leader that is no voter leaves its office after that (thesis §4.2.2).
   */
  #settleChange(): void {
    const { configuration, isVoter, isConfigurationConfirmed } = this.#state;
    if (!this.isReady || this.#hasPendingChange() || this.#transfer.target !== undefined) return;
    const left = configuration.autoLeave ? leaveJoint(configuration) : undefined;
    if (left?.type === 'changed') this.#appendConfiguration(left.configuration);
    else if (!isConfigurationConfirmed) this.#appendConfiguration(configuration);
    else {
      this.#isSettlingChange = false;
      if (isVoter) return;
      this.#replication.tellCommit();
      this.#replication.send();
      this.#transitions.becomeFollower(this.#state.term, undefined);
    }
  }

  #refusal(reason: 'transferring' | 'overloaded' | 'change-pending' | 'not-ready' | 'invalid'): Refusal {
    return { type: 'refused', reason, leader: this.#state.id };
  }
}

/** Size of the entries, or undefined where they are not commands: only the leader itself makes the other kinds. */
function commandBytes(bytes: Uint8Array, start: number, ends: Uint32Array): number | undefined {
  let offset = start;
  for (const end of ends) {
    const kind = bytes[offset];
    const isProposable = kind === ENTRY_KIND.command || kind === ENTRY_KIND.registration;
    if (end <= offset || end > bytes.length || !isProposable) return undefined;
    offset = end;
  }
  return ends.length === 0 ? undefined : offset - start;
}
