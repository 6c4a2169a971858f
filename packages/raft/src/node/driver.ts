import type { ConfigurationChange } from '../core/configuration.ts';
import type { EntryRun } from '../core/entry-run.ts';
import { type LogIndex, type NodeId, type ReadRound, ZERO_INDEX, ZERO_TERM } from '../core/ids.ts';
import type { Input } from '../core/input.ts';
import { InvariantViolation } from '../core/invariant.ts';
import { NO_MEMBERS } from '../core/membership.ts';
import { isFromLeader, type Message, type SnapshotMetadata } from '../core/message.ts';
import type { InitialState, MemberProgress, ProposeResult, RaftOptions, RaftStatus, Refusal } from '../core/options.ts';
import { RaftNode } from '../core/raft-node.ts';
import type { PersistDuty } from '../core/ready.ts';
import { ApplyLoop } from './apply-loop.ts';
import { bootstrapConfiguration, bootstrapState } from './bootstrap.ts';
import { DiskSpace } from './disk-space.ts';
import type { NodeCondition, SnapshotCounters, WriteCounters } from './driver-api.ts';
import { type CompleteDriverOptions, completeOptions, completeRaftOptions } from './driver-defaults.ts';
import type { DriverDependencies, DriverOptions, OpenDriver } from './driver-options.ts';
import { Epoch } from './epoch.ts';
import { Joining, type JoinStanding } from './joining.ts';
import { MemberRegistration } from './member-registration.ts';
import { PeerIdentities } from './peer-identities.ts';
import { addressEntry, encodeTermStart, type MemberAddress, Registry } from './registry.ts';
import { SnapshotIntake } from './snapshot-intake.ts';
import { Snapshots } from './snapshots.ts';
import type { LogStorage, Recovered } from './storage.ts';
import { StorageError, toStorageError } from './storage-error.ts';
import { TickTimer } from './tick-timer.ts';
import type { JoinProbe, PeerIdentity, PeerVerdict, SnapshotTransfer, TransportHandler } from './transport.ts';
import { Watch } from './watch.ts';

/** See `OpenDriverFunction`. */
export async function openDriver(options: DriverOptions, dependencies: DriverDependencies): Promise<OpenDriver> {
  const driver = new Driver(options, dependencies);
  await driver.start();
  return driver;
}

/**
 * Runs one `RaftNode`: collects what arrives in a turn of the event loop, steps it all at the turn's end, and carries out
 * what the node then asks for. Callbacks of what was begun in an earlier epoch (before a stop, a failure, a recovery) are
 * dropped.
 */
class Driver implements OpenDriver {
  readonly handler: TransportHandler;
  readonly writeCounters: WriteCounters = { writes: 0, entries: 0, entryBytes: 0 };
  readonly #options: CompleteDriverOptions;
  readonly #raftOptions: RaftOptions;
  readonly #dependencies: DriverDependencies;
  readonly #storage: LogStorage;
  readonly #epoch: Epoch = new Epoch();
  readonly #registry = new Registry();
  readonly #identities: PeerIdentities;
  readonly #registration: MemberRegistration;
  readonly #joining: Joining;
  readonly #applyLoop: ApplyLoop;
  readonly #snapshots: Snapshots;
  readonly #intake: SnapshotIntake;
  readonly #space: DiskSpace;
  readonly #watch: Watch;
  readonly #timer: TickTimer;

  #condition: NodeCondition = 'joining';
  #reason: string | undefined;
  /** `#reason` says that this peer refuses the link. */
  #refusedBy: NodeId | undefined;
  #recovered: Recovered | undefined;
  #clusterId: string | undefined;

  #node: RaftNode | undefined;
  #status: RaftStatus;
  #inputs: Input[] = [];
  #isTurnScheduled = false;
  /** The write that is out, and since when; `hasAbdicated` once that was too long. */
  #write: { readonly done: Promise<void>; readonly sinceMs: number; hasAbdicated: boolean } | undefined;
  #installing: Promise<void> | undefined;
  #recovering: Promise<void> = Promise.resolve();
  #pendingReads: { readonly round: ReadRound; readonly index: LogIndex }[] = [];
  #onStatus: ((status: RaftStatus) => void) | undefined;
  #stopping: Promise<void> | undefined;

