import { type LogIndex, type NodeId, type ReadRound, ZERO_INDEX, ZERO_TERM } from '../core/ids.ts';
import type { Input } from '../core/input.ts';
import { NO_MEMBERS } from '../core/membership.ts';
import type { RaftStatus } from '../core/options.ts';
import type { RaftNode } from '../core/raft-node.ts';
import type { PersistDuty } from '../core/ready.ts';
import type { ApplyLoop } from './apply-loop.ts';
import type { Condition } from './condition.ts';
import type { WriteCounters } from './driver-api.ts';
import type { DriverDependencies } from './driver-options.ts';
import type { Epoch } from './epoch.ts';
import type { MemberRegistration } from './member-registration.ts';
import type { OwnDirectory } from './own-directory.ts';
import type { SnapshotInstallation } from './snapshot-installation.ts';
import type { SnapshotIntake } from './snapshot-intake.ts';
import type { Snapshots } from './snapshots.ts';
import { TickTimer } from './tick-timer.ts';
import type { Watch } from './watch.ts';

export interface TurnLoopOptions {
  readonly id: NodeId;
  readonly dependencies: DriverDependencies;
  readonly epoch: Epoch;
  readonly condition: Condition;
  readonly directory: OwnDirectory;
  readonly registration: MemberRegistration;
  readonly applyLoop: ApplyLoop;
  readonly snapshots: Snapshots;
  readonly intake: SnapshotIntake;
  readonly installation: SnapshotInstallation;
  readonly watch: Watch;
  /** A turn without a node. May start one, whose turn it is then. */
  readonly onIdleTurn: () => void;
  readonly storageFailed: (error: Error) => void;
  /** The node has found that its directory has lost something. Ends the node. */
  readonly onForgotten: (reason: string) => void;
}

/**
 * Runs one `RaftNode`: collects what arrives in a turn of the event loop, steps it all at the turn's end, and carries out
 * what the node then asks for. Callbacks of what was begun in an earlier epoch (before a stop, a failure, a recovery) are
 * dropped.
 */
export class TurnLoop {
  readonly writeCounters: WriteCounters = { writes: 0, entries: 0, entryBytes: 0 };
  readonly #dependencies: DriverDependencies;
  readonly #storage: DriverDependencies['storage'];
  readonly #epoch: Epoch;
  readonly #condition: Condition;
  readonly #directory: OwnDirectory;
  readonly #registration: MemberRegistration;
  readonly #applyLoop: ApplyLoop;
  readonly #snapshots: Snapshots;
  readonly #intake: SnapshotIntake;
  readonly #installation: SnapshotInstallation;
  readonly #watch: Watch;
  readonly #timer: TickTimer;
  readonly #onIdleTurn: () => void;
  readonly #storageFailed: (error: Error) => void;
  readonly #onForgotten: (reason: string) => void;

  #node: RaftNode | undefined;
  #reported: RaftStatus;
  #inputs: Input[] = [];
  #isTurnScheduled = false;
  /** The write that is out, and since when; `hasAbdicated` once that was too long. */
  #write: { readonly done: Promise<void>; readonly sinceMs: number; hasAbdicated: boolean } | undefined;
  #pendingReads: { readonly round: ReadRound; readonly index: LogIndex }[] = [];
  #onStatus: ((status: RaftStatus) => void) | undefined;

  constructor(options: TurnLoopOptions) {
    this.#dependencies = options.dependencies;
    this.#storage = options.dependencies.storage;
    this.#epoch = options.epoch;
    this.#condition = options.condition;
    this.#directory = options.directory;
    this.#registration = options.registration;
    this.#applyLoop = options.applyLoop;
    this.#snapshots = options.snapshots;
    this.#intake = options.intake;
    this.#installation = options.installation;
    this.#watch = options.watch;
    this.#timer = new TickTimer(options.dependencies.clock, () => this.wake());
    this.#onIdleTurn = options.onIdleTurn;
    this.#storageFailed = options.storageFailed;
    this.#onForgotten = options.onForgotten;
    this.#reported = idleStatus(options.id);
  }

  /** Undefined while none runs. */
  get node(): RaftNode | undefined {
    return this.#node;
  }

