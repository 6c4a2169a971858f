import type { Configuration } from './configuration.ts';
import { decodeConfiguration } from './configuration-codec.ts';
import { ElectionTimer } from './election.ts';
import { ENTRY_KIND, type EntryRun } from './entry-run.ts';
import type { LogIndex, NodeId, Term } from './ids.ts';
import { invariant } from './invariant.ts';
import { RaftLog } from './log.ts';
import { isVoter, sameVoters } from './membership.ts';
import type { Message, SnapshotMetadata } from './message.ts';
import type { NodeFacts, Role } from './node-facts.ts';
import type { InitialState, RaftOptions } from './options.ts';
import { ReadRounds } from './read-index.ts';
import type { ForgottenLog, HardState } from './ready.ts';
import type { Transition } from './trace.ts';
import { WriteLane } from './write-lane.ts';

/**
 * What a node is in every role: figure 2's state, the log, and what is on its way out. The roles decide; the
 * rules that must hold whoever decides (terms and commits only grow, one vote a term) are enforced here.
 */
export class NodeState {
  readonly id: NodeId;
  readonly options: RaftOptions;
  readonly log: RaftLog;
  readonly lane: WriteLane = new WriteLane();
  readonly timer: ElectionTimer;
  readonly reads: ReadRounds = new ReadRounds();
  nowMs: number;
  role: Exclude<Role, 'learner'> = 'follower';
  leader: NodeId | undefined;
  /**
   * A voter that takes this node for one too could not get its vote, for this log is longer, and this node knows that its
   * vote no longer counts. The other must learn of that change: from this node, elected by the voters there are now.
   */
  isMissed = false;
  /** When this node last heard from `leader`. */
  leaderHeardMs = 0;
  #term: Term;
  #votedFor: NodeId | undefined;
  #commitIndex: LogIndex;
  #appliedIndex: LogIndex;
  /** Handed to the driver for applying. */
  #handedOutIndex: LogIndex;
  #configuration: Configuration;
  /** In force at the log's base: what stands there may be compacted away, or have come with a snapshot. */
  #baseConfiguration: Configuration;
  /** It is known to be confirmed (see `isConfigurationConfirmed`). */
  #isBaseConfirmed: boolean;
  #messages: Message[] = [];
  #forgotten: ForgottenLog | undefined;
  #isForgottenReported = false;