  constructor(options: DriverOptions, dependencies: DriverDependencies) {
    const { clock, random, storage, stateMachine, transport } = dependencies;
    this.#dependencies = dependencies;
    this.#storage = storage;
    this.#options = completeOptions(options);
    this.#raftOptions = completeRaftOptions(options, {
      random,
      termStartPayload: () => encodeTermStart({ clusterId: this.#registry.clusterId ?? this.#options.newClusterId() }),
    });
    const { electionTimeoutMs } = this.#raftOptions;
    const { minFreeBytes, freeSpaceIntervalMs, applyTurnMs, applySliceBytes } = this.#options;
    const epoch = this.#epoch;
    const input = (happened: Input): void => this.#input(happened);
    const send = (to: NodeId, transfer: SnapshotTransfer): void => transport.sendSnapshot(to, transfer);
    const storageFailed = (error: Error): void => this.#storageFailed(error);
    this.#status = idleStatus(options.id);
    this.#identities = new PeerIdentities(this.#registry);
    this.#registration = new MemberRegistration(this.#registry, this.#identities);
    this.#joining = new Joining(this.#options, electionTimeoutMs, transport, this.#registry);
    this.#applyLoop = new ApplyLoop({
      clock,
      stateMachine,
      turnMs: applyTurnMs,
      sliceBytes: applySliceBytes,
      onApplied: (run) => this.#onApplied(run),
    });
    this.#snapshots = new Snapshots({
      options: this.#options,
      resendMs: electionTimeoutMs,
      storage,
      stateMachine,
      registry: this.#registry,
      epoch,
      nowMs: () => this.#now(),
      nextTurn: () => new Promise((resolve) => clock.endOfTurn(resolve)),
      wake: () => this.wake(),
      input,
      send,
      leadsIn: (term) => this.#status.role === 'leader' && this.#status.term === term,
      storageFailed,
    });
    this.#intake = new SnapshotIntake({
      id: options.id,
      storage,
      snapshots: this.#snapshots,
      send,
      input,
      storageFailed,
    });
    this.#space = new DiskSpace({
      storage,
      clock,
      epoch,
      minFreeBytes,
      intervalMs: freeSpaceIntervalMs,
      onMeasured: (isEnough, inWords) => this.#onSpaceMeasured(isEnough, inWords),
    });
    this.#watch = new Watch(clock, epoch, (nowMs) => this.#look(nowMs));
    this.#timer = new TickTimer(clock, () => this.wake());
    this.handler = {
      onMessage: (message) => this.#onMessage(message),
      onSnapshot: (from, transfer) => this.#onTransfer(from, transfer),
      onProbe: (from, probe) => this.#onProbe(from, probe),
      onUnreachable: (peer) => {
        this.#identities.missed(peer);
        this.#input({ type: 'unreachable', peer });
      },
      onLinkClosed: (peer) => {
        this.#identities.missed(peer);
        this.#input({ type: 'link-closed', peer });
      },
      onPeerIdentity: (peer, identity) => this.#onPeerIdentity(peer, identity),
      onRefused: (peer, code, reason) => this.#onRefused(peer, code, reason),
    };
  }

  get snapshotCounters(): SnapshotCounters {
    return this.#snapshots.counters;
  }

  async start(): Promise<void> {
    await this.#recover();
    this.#beginToWatch();
  }

  propose(bytes: Uint8Array, start: number, ends: Uint32Array, awaitedBy?: NodeId): ProposeResult {
    if (this.#node === undefined) return this.#notServing();
    if (this.#space.isReserveOnly) return { type: 'refused', reason: 'overloaded', leader: this.#status.leader };
    const result = this.#node.propose(bytes, start, ends, this.#now(), awaitedBy);
    if (result.type === 'accepted') this.wake();
    return result;
  }

  requestRead(): { readonly type: 'round'; readonly round: ReadRound } | Refusal {
    if (this.#node === undefined) return this.#notServing();
    const result = this.#node.requestRead(this.#now());
    if (result.type === 'round') this.wake();
    return result;
  }

  proposeConfiguration(changes: readonly ConfigurationChange[]): ProposeResult {
    if (this.#node === undefined) return this.#notServing();
    const result = this.#node.proposeConfiguration(changes, this.#now());
    if (result.type === 'accepted') this.wake();
    return result;
  }

  makeSnapshot(): void {
    this.#snapshots.ask();
    this.wake();
  }

  transferLeadership(to: NodeId | undefined): void {
    this.#input({ type: 'transfer-leadership', to });
  }

  proposeAddress(node: NodeId, address: MemberAddress): ProposeResult {
    const entry = addressEntry(node, address);
    return this.propose(entry, 0, Uint32Array.of(entry.length));
  }

  addressOf(node: NodeId): MemberAddress | undefined {
    return this.#registry.addressOf(node);
  }

  instanceOf(node: NodeId): string | undefined {
    return this.#registry.instanceOf(node);
  }

  hasRemoved(instanceId: string): boolean {
    return this.#registry.hasRemoved(instanceId);
  }

  progressOf(node: NodeId): MemberProgress | undefined {
    return this.#node?.progressOf(node);
  }

  isConfigurationConfirmed(): boolean {
    return this.#node?.isConfigurationConfirmed ?? false;
  }

  wake(): void {
    if (this.#isTurnScheduled || this.#condition === 'stopped') return;
    this.#isTurnScheduled = true;
    const begun = this.#epoch.current;
    this.#dependencies.clock.endOfTurn(() => {
      if (begun === this.#epoch.current && this.#isTurnScheduled) this.#turn();
    });
  }

  status(): RaftStatus {
    return this.#node?.status() ?? this.#status;
  }

  condition(): NodeCondition {
    return this.#condition;
  }

  conditionReason(): string | undefined {
    return this.#reason;
  }

  isDisowned(): boolean {
    return this.#joining.isDisowned(this.#now());
  }

  clusterId(): string | undefined {
    return this.#clusterId;
  }

  identity(): PeerIdentity | undefined {
    if (this.#recovered === undefined) return undefined;
    const { instanceId, incarnation, starts } = this.#recovered;
    const [start, ...earlierStarts] = starts;
    return { instanceId, incarnation, start, earlierStarts, clusterId: this.#clusterId };
  }

  lastStall(): { readonly lengthMs: number; readonly endedAtMs: number } | undefined {
    return this.#watch.lastStall;
  }

  async stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    await this.#stopping;
  }

  // ------------------------------------------------------------------------------------------------ start and stop

  /** Reads the storage and builds the node: at the start, and again after the disk was full. */
  async #recover(): Promise<void> {
    const begun = this.#epoch.advance();
    // A turn that was to come in the last epoch is dropped, and must not keep the next ones from coming.
    this.#isTurnScheduled = false;
    const recovered = await this.#storage.recover();
    if (begun !== this.#epoch.current) return;
    if ('damage' in recovered) {
      this.#setCondition('damaged', recovered.damage.reason);
      return;
    }
    this.#recovered = recovered;
    this.#clusterId = recovered.clusterId;
    this.#registry.reset();
    this.#applyLoop.clear();
    const snapshotBytes = await this.#snapshots.restore();
    if (begun !== this.#epoch.current) return;
    if (this.#isMisplaced(this.#registry)) return;
    // Also by what is not known to be committed: a leader only registers what it has seen itself.
    const written = new Registry();
    for (const run of recovered.runs) written.apply(run);
    if (this.#isMisplaced(written)) return;
    this.#clusterId ??= this.#registry.clusterId;
    this.#snapshots.restored(recovered.snapshot, snapshotBytes);
    this.#intake.begin();
    if (!recovered.isEmpty) {
      this.#startNode(recovered);
      return;
    }
    this.#joining.begin(this.#now());
    this.#setCondition('joining', 'holds no data yet');
    this.#joinTurn();
  }

  #startNode(recovered: Recovered): void {
    const { hardState, runs, snapshot } = recovered;
    const initial: InitialState = {
      hardState,
      runs,
      snapshotIndex: snapshot?.index ?? ZERO_INDEX,
      snapshotTerm: snapshot?.term ?? ZERO_TERM,
      configuration: snapshot?.configuration ?? bootstrapConfiguration(runs[0]) ?? NO_MEMBERS,
      appliedIndex: snapshot?.index ?? ZERO_INDEX,
    };
    this.#applyLoop.restoredAt(initial.appliedIndex, initial.snapshotTerm);
    this.#node = new RaftNode(this.#raftOptions, initial, this.#now());
    this.#setCondition('serving', undefined);
    this.wake();
  }

  async #stop(): Promise<void> {
    if (this.#node?.status().role === 'leader' && this.#status.configuration.voters.length > 1) await this.#handOver();
    const { done } = this.#write ?? {};
    const installing = this.#installing;
    this.#halt();
    this.#condition = 'stopped';
    const closing = (async (): Promise<void> => {
      await done?.catch(() => undefined);
      await installing?.catch(() => undefined);
      await this.#intake.stop();
      await this.#snapshots.stop();
      await this.#recovering.catch(() => undefined);
      await this.#storage.close();
    })();
    // A write that hangs must not keep the process: what it leaves is what a crash would leave.
    let cancel = (): void => {};
    const late = new Promise<void>((resolve) => {
      cancel = this.#dependencies.clock.after(this.#options.stopTimeoutMs, resolve);
    });
    try {
      await Promise.race([closing, late]);
    } finally {
      cancel();
      closing.catch(() => undefined);
    }
  }

  /** Resolves when another node leads, or after one election time-out. */
  async #handOver(): Promise<void> {
    this.transferLeadership(undefined);
    await new Promise<void>((resolve) => {
      const cancel = this.#dependencies.clock.after(this.#raftOptions.electionTimeoutMs, resolve);
      this.#onStatus = (status) => {
        if (status.role === 'leader') return;
        cancel();
        resolve();
      };
    });
    this.#onStatus = undefined;
  }

  /** The node takes no more part; nothing that was begun calls back. */
  #halt(): void {
    this.#epoch.advance();
    this.#node = undefined;
    this.#joining.end();
    this.#isTurnScheduled = false;
    this.#timer.clear();
    this.#watch.stop();
    this.#inputs = [];
    this.#intake.clear();
    this.#pendingReads = [];
    this.#applyLoop.clear();
    this.#snapshots.abandonSending();
    this.#registration.forgetProposals();
    this.#write = undefined;
    this.#status = { ...this.#status, role: 'follower', leader: undefined, isReady: false, transferringTo: undefined };
  }

  /** A write failed: it may or may not be on the disk, so the node must not go on as if it knew. */
  #storageFailed(error: Error): void {
    if (this.#condition === 'stopped' || this.#condition === 'damaged') return;
    this.#halt();
    const code = error instanceof StorageError ? error.code : undefined;
    const remedy = error instanceof StorageError ? ` ${error.remedy}` : '';
    const condition = code === 'STORAGE_FULL' ? 'disk-full' : code === 'STORAGE_DAMAGED' ? 'damaged' : 'stopped';
    const closing = (async (): Promise<void> => {
      await this.#intake.stop();
      await this.#snapshots.stop().catch(() => undefined);
      await this.#storage.close().catch(() => undefined);
    })();
    this.#setCondition(condition, `${error.message}.${remedy}`);
    this.#dependencies.events.onStatusChanged(this.#status);
    this.#dependencies.events.onTurnEnd();
    if (condition === 'disk-full') {
      const recovering = 'recovering after the disk was full';
      const onError = (again: unknown): void => this.#storageFailed(toStorageError(again, recovering));
      void closing.then(() => this.#space.waitForRoom(() => this.#recoverWithRoom(), onError));
    }
    if (error instanceof InvariantViolation) throw error;
  }

  /** After the device was full: recovers as after a crash. */
  async #recoverWithRoom(): Promise<void> {
    const { stateMachine } = this.#dependencies;
    if (stateMachine.reset === undefined) {
      this.#setCondition('stopped', 'there is room again: start the process again');
      return;
    }
    stateMachine.reset();
    this.#recovering = this.#recover();
    await this.#recovering;
    if (this.#stopping === undefined) this.#beginToWatch();
  }

  // ------------------------------------------------------------------------------------------------ what arrives

  #input(input: Input): void {
    if (this.#node === undefined) return;
    this.#inputs.push(input);
    this.wake();
  }

  #onMessage(message: Message): void {
    if (this.#condition === 'removed' && isFromLeader(message) && message.term >= this.status().term)
      this.#setCondition('serving', undefined);
    this.#input({ type: 'receive', message });
  }

  #onTransfer(from: NodeId, transfer: SnapshotTransfer): void {
    if (this.#node === undefined) return;
    this.#intake.push(from, transfer);
    this.wake();
  }

  #onProbe(from: NodeId, probe: JoinProbe): void {
    if (this.#recovered === undefined || this.#condition === 'stopped' || this.#condition === 'damaged') return;
    this.#remember(from, probe.identity);
    this.#joining.heard(from, probe, this.#now());
    if (probe.type === 'join-request') this.#joining.answer(from, probe.identity, this.#joinStanding());
    this.wake();
  }

  #onPeerIdentity(peer: NodeId, identity: PeerIdentity): PeerVerdict {
    const { leader, configuration } = this.status();
    const verdict = this.#identities.judge(peer, identity, {
      clusterId: this.#clusterId,
      configuration: this.#node === undefined ? NO_MEMBERS : configuration,
      leader,
      isConfigurationConfirmed: this.isConfigurationConfirmed(),
    });
    if (!verdict.accept) return verdict;
    this.#remember(peer, identity);
    if (this.#refusedBy === peer) {
      this.#refusedBy = undefined;
      if (this.#condition === 'serving') this.#setCondition('serving', undefined);
    }
    this.wake();
    return verdict;
  }

  #remember(peer: NodeId, identity: PeerIdentity): void {
    if (this.#identities.remember(peer, identity)) this.#registration.lookAgain();
  }

  #onRefused(peer: NodeId, code: string, reason: string): void {
    if (this.#condition === 'stopped' || this.#condition === 'damaged') return;
    if (code === 'removed') {
      this.#removed(peer, reason);
      return;
    }
    if (code !== 'rolled-back') {
      if (code === 'another-instance') this.#joining.disowned(peer, this.#now());
      const { voters } = this.status().configuration;
      // Strangers and those that have left have no say.
      if (voters.length > 0 && !voters.includes(peer)) return;
      this.#refusedBy = peer;
      this.#setCondition(this.#condition, `${peer} refuses this node: ${reason}`);
      this.wake();
      return;
    }
    this.#refuseDirectory(`${peer} says that this data directory was rolled back to an older copy: ${reason}`);
  }

  /**
   * Another node says that this one is no member any more. The other may be behind: a member that left and was added
   * again is told so by who has heard of the first only. So this is a word to people, and no verdict: the node goes on
   * listening, and takes it back when a leader sends to it.
   */
  #removed(peer: NodeId, reason: string): void {
    const { leader } = this.status();
    // Somebody else leads it still: then it is the other that is behind.
    if (this.#node === undefined || (leader !== undefined && leader !== peer)) return;
    this.#setCondition('removed', `${peer} says: ${reason}`);
  }

  /** The log gives this data directory to another member: with it, that member would act twice. Stops the node then. */
  #isMisplaced(registry: Registry): boolean {
    const owner = this.#recovered === undefined ? undefined : registry.nameOf(this.#recovered.instanceId);
    if (owner === undefined || owner === this.#options.id) return false;
    const error = new StorageError(
      'STORAGE_MISPLACED',
      `the data directory is that of ${owner}, not of ${this.#options.id}`,
    );
    this.#storageFailed(error);
    return true;
  }

  /** Others know that this directory has lost something. It says so itself from now on. */
  #refuseDirectory(reason: string): void {
    this.#halt();
    this.#setCondition('damaged', reason);
    this.#dependencies.events.onStatusChanged(this.#status);
    this.#storage
      .markDamaged(reason)
      .catch((error: unknown) =>
        this.#setCondition('damaged', `${reason} (and that could not be written down: ${String(error)})`),
      );
  }

  // ------------------------------------------------------------------------------------------------ joining

  #joinStanding(): JoinStanding {
    const isEmpty = this.#recovered?.isEmpty !== false;
    return { identity: this.identity(), isEmpty, status: this.#node?.status() };
  }

  /** Decides on what has come in. */
  #joinTurn(): void {
    const recovered = this.#recovered;
    const decision = this.#joining.decide(this.#now());
    if (decision === undefined || recovered === undefined) return;
    if (decision.type === 'wait') {
      if (this.#reason !== decision.reason) this.#setCondition('joining', decision.reason);
      return;
    }
    this.#joining.end();
    const { id, initialCluster } = this.#options;
    if (decision.type === 'admitted' && !initialCluster.includes(id)) {
      this.#startNode(recovered);
      return;
    }
    const begun = this.#epoch.current;
    const voters = [...new Set(initialCluster)].sort();
    this.#storage.bootstrap({ ...NO_MEMBERS, voters }).then(
      () => {
        if (begun === this.#epoch.current) this.#bootstrapped(recovered, voters);
      },
      (error: unknown) => {
        if (begun === this.#epoch.current)
          this.#storageFailed(toStorageError(error, 'writing the bootstrap configuration'));
      },
    );
  }

  #bootstrapped(recovered: Recovered, voters: readonly NodeId[]): void {
    const begun = this.#epoch.current;
    const { run, hardState } = bootstrapState({ ...NO_MEMBERS, voters });
    this.#recovered = { ...recovered, isEmpty: false };
    this.#startNode({ ...recovered, isEmpty: false, hardState, runs: [run] });
    if (voters[0] !== this.#options.id) return;
    // Somebody has to be first: with random time-outs a new cluster would wait for up to two of them.
    const delayMs = voters.length === 1 ? 0 : this.#raftOptions.heartbeatMs;
    this.#dependencies.clock.after(delayMs, () => {
      if (begun === this.#epoch.current && this.#node?.status().leader === undefined) this.#input({ type: 'campaign' });
    });
  }

  // ------------------------------------------------------------------------------------------------ the turn

  #turn(): void {
    // Before the flag falls: what is proposed here belongs to this turn and asks for no other.
    this.#dependencies.events.onTurnBegin?.();
    this.#isTurnScheduled = false;
    const nowMs = this.#now();
    this.#watch.listened(nowMs);
    try {
      this.#joinTurn();
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
    const hasApplied = this.#node === node && this.#installing === undefined && this.#applyLoop.run(node);
    if (hasApplied && this.#node === node) {
      this.#carryOut(node, nowMs);
      transport.flush?.();
    }
    if (this.#node !== node) return;
    if (!this.#applyLoop.isIdle) this.wake();
    const status = node.status();
    this.#reportStatus(status);
    this.#confirmReads(status);
    this.#registerMembers(status);
    if (this.#installing === undefined) this.#snapshots.advance(status, this.#applyLoop, nowMs);
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
      if (ready.install !== undefined) this.#install(ready.install);
      if (ready.forgotten !== undefined) {
        const { leader, acknowledgedIndex, lastIndex } = ready.forgotten;
        this.#refuseDirectory(
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
        this.#input({ type: 'persisted', write, term, lastIndex });
      },
      (error: unknown) => {
        if (begun === this.#epoch.current)
          this.#storageFailed(error instanceof Error ? error : new Error(String(error)));
      },
    );
    this.#write = { done, sinceMs: nowMs, hasAbdicated: false };
  }

  /** The state machine has these entries. True where the node must not go on. */
  #onApplied(run: EntryRun): boolean {
    if (this.#registry.apply(run)) {
      this.#registration.lookAgain();
      for (const name of this.#registry.takeDeparted()) {
        this.#identities.departed(name);
        this.#registration.departed(name);
      }
      this.#learnClusterId();
      this.#dependencies.events.onRegistryChanged?.();
      if (this.#isMisplaced(this.#registry)) return true;
    }
    this.#snapshots.applied(run);
    return false;
  }

  #learnClusterId(): void {
    const { clusterId } = this.#registry;
    if (clusterId === undefined || clusterId === this.#clusterId) return;
    this.#clusterId = clusterId;
    const begun = this.#epoch.current;
    this.#storage.rememberClusterId(clusterId).catch((error: unknown) => {
      if (begun === this.#epoch.current) this.#storageFailed(toStorageError(error, 'writing the cluster id'));
    });
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

  #reportStatus(status: RaftStatus): void {
    const before = this.#status;
    this.#status = status;
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
    if (this.#recovered === undefined) return;
    this.#registration.run(status, this.#recovered.instanceId, (entry) => {
      const result = this.#node?.propose(entry, 0, Uint32Array.of(entry.length), this.#now());
      if (result?.type === 'accepted') this.wake();
      return result;
    });
  }

  /** The node wants its log and state replaced by a snapshot that was received. */
  #install(metadata: SnapshotMetadata): void {
    const begun = this.#epoch.current;
    // All of it is covered by the snapshot.
    this.#applyLoop.clear();
    this.#installing = (async (): Promise<void> => {
      await this.#snapshots.stop();
      const sink = this.#intake.sinkOf(metadata);
      if (sink === undefined) throw new InvariantViolation(`no snapshot at ${metadata.index} was received`);
      await sink.commit({ replaceLog: true });
      if (begun !== this.#epoch.current) return;
      const snapshotBytes = await this.#snapshots.restore();
      if (begun !== this.#epoch.current) return;
      this.#snapshots.restored(metadata, snapshotBytes);
      this.#applyLoop.restoredAt(metadata.index, metadata.term);
      this.#learnClusterId();
      this.#dependencies.events.onRegistryChanged?.();
      this.#input({ type: 'snapshot-installed', index: metadata.index });
    })().then(
      () => {
        this.#installing = undefined;
      },
      (error: unknown) => {
        this.#installing = undefined;
        if (begun === this.#epoch.current) this.#storageFailed(toStorageError(error, 'installing a snapshot'));
      },
    );
  }

  // ------------------------------------------------------------------------------------------------ time

  #now(): number {
    return this.#dependencies.clock.nowMs();
  }

  #beginToWatch(): void {
    this.#joining.askSoon();
    if (this.#node !== undefined || this.#joining.isUnderWay) this.#watch.start();
  }

  /** What no message and no deadline reports. */
  #look(nowMs: number): void {
    if (this.#joining.askAround(this.#identities.names(), this.#joinStanding(), nowMs)) this.wake();
    this.#watchWrite(nowMs);
    this.#snapshots.tick(nowMs);
    this.#space.measure(nowMs);
  }

  #watchWrite(nowMs: number): void {
    const write = this.#write;
    if (write === undefined || write.hasAbdicated || nowMs - write.sinceMs <= this.#options.diskStallMs) return;
    if (this.#node?.status().role !== 'leader') return;
    // Heartbeats must not outlive the ability to commit.
    write.hasAbdicated = true;
    this.#input({ type: 'abdicate' });
  }

  #onSpaceMeasured(isEnough: boolean, inWords: string): void {
    if (!isEnough && this.#condition === 'serving') this.#setCondition('disk-full', inWords);
    else if (isEnough && this.#condition === 'disk-full') this.#setCondition('serving', undefined);
  }

  // ------------------------------------------------------------------------------------------------ small things

  #setCondition(condition: NodeCondition, reason: string | undefined): void {
    if (this.#condition === condition && this.#reason === reason) return;
    this.#condition = condition;
    this.#reason = reason;
    this.#dependencies.events.onConditionChanged(condition, reason);
  }

  #notServing(): Refusal {
    return { type: 'refused', reason: 'not-leader', leader: undefined };
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