  /** At the end of the last turn; that of an idle follower while no node runs. */
  get reported(): RaftStatus {
    return this.#reported;
  }

  /** The write that is out. */
  get writing(): Promise<void> | undefined {
    return this.#write?.done;
  }

  /** At this moment. */
  status(): RaftStatus {
    return this.#node?.status() ?? this.#reported;
  }

  /** From now on `node` runs; the caller wakes it. */
  start(node: RaftNode): void {
    this.#node = node;
  }

  /** The node takes no more part. The caller has ended its epoch. */
  halt(): void {
    this.#node = undefined;
    this.forgetTurn();
    this.#timer.clear();
    this.#inputs = [];
    this.#intake.clear();
    this.#pendingReads = [];
    this.#applyLoop.clear();
    this.#snapshots.abandonSending();
    this.#registration.forgetProposals();
    this.#write = undefined;
    this.#reported = {
      ...this.#reported,
      role: 'follower',
      leader: undefined,
      isReady: false,
      transferringTo: undefined,
    };
  }

  /** A turn that was to come in the last epoch is dropped, and must not keep the next ones from coming. */
  forgetTurn(): void {
    this.#isTurnScheduled = false;
  }

  /** For the end of this turn. Nothing where no node runs. */
  input(input: Input): void {
    if (this.#node === undefined) return;
    this.#inputs.push(input);
    this.wake();
  }

  wake(): void {
    if (this.#isTurnScheduled || this.#condition.current === 'stopped') return;
    this.#isTurnScheduled = true;
    const begun = this.#epoch.current;
    this.#dependencies.clock.endOfTurn(() => {
      if (begun === this.#epoch.current && this.#isTurnScheduled) this.#turn();
    });
  }

  /** Resolves when another node leads, or after so many milliseconds. */
  async handOver(patienceMs: number): Promise<void> {
    this.input({ type: 'transfer-leadership', to: undefined });
    await new Promise<void>((resolve) => {
      const cancel = this.#dependencies.clock.after(patienceMs, resolve);
      this.#onStatus = (status) => {
        if (status.role === 'leader') return;
        cancel();
        resolve();
      };
    });
    this.#onStatus = undefined;
  }

  /** A leader whose write has been out for longer abdicates: heartbeats must not outlive the ability to commit. */
  abdicateIfStalled(diskStallMs: number, nowMs: number): void {
    const write = this.#write;
    if (write === undefined || write.hasAbdicated || nowMs - write.sinceMs <= diskStallMs) return;
    if (this.#node?.status().role !== 'leader') return;
    write.hasAbdicated = true;
    this.input({ type: 'abdicate' });
  }

  #turn(): void {
    // Before the flag falls: what is proposed here belongs to this turn and asks for no other.
    this.#dependencies.events.onTurnBegin?.();
    this.#isTurnScheduled = false;
    const nowMs = this.#dependencies.clock.nowMs();
    this.#watch.listened(nowMs);
    try {
      if (this.#node === undefined) this.#onIdleTurn();
      if (this.#node !== undefined) this.#runNode(this.#node, nowMs);
    } catch (error) {
      // A bug: no message that the node might still owe is worth more than stopping here.
      this.#storageFailed(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
    this.#dependencies.events.onTurnEnd();
  }

  #runNode(node: RaftNode, nowMs: number): void {
    const { transport } = this.#dependencies;
    const inputs = this.#inputs;
    this.#inputs = [];
    for (const input of inputs) node.step(input, nowMs);
    this.#intake.take(node, nowMs);
    if (this.#timer.takeTick() && nowMs >= node.nextDeadlineMs()) node.step({ type: 'tick' }, nowMs);
    this.#carryOut(node, nowMs);
    transport.flush?.();
    // Applying may end the node.
    const hasApplied = this.#node === node && this.#installation.underWay === undefined && this.#applyLoop.run(node);
    if (hasApplied && this.#node === node) {
      this.#carryOut(node, nowMs);
      transport.flush?.();
    }
    if (this.#node !== node) return;
    if (!this.#applyLoop.isIdle) this.wake();
    const status = node.status();
    this.#report(status);
    this.#confirmReads(status);
    this.#registerMembers(status);
    if (this.#installation.underWay === undefined) this.#snapshots.advance(status, this.#applyLoop, nowMs);
    this.#timer.arm(node.nextDeadlineMs(), nowMs);
  }

  /** Takes and starts every duty the node has. */
  #carryOut(node: RaftNode, nowMs: number): void {
    const { transport } = this.#dependencies;
    for (let ready = node.takeReady(); ready !== undefined; ready = node.takeReady()) {
      for (const message of ready.messages) transport.send(message);
      if (ready.persist !== undefined) this.#persist(ready.persist, nowMs);
      if (ready.committed.length > 0) this.#applyLoop.push(ready.committed);
      if (ready.reads !== undefined) this.#pendingReads.push(ready.reads);
      for (const { to, atLeast } of ready.sendSnapshots) this.#snapshots.want(to, atLeast);
      if (ready.install !== undefined) this.#installation.begin(ready.install);
      if (ready.forgotten !== undefined) {
        const { leader, acknowledgedIndex, lastIndex } = ready.forgotten;
        this.#onForgotten(
          `the log ends at index ${lastIndex}, but ${leader} knows that ${acknowledgedIndex} was acknowledged`,
        );
        return;
      }
    }
  }

  #persist(duty: PersistDuty, nowMs: number): void {
    const begun = this.#epoch.current;
    const { write, term, lastIndex } = duty;
    const counters = this.writeCounters;
    counters.writes++;
    for (const run of duty.runs) {
      counters.entries += run.count;
      counters.entryBytes += run.byteLength;
    }
    const done = this.#storage.persist(duty).then(
      () => {
        if (begun !== this.#epoch.current) return;
        this.#write = undefined;
        this.input({ type: 'persisted', write, term, lastIndex });
      },
      (error: unknown) => {
        if (begun === this.#epoch.current)
          this.#storageFailed(error instanceof Error ? error : new Error(String(error)));
      },
    );
    this.#write = { done, sinceMs: nowMs, hasAbdicated: false };
  }

  #confirmReads(status: RaftStatus): void {
    if (this.#pendingReads.length === 0) return;
    if (status.role !== 'leader') {
      this.#pendingReads = [];
      return;
    }
    if (!status.isReady) return;
    let confirmed: ReadRound | undefined;
    let count = 0;
    for (const { round, index } of this.#pendingReads) {
      if (index > status.appliedIndex) break;
      confirmed = round;
      count += 1;
    }
    if (confirmed === undefined) return;
    this.#pendingReads.splice(0, count);
    this.#dependencies.events.onReadsConfirmed(confirmed);
  }

  #report(status: RaftStatus): void {
    const before = this.#reported;
    this.#reported = status;
    const isSame =
      before.role === status.role &&
      before.term === status.term &&
      before.leader === status.leader &&
      before.isReady === status.isReady &&
      before.configuration === status.configuration &&
      before.transferringTo === status.transferringTo;
    if (isSame) return;
    this.#registration.lookAgain();
    if (status.role !== 'leader') {
      this.#pendingReads = [];
      this.#registration.forgetProposals();
      this.#snapshots.abandonSending();
    }
    this.#onStatus?.(status);
    this.#dependencies.events.onStatusChanged(status);
  }

  #registerMembers(status: RaftStatus): void {
    const { instanceId } = this.#directory;
    if (instanceId === undefined) return;
    this.#registration.run(status, instanceId, (entry) => {
      const nowMs = this.#dependencies.clock.nowMs();
      const result = this.#node?.propose(entry, 0, Uint32Array.of(entry.length), nowMs);
      if (result?.type === 'accepted') this.wake();
      return result;
    });
  }
}

function idleStatus(id: NodeId): RaftStatus {
  return {
    id,
    role: 'follower',
    term: ZERO_TERM,
    votedFor: undefined,
    leader: undefined,
    commitIndex: ZERO_INDEX,
    appliedIndex: ZERO_INDEX,
    lastIndex: ZERO_INDEX,
    stableIndex: ZERO_INDEX,
    configuration: NO_MEMBERS,
    isReady: false,
    transferringTo: undefined,
  };
}