  constructor(options: RaftOptions, initial: InitialState, nowMs: number) {
    this.id = options.id;
    this.options = options;
    this.nowMs = nowMs;
    this.log = new RaftLog({ index: initial.snapshotIndex, term: initial.snapshotTerm }, initial.runs);
    this.timer = new ElectionTimer(options.electionTimeoutMs, options.random, nowMs);
    // The bootstrap entry belongs to a term that nobody may be elected in.
    this.#term = Math.max(initial.hardState.term, this.log.lastTerm) as Term;
    this.#votedFor = initial.hardState.term === this.#term ? initial.hardState.votedFor : undefined;
    invariant(
      initial.appliedIndex >= initial.snapshotIndex,
      `applied ${initial.appliedIndex} is before the snapshot at ${initial.snapshotIndex}`,
    );
    invariant(
      initial.appliedIndex <= this.log.lastIndex,
      `applied ${initial.appliedIndex} is beyond the log's end ${this.log.lastIndex}`,
    );
    const hint = Math.min(initial.hardState.commitIndex, this.log.lastIndex);
    // The commit index is not kept durable entry by entry. What the log itself proves must not be left out: after several
    // changes this node could count votes by a configuration that the others left long ago, and win beside their leader.
    this.#commitIndex = Math.max(
      initial.appliedIndex,
      hint,
      bootstrapIndex(this.log),
      this.log.supersededConfigurationIndex,
    ) as LogIndex;
    this.#handedOutIndex = initial.appliedIndex;
    this.#appliedIndex = initial.snapshotIndex;
    this.#configuration = initial.configuration;
    this.#baseConfiguration = initial.configuration;
    // A snapshot does not tell.
    this.#isBaseConfirmed = initial.snapshotIndex === 0;
    this.trace({ type: 'start' });
    this.#takeEffect(initial.appliedIndex);
  }

  get term(): Term {
    return this.#term;
  }

  get votedFor(): NodeId | undefined {
    return this.#votedFor;
  }

  get commitIndex(): LogIndex {
    return this.#commitIndex;
  }

  get appliedIndex(): LogIndex {
    return this.#appliedIndex;
  }

  get configuration(): Configuration {
    return this.#configuration;
  }

  get publicRole(): Role {
    return this.role === 'follower' && !this.isVoter ? 'learner' : this.role;
  }

  get isVoter(): boolean {
    return isVoter(this.#configuration, this.id);
  }

  /**
   * Whether this node may try to become leader. Not with a change in its log that is committed but not applied: it would
   * count its votes by a configuration that others have left already.
   */
  get canCampaign(): boolean {
    return (
      (this.isVoter || this.isMissed) &&
      !this.isMute &&
      !this.lane.isInstalling &&
      this.log.lastConfigurationIndex(this.#appliedIndex, this.#commitIndex) === undefined
    );
  }

  /**
   * Whether a quorum knows for good that the configuration in force is committed: a later configuration entry with the
   * same voters proves it in every log that has it. What the log no longer shows is confirmed only where this node knows it.
   */
  get isConfigurationConfirmed(): boolean {
    const last = this.log.lastConfigurationIndex(this.log.baseIndex, this.log.lastIndex);
    return last === undefined ? this.#isBaseConfirmed : this.#isConfirmedAt(last);
  }

  /** Whether a leader was heard within the shortest election time-out: then others' campaigns are not supported (§6, thesis §4.2.3). */
  get hasLiveLeader(): boolean {
    return (
      this.role === 'leader' ||
      (this.leader !== undefined && this.nowMs - this.leaderHeardMs < this.options.electionTimeoutMs)
    );
  }

  /** Enters a later term, in which this node has not voted. */
  enterTerm(term: Term): void {
    invariant(term > this.#term, `term ${term} after ${this.#term}`);
    this.#term = term;
    this.#votedFor = undefined;
    this.lane.hardStateChanged();
  }

  /** Gives this term's only vote. Again to the same candidate is fine. */
  vote(candidate: NodeId): void {
    if (this.#votedFor === candidate) return;
    invariant(this.#votedFor === undefined, `second vote in term ${this.#term}`);
    this.#votedFor = candidate;
    this.lane.hardStateChanged();
  }

  /** Adds entries at the end, or from a conflict on. */
  append(run: EntryRun): void {
    if (run.firstIndex <= this.log.lastIndex) {
      // Committed entries never change (§5.3, Leader Completeness). If this fails, stopping is all that is safe.
      invariant(
        run.firstIndex > this.#commitIndex,
        `entry ${run.firstIndex} conflicts below commit index ${this.#commitIndex}`,
      );
      this.log.truncateFrom(run.firstIndex);
    }
    this.log.append(run);
    this.trace({ type: 'append', from: run.firstIndex, entryTerm: run.term });
  }

  /** Everything up to `index` is committed. Never beyond the log, never back. */
  commitTo(index: LogIndex): void {
    if (index <= this.#commitIndex) return;
    invariant(index <= this.log.lastIndex, `commit index ${index} beyond the log's end ${this.log.lastIndex}`);
    this.#commitIndex = index;
    this.trace({ type: 'commit' });
  }

  /** Committed entries not handed out yet. None while a snapshot replaces the state under them. */
  takeCommitted(): EntryRun[] {
    if (this.lane.isInstalling || this.#handedOutIndex >= this.#commitIndex) return [];
    const runs = this.log.runsBetween((this.#handedOutIndex + 1) as LogIndex, this.#commitIndex);
    this.#handedOutIndex = this.#commitIndex;
    return runs;
  }

  /** The state machine has applied up to `index`; a configuration among it takes effect. True where one did. */
  applied(index: LogIndex): boolean {
    if (this.lane.isInstalling || index <= this.#appliedIndex) return false;
    invariant(index <= this.#handedOutIndex, `applied ${index} beyond ${this.#handedOutIndex}, which was handed out`);
    return this.#takeEffect(index);
  }

  /** Drops the log up to `index`, or as far as it is applied and durable. */
  compactTo(index: LogIndex): void {
    const upTo = Math.min(index, this.log.stableIndex, this.#appliedIndex) as LogIndex;
    const last = this.log.lastConfigurationIndex(this.log.baseIndex, upTo);
    if (last !== undefined) {
      this.#isBaseConfirmed = this.#isConfirmedAt(last);
      this.#baseConfiguration = this.#configurationAt(last);
    }
    this.log.compactTo(upTo);
  }

  /** The log and the state machine are about to become this snapshot, which is newer than anything committed here. */
  acceptSnapshot(metadata: SnapshotMetadata): void {
    invariant(
      metadata.index > this.#commitIndex,
      `snapshot ${metadata.index} is not newer than commit index ${this.#commitIndex}`,
    );
    this.log.reset(metadata);
    this.#baseConfiguration = metadata.configuration;
    this.#isBaseConfirmed = false;
    this.#commitIndex = metadata.index;
    this.#handedOutIndex = metadata.index;
    this.lane.install(metadata);
    this.trace({ type: 'snapshot' });
  }

  /** The snapshot is durable and restored. */
  snapshotInstalled(metadata: SnapshotMetadata): void {
    this.#appliedIndex = metadata.index;
    // The snapshot's own configuration, also where this node had applied a later-looking one: what it replaced is
    // superseded as a whole (row 26).
    this.#setConfiguration(metadata.configuration);
  }

  /** Sends at once: the message promises nothing that a crash could take back. */
  send(message: Message): void {
    this.#messages.push(message);
    if (this.options.trace !== undefined) this.trace({ type: 'send', message });
  }

  /** Sends once everything decided so far is durable. */
  sendWhenDurable(message: Message): void {
    const write = this.lane.coveringWrite(this.log);
    if (this.lane.isDurable(write)) this.send(message);
    else this.lane.hold(write, message);
  }

  releaseHeld(): void {
    if (this.isMute) return;
    this.lane.release(this.#term, (message) => {
      // A campaign that was given up while its write was out asks for no votes: the log it would show may be replaced by now.
      if (message.type !== 'vote-request' || this.role === 'candidate') this.send(message);
    });
  }

  takeMessages(): readonly Message[] {
    const messages = this.#messages;
    if (messages.length > 0) this.#messages = [];
    return messages;
  }

  /** It has lost what it promised to keep: whatever it said now could be wrong. */
  get isMute(): boolean {
    return this.#forgotten !== undefined;
  }

  forgot(forgotten: ForgottenLog): void {
    this.#forgotten = forgotten;
  }

  /** Once. */
  takeForgotten(): ForgottenLog | undefined {
    if (this.#isForgottenReported) return undefined;
    this.#isForgottenReported = this.#forgotten !== undefined;
    return this.#forgotten;
  }

  /** For the write lane. */
  hardState(): HardState {
    return { term: this.#term, votedFor: this.#votedFor, commitIndex: this.#commitIndex };
  }

  facts(): NodeFacts {
    return {
      role: this.publicRole,
      term: this.#term,
      votedFor: this.#votedFor,
      leader: this.leader,
      commitIndex: this.#commitIndex,
      appliedIndex: this.#appliedIndex,
      lastIndex: this.log.lastIndex,
      stableIndex: this.log.stableIndex,
      configuration: this.#configuration,
    };
  }

  trace(transition: Transition): void {
    const { trace } = this.options;
    if (trace !== undefined) trace({ ...transition, state: { node: this.id, ...this.facts() } });
  }

  #takeEffect(index: LogIndex): boolean {
    const found = this.log.lastConfigurationIndex(this.#appliedIndex, index);
    this.#appliedIndex = index;
    if (found === undefined) return false;
    this.#setConfiguration(this.#configurationAt(found));
    return true;
  }

  /** Whether the configuration entry at `index` repeats the voters of the one before it, or is the first of all. */
  #isConfirmedAt(index: LogIndex): boolean {
    const { log } = this;
    if (index === 1) return true;
    const before = log.lastConfigurationIndex(log.baseIndex, (index - 1) as LogIndex);
    const previous = before === undefined ? this.#baseConfiguration : this.#configurationAt(before);
    return sameVoters(previous, this.#configurationAt(index));
  }

  #configurationAt(index: LogIndex): Configuration {
    const entry = this.log.entryAt(index);
    invariant(entry[0] === ENTRY_KIND.configuration, `entry ${index} is no configuration`);
    const configuration = decodeConfiguration(entry.subarray(1));
    invariant(configuration !== undefined, `entry ${index} is no valid configuration`);
    return configuration;
  }

  #setConfiguration(configuration: Configuration): void {
    this.#configuration = configuration;
    this.trace({ type: 'configuration' });
  }
}

/** 1 where the log begins with the bootstrap configuration, which is committed by definition: every node starts with it. */
function bootstrapIndex(log: RaftLog): number {
  const isBootstrap =
    log.baseIndex === 0 &&
    log.lastIndex >= 1 &&
    log.termAt(1 as LogIndex) === 1 &&
    log.entryAt(1 as LogIndex)[0] === ENTRY_KIND.configuration;
  return isBootstrap ? 1 : 0;
}
