import type { Configuration, ConfigurationChange } from '../core/configuration.ts';
import { decodeConfiguration } from '../core/configuration-codec.ts';
import { type LogIndex, type NodeId, type ReadRound, type Term, ZERO_INDEX, ZERO_TERM } from '../core/ids.ts';
import type { Input } from '../core/input.ts';
import { InvariantViolation } from '../core/invariant.ts';
import { isMember } from '../core/membership.ts';
import { isFromLeader, type Message, type SnapshotMetadata } from '../core/message.ts';
import type { InitialState, MemberProgress, ProposeResult, RaftOptions, RaftStatus, Refusal } from '../core/options.ts';
import { RaftNode } from '../core/raft-node.ts';
import type { PersistDuty } from '../core/ready.ts';
import { ApplyQueue } from './apply-queue.ts';
import { bootstrapConfiguration, bootstrapState } from './bootstrap.ts';
import type { NodeCondition, SnapshotCounters, WriteCounters } from './driver-api.ts';
import type { DriverDependencies, DriverOptions, OpenDriver } from './driver-options.ts';
import { bootstrapHash, Join } from './join.ts';
import { addressEntry, encodeTermStart, type MemberAddress, Registry, registrationEntry } from './registry.ts';
import { SnapshotMaker } from './snapshot-maker.ts';
import { progress, SnapshotReceiver } from './snapshot-receiver.ts';
import { SNAPSHOT_CHUNK_BYTES, SnapshotSender } from './snapshot-sender.ts';
import type { LogStorage, Recovered } from './storage.ts';
import { StorageError, toStorageError } from './storage-error.ts';
import type {
  JoinPhase,
  JoinProbe,
  PeerIdentity,
  PeerVerdict,
  SnapshotTransfer,
  TransportHandler,
} from './transport.ts';

const MIB = 1024 * 1024;

/** What `DriverOptions` and its `raft` stand at unless told otherwise. */
export const DRIVER_DEFAULTS: Required<
  Omit<DriverOptions, 'id' | 'initialCluster' | 'seeds' | 'newClusterId' | 'raft' | 'diskStallMs'>
> &
  Omit<RaftOptions, 'id' | 'random' | 'termStartPayload' | 'trace'> = {
  electionTimeoutMs: 500,
  heartbeatMs: 100,
  maxInflightMessages: 8,
  maxInflightBytes: MIB,
  maxAppendBytes: MIB / 4,
  maxUncommittedBytes: 16 * MIB,
  minFreeBytes: 128 * MIB,
  freeSpaceIntervalMs: 1000,
  snapshotMinBytes: 64 * MIB,
  snapshotRatio: 1,
  snapshotSliceBytes: MIB / 4,
  keepLogBytes: 16 * MIB,
  applyTurnMs: 5,
  applySliceBytes: MIB / 16,
  stopTimeoutMs: 5000,
};

/** How often the driver looks whether it could listen and whether the disk answers, in milliseconds. */
const WATCH_INTERVAL_MS = 50;
/** A gap between two looks from this length on is a stall. */
const STALL_MIN_MS = 100;
/** An empty node asks the others this often. */
const JOIN_INTERVAL_MS = 100;
/** Of a snapshot that is restored, so many bytes go to the state machine between two looks at the clock. */
const RESTORE_PIECE_BYTES = 16 * 1024;
/** Below this share of `minFreeBytes` nothing at all is proposed. */
const HARD_RESERVE_SHARE = 0.25;

const NO_CONFIGURATION: Configuration = { voters: [], outgoing: [], learners: [], learnersNext: [], autoLeave: false };

/** See `OpenDriverFunction`. */
export async function openDriver(options: DriverOptions, dependencies: DriverDependencies): Promise<OpenDriver> {
  const driver = new Driver(options, dependencies);
  await driver.start();
  return driver;
}

/**
 * Runs one `RaftNode`: collects what arrives in a turn of the event loop, steps it all at the turn's end, and carries out
 * what the node then asks for. Every callback into it goes through `#later`, which drops what belongs to a node that has
 * been stopped or has failed meanwhile.
 */
class Driver implements OpenDriver {
  readonly handler: TransportHandler;
  readonly writeCounters: WriteCounters = { writes: 0, entries: 0, entryBytes: 0 };
  readonly snapshotCounters: SnapshotCounters = {
    made: 0,
    restored: 0,
    longestSliceMs: 0,
    longestRestoreSliceMs: 0,
    lastMs: 0,
    lastBytes: 0,
  };
  readonly #options: Required<Omit<DriverOptions, 'raft'>>;
  readonly #raftOptions: RaftOptions;
  readonly #dependencies: DriverDependencies;
  readonly #storage: LogStorage;
  readonly #registry = new Registry();
  readonly #applyQueue: ApplyQueue;
  readonly #sender: SnapshotSender;
  readonly #peers = new Map<NodeId, Pick<PeerIdentity, 'instanceId' | 'incarnation' | 'start'>>();
  /** Peers that have not been heard from since they were last missed: their directory may be another one by now. */
  readonly #absent = new Set<NodeId>();

  /** Rises when the node is replaced or stopped: late callbacks of an earlier one are dropped. */
  #epoch = 0;
  #condition: NodeCondition = 'joining';
  #reason: string | undefined;
  /** `#reason` says that this peer refuses the link. */
  #refusedBy: NodeId | undefined;
  #recovered: Recovered | undefined;
  #clusterId: string | undefined;
  /** See `PeerIdentity.start`. */
  #startId = '';

  #node: RaftNode | undefined;
  #join: Join | undefined;
  #receiver: SnapshotReceiver | undefined;
  #status: RaftStatus;

  #inputs: Input[] = [];
  #transfers: { readonly from: NodeId; readonly transfer: SnapshotTransfer }[] = [];
  #isTurnScheduled = false;
  #isTickDue = false;
  #timer: { readonly dueMs: number; readonly cancel: () => void } | undefined;
  #cancelWatch: (() => void) | undefined;
  #lastListenedMs: number;
  #lastFreeSpaceMs = Number.NEGATIVE_INFINITY;
  #lastStall: { readonly lengthMs: number; readonly endedAtMs: number } | undefined;
  #freeBytes = Number.POSITIVE_INFINITY;

  /** The write that is out, and since when; `hasAbdicated` once that was too long. */
  #write: { readonly done: Promise<void>; readonly sinceMs: number; hasAbdicated: boolean } | undefined;
  #installing: Promise<void> | undefined;
  #recovering: Promise<void> = Promise.resolve();
  #appliedIndex: LogIndex = ZERO_INDEX;
  #appliedTerm: Term = ZERO_TERM;
  #pendingReads: { readonly round: ReadRound; readonly index: LogIndex }[] = [];
  #maker: SnapshotMaker;
  /** Followers that need a snapshot newer than the one there is, or the one being opened for them. */
  readonly #snapshotsWanted = new Map<NodeId, LogIndex>();
  #isSnapshotAsked = false;
  #snapshotStartedMs = 0;
  /** Something changed since the leader last looked whether all members' data directories are in the log. */
  #mayRegister = true;
  /** Proposed registrations, by node, with the term of the proposal. */
  readonly #registering = new Map<NodeId, Term>();
  #onStatus: ((status: RaftStatus) => void) | undefined;
  #stopping: Promise<void> | undefined;

  constructor(options: DriverOptions, dependencies: DriverDependencies) {
    const { clock, random, storage, transport } = dependencies;
    this.#dependencies = dependencies;
    this.#storage = storage;
    const { raft, ...own } = options;
    this.#raftOptions = {
      electionTimeoutMs: DRIVER_DEFAULTS.electionTimeoutMs,
      heartbeatMs: DRIVER_DEFAULTS.heartbeatMs,
      maxInflightMessages: DRIVER_DEFAULTS.maxInflightMessages,
      maxInflightBytes: DRIVER_DEFAULTS.maxInflightBytes,
      maxAppendBytes: DRIVER_DEFAULTS.maxAppendBytes,
      maxUncommittedBytes: DRIVER_DEFAULTS.maxUncommittedBytes,
      ...raft,
      id: options.id,
      random,
      termStartPayload: () => encodeTermStart({ clusterId: this.#registry.clusterId ?? this.#options.newClusterId() }),
    };
    this.#options = {
      seeds: [],
      minFreeBytes: DRIVER_DEFAULTS.minFreeBytes,
      freeSpaceIntervalMs: DRIVER_DEFAULTS.freeSpaceIntervalMs,
      snapshotMinBytes: DRIVER_DEFAULTS.snapshotMinBytes,
      snapshotRatio: DRIVER_DEFAULTS.snapshotRatio,
      snapshotSliceBytes: DRIVER_DEFAULTS.snapshotSliceBytes,
      keepLogBytes: DRIVER_DEFAULTS.keepLogBytes,
      applyTurnMs: DRIVER_DEFAULTS.applyTurnMs,
      applySliceBytes: DRIVER_DEFAULTS.applySliceBytes,
      diskStallMs: this.#raftOptions.electionTimeoutMs,
      stopTimeoutMs: DRIVER_DEFAULTS.stopTimeoutMs,
      ...own,
    };
    this.#status = idleStatus(options.id);
    this.#applyQueue = new ApplyQueue(this.#options.applySliceBytes);
    this.#maker = this.#newMaker(0);
    this.#sender = new SnapshotSender({
      send: (to, transfer) => transport.sendSnapshot(to, transfer),
      onAdvanced: (peer) => this.#input({ type: 'snapshot-advanced', peer }),
      onDone: (peer, index, ok) => this.#input({ type: 'snapshot-sent', peer, index: index as LogIndex, ok }),
      onReadError: (error) => this.#storageFailed(toStorageError(error, 'reading a snapshot')),
      resendMs: this.#raftOptions.electionTimeoutMs,
    });
    this.#lastListenedMs = clock.nowMs();
    this.handler = {
      onMessage: (message) => this.#onMessage(message),
      onSnapshot: (from, transfer) => this.#onTransfer(from, transfer),
      onProbe: (from, probe) => this.#onProbe(from, probe),
      onUnreachable: (peer) => {
        this.#absent.add(peer);
        this.#input({ type: 'unreachable', peer });
      },
      onLinkClosed: (peer) => {
        this.#absent.add(peer);
        this.#input({ type: 'link-closed', peer });
      },
      onPeerIdentity: (peer, identity) => this.#onPeerIdentity(peer, identity),
      onRefused: (peer, code, reason) => this.#onRefused(peer, code, reason),
    };
  }

  async start(): Promise<void> {
    await this.#recover();
    this.#watch();
  }

  propose(bytes: Uint8Array, start: number, ends: Uint32Array): ProposeResult {
    if (this.#node === undefined) return this.#notServing();
    // What is left is for what other nodes send and for this node's own bookkeeping.
    if (this.#freeBytes < this.#options.minFreeBytes * HARD_RESERVE_SHARE) {
      return { type: 'refused', reason: 'overloaded', leader: this.#status.leader };
    }
    const result = this.#node.propose(bytes, start, ends, this.#now());
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
    this.#isSnapshotAsked = true;
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
    const epoch = this.#epoch;
    this.#dependencies.clock.endOfTurn(() => {
      if (epoch === this.#epoch && this.#isTurnScheduled) this.#turn();
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
    return this.#join?.isDisowned(this.#now()) ?? false;
  }

  clusterId(): string | undefined {
    return this.#clusterId;
  }

  identity(): PeerIdentity | undefined {
    if (this.#recovered === undefined) return undefined;
    const { instanceId, incarnation } = this.#recovered;
    return { instanceId, incarnation, start: this.#startId, clusterId: this.#clusterId };
  }

  lastStall(): { readonly lengthMs: number; readonly endedAtMs: number } | undefined {
    return this.#lastStall;
  }

  async stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    await this.#stopping;
  }

  // ------------------------------------------------------------------------------------------------ start and stop

  /** Reads the storage and builds the node: at the start, and again after the disk was full. */
  async #recover(): Promise<void> {
    const epoch = ++this.#epoch;
    const recovered = await this.#storage.recover();
    if (epoch !== this.#epoch) return;
    if ('damage' in recovered) {
      this.#setCondition('damaged', recovered.damage.reason);
      return;
    }
    this.#recovered = recovered;
    this.#startId = this.#dependencies.random(2 ** 32).toString(16);
    this.#clusterId = recovered.clusterId;
    this.#registry.reset();
    this.#applyQueue.clear();
    const snapshotBytes = await this.#restoreSnapshot();
    if (epoch !== this.#epoch) return;
    if (this.#isMisplaced(this.#registry)) return;
    // Also by what is not known to be committed: a leader only registers what it has seen itself.
    const written = new Registry();
    for (const run of recovered.runs) written.apply(run);
    if (this.#isMisplaced(written)) return;
    this.#clusterId ??= this.#registry.clusterId;
    this.#maker = this.#newMaker(snapshotBytes);
    if (recovered.snapshot !== undefined) this.#maker.restored(recovered.snapshot);
    this.#receiver = new SnapshotReceiver({
      storage: this.#storage,
      answer: (to, transfer) => this.#dependencies.transport.sendSnapshot(to, transfer),
      onComplete: (from, term, metadata) =>
        this.#input({
          type: 'receive',
          message: { type: 'snapshot-request', from, to: this.#options.id, term, metadata },
        }),
      onError: (error) => this.#storageFailed(toStorageError(error, 'writing a received snapshot')),
    });
    if (recovered.isEmpty) {
      this.#join = new Join({
        id: this.#options.id,
        initialCluster: this.#options.initialCluster,
        patienceMs: this.#raftOptions.electionTimeoutMs,
        nowMs: this.#now(),
      });
      this.#setCondition('joining', 'holds no data yet');
      this.#joinTurn();
    } else {
      this.#startNode(recovered);
    }
  }

  #startNode(recovered: Recovered): void {
    const { hardState, runs, snapshot } = recovered;
    const initial: InitialState = {
      hardState,
      runs,
      snapshotIndex: snapshot?.index ?? ZERO_INDEX,
      snapshotTerm: snapshot?.term ?? ZERO_TERM,
      configuration: snapshot?.configuration ?? bootstrapConfiguration(runs[0]) ?? NO_CONFIGURATION,
      appliedIndex: snapshot?.index ?? ZERO_INDEX,
    };
    this.#appliedIndex = initial.appliedIndex;
    this.#appliedTerm = initial.snapshotTerm;
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
      await this.#receiver?.stop();
      await this.#maker.stop();
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
    this.#epoch += 1;
    this.#node = undefined;
    this.#join = undefined;
    this.#isTurnScheduled = false;
    this.#isTickDue = false;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#cancelWatch?.();
    this.#cancelWatch = undefined;
    this.#inputs = [];
    this.#transfers = [];
    this.#pendingReads = [];
    this.#applyQueue.clear();
    this.#sender.cancelAll();
    this.#snapshotsWanted.clear();
    this.#registering.clear();
    this.#write = undefined;
    this.#status = { ...this.#status, role: 'follower', leader: undefined, isReady: false, transferringTo: undefined };
  }

  /** A write failed: it may or may not be on the disk, so the node must not go on as if it knew. */
  #storageFailed(error: Error): void {
    if (this.#condition === 'stopped' || this.#condition === 'damaged') return;
    const maker = this.#maker;
    const receiver = this.#receiver;
    this.#halt();
    const code = error instanceof StorageError ? error.code : undefined;
    const remedy = error instanceof StorageError ? ` ${error.remedy}` : '';
    const condition = code === 'STORAGE_FULL' ? 'disk-full' : code === 'STORAGE_DAMAGED' ? 'damaged' : 'stopped';
    const closing = (async (): Promise<void> => {
      await receiver?.stop();
      await maker.stop().catch(() => undefined);
      await this.#storage.close().catch(() => undefined);
    })();
    this.#setCondition(condition, `${error.message}.${remedy}`);
    this.#dependencies.events.onStatusChanged(this.#status);
    this.#dependencies.events.onTurnEnd();
    if (condition === 'disk-full') void closing.then(() => this.#waitForSpace(this.#epoch));
    if (error instanceof InvariantViolation) throw error;
  }

  /** After the device was full: recovers as after a crash once there is room. */
  #waitForSpace(epoch: number): void {
    if (epoch !== this.#epoch) return;
    this.#dependencies.clock.after(this.#options.freeSpaceIntervalMs, () => {
      if (epoch !== this.#epoch) return;
      this.#storage
        .freeBytes()
        .then(async (freeBytes) => {
          if (epoch !== this.#epoch) return;
          if (freeBytes <= this.#options.minFreeBytes) {
            this.#waitForSpace(epoch);
            return;
          }
          this.#freeBytes = freeBytes;
          const { stateMachine } = this.#dependencies;
          if (stateMachine.reset === undefined) {
            this.#setCondition('stopped', 'there is room again: start the process again');
            return;
          }
          stateMachine.reset();
          this.#recovering = this.#recover();
          await this.#recovering;
          if (this.#stopping === undefined) this.#watch();
        })
        .catch((error: unknown) => this.#storageFailed(toStorageError(error, 'recovering after the disk was full')));
    });
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
    this.#transfers.push({ from, transfer });
    this.wake();
  }

  #onProbe(from: NodeId, probe: JoinProbe): void {
    if (this.#recovered === undefined || this.#condition === 'stopped' || this.#condition === 'damaged') return;
    this.#rememberPeer(from, probe.identity);
    this.#join?.heard(from, probe, this.#now());
    if (probe.type === 'join-request') {
      this.#dependencies.transport.sendProbe(from, this.#probe('join-answer', this.#verdictOn(from, probe.identity)));
    }
    this.wake();
  }

  /** Whether the data directory behind this name is the one the cluster knows. */
  #onPeerIdentity(peer: NodeId, identity: PeerIdentity): PeerVerdict {
    const { clusterId, instanceId, incarnation } = identity;
    const refuse = (code: Extract<PeerVerdict, { readonly accept: false }>['code'], reason: string): PeerVerdict => ({
      accept: false,
      code,
      reason,
    });
    if (clusterId !== undefined && this.#clusterId !== undefined && clusterId !== this.#clusterId) {
      return refuse('another-cluster', `${peer} belongs to cluster ${clusterId}, this node to ${this.#clusterId}`);
    }
    const registered = this.#registry.instanceOf(peer);
    if (registered !== undefined && registered !== instanceId) {
      return refuse('another-instance', `${peer} is registered with data directory ${registered}, not ${instanceId}`);
    }
    const known = this.#peers.get(peer);
    if (known?.instanceId === instanceId && known.incarnation > incarnation) {
      return refuse(
        'rolled-back',
        `${peer} comes with start ${incarnation} of its data directory, after start ${known.incarnation}`,
      );
    }
    if (known?.instanceId === instanceId && known.incarnation === incarnation && isAnotherStart(known, identity)) {
      return refuse('rolled-back', `${peer} comes with start ${incarnation} of its data directory for the second time`);
    }
    const configuration = this.#node?.status().configuration ?? NO_CONFIGURATION;
    // Founded and not yet registered: whoever comes with another directory now may have lost a vote that it gave.
    if (
      registered === undefined &&
      known !== undefined &&
      known.instanceId !== instanceId &&
      configuration.voters.includes(peer)
    ) {
      return refuse('another-instance', `${peer} came with data directory ${known.instanceId}, now with ${instanceId}`);
    }
    // Only while a leader is heard: else this node may be the one that is behind, and be needed by the other, or need it.
    const isLed = this.status().leader !== undefined;
    const isRemoved = this.#registry.hasRemoved(instanceId) && !isMember(configuration, peer);
    if (isLed && isRemoved && this.isConfigurationConfirmed()) {
      return refuse('removed', `${peer} was removed from the cluster`);
    }
    this.#rememberPeer(peer, identity);
    if (this.#refusedBy === peer) {
      this.#refusedBy = undefined;
      if (this.#condition === 'serving') this.#setCondition('serving', undefined);
    }
    this.wake();
    return { accept: true };
  }

  #onRefused(peer: NodeId, code: string, reason: string): void {
    if (this.#condition === 'stopped' || this.#condition === 'damaged') return;
    if (code === 'removed') {
      this.#removed(peer, reason);
      return;
    }
    if (code !== 'rolled-back') {
      if (code === 'another-instance') this.#join?.disowned(peer, this.#now());
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

  #rememberPeer(peer: NodeId, identity: PeerIdentity): void {
    if (this.#absent.delete(peer)) this.#mayRegister = true;
    const { instanceId, incarnation, start } = identity;
    const known = this.#peers.get(peer);
    const isKnown = known?.instanceId === instanceId && known.incarnation >= incarnation;
    if (isKnown && (known.incarnation > incarnation || known.start !== undefined)) return;
    if (!isKnown) this.#mayRegister = true;
    this.#peers.set(peer, { instanceId, incarnation, start });
  }

  // ------------------------------------------------------------------------------------------------ joining

  #phase(): JoinPhase {
    if (this.#node === undefined) return this.#recovered?.isEmpty === false ? 'used' : 'empty';
    const { term, lastIndex, votedFor } = this.#node.status();
    return lastIndex <= 1 && term <= 1 && votedFor === undefined ? 'fresh' : 'used';
  }

  #probe(type: JoinProbe['type'], verdict: JoinProbe['verdict']): JoinProbe {
    const identity = this.identity();
    if (identity === undefined) throw new InvariantViolation('a probe before recovery');
    return {
      type,
      identity,
      phase: this.#phase(),
      bootstrapHash: bootstrapHash(this.#options.initialCluster),
      verdict,
    };
  }

  #verdictOn(peer: NodeId, identity: PeerIdentity): JoinProbe['verdict'] {
    const registered = this.#registry.instanceOf(peer);
    if (registered !== undefined && registered !== identity.instanceId) return 'another-instance';
    const status = this.#node?.status();
    return registered !== undefined && status?.role === 'leader' && status.isReady ? 'admitted' : 'undecided';
  }

  /** A leader enters the data directories it has seen into the log: those of members that are not in it yet. */
  #registerMembers(): void {
    const status = this.#node?.status();
    if (status === undefined || status.role !== 'leader' || !status.isReady || this.#recovered === undefined) return;
    this.#mayRegister = false;
    const { voters, outgoing, learners } = status.configuration;
    for (const member of new Set([...voters, ...outgoing, ...learners])) {
      if (this.#registry.instanceOf(member) !== undefined || this.#registering.get(member) === status.term) continue;
      // A name that was removed and added again may stand for a new directory: registering the one it had would lock the
      // new one out for good.
      const instanceId =
        member === this.#options.id
          ? this.#recovered.instanceId
          : this.#absent.has(member)
            ? undefined
            : this.#peers.get(member)?.instanceId;
      if (instanceId === undefined) continue;
      const entry = registrationEntry(member, instanceId);
      const result = this.#node?.propose(entry, 0, Uint32Array.of(entry.length), this.#now());
      if (result?.type !== 'accepted') {
        this.#mayRegister = true;
        return;
      }
      this.#registering.set(member, status.term);
      this.wake();
    }
  }

  /** Asks around, and decides on what has come in. */
  #joinTurn(): void {
    const join = this.#join;
    const recovered = this.#recovered;
    if (join === undefined || recovered === undefined) return;
    const decision = join.decide(this.#now());
    if (decision.type === 'wait') {
      if (this.#reason !== decision.reason) this.#setCondition('joining', decision.reason);
      return;
    }
    this.#join = undefined;
    const { id, initialCluster } = this.#options;
    if (decision.type === 'admitted' && !initialCluster.includes(id)) {
      this.#startNode(recovered);
      return;
    }
    const epoch = this.#epoch;
    const voters = [...new Set(initialCluster)].sort();
    this.#storage.bootstrap({ ...NO_CONFIGURATION, voters }).then(
      () => {
        if (epoch === this.#epoch) this.#bootstrapped(recovered, voters);
      },
      (error: unknown) => {
        if (epoch === this.#epoch) this.#storageFailed(toStorageError(error, 'writing the bootstrap configuration'));
      },
    );
  }

  #bootstrapped(recovered: Recovered, voters: readonly NodeId[]): void {
    const epoch = this.#epoch;
    const { run, hardState } = bootstrapState({ ...NO_CONFIGURATION, voters });
    this.#recovered = { ...recovered, isEmpty: false };
    this.#startNode({ ...recovered, isEmpty: false, hardState, runs: [run] });
    if (voters[0] !== this.#options.id) return;
    // Somebody has to be first: with random time-outs a new cluster would wait for up to two of them.
    const delayMs = voters.length === 1 ? 0 : this.#raftOptions.heartbeatMs;
    this.#dependencies.clock.after(delayMs, () => {
      if (epoch === this.#epoch && this.#node?.status().leader === undefined) this.#input({ type: 'campaign' });
    });
  }

  #sendProbes(): void {
    const { id, initialCluster, seeds } = this.#options;
    // Also those who came by themselves: the leader may be none of those this node was started with.
    for (const node of new Set([...initialCluster, ...seeds, ...this.#peers.keys()])) {
      if (node !== id) this.#dependencies.transport.sendProbe(node, this.#probe('join-request', 'undecided'));
    }
  }

  // ------------------------------------------------------------------------------------------------ the turn

  #turn(): void {
    // Before the flag falls: what is proposed here belongs to this turn and asks for no other.
    this.#dependencies.events.onTurnBegin?.();
    this.#isTurnScheduled = false;
    const nowMs = this.#now();
    this.#listened(nowMs);
    try {
      if (this.#join !== undefined) this.#joinTurn();
      if (this.#node !== undefined) this.#runNode(this.#node, nowMs);
    } catch (error) {
      // A bug: no message that the node might still owe is worth more than stopping here.
      this.#storageFailed(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
    this.#dependencies.events.onTurnEnd();
  }

  #runNode(node: RaftNode, nowMs: number): void {
    const inputs = this.#inputs;
    this.#inputs = [];
    for (const input of inputs) node.step(input, nowMs);
    this.#takeTransfers(node, nowMs);
    if (this.#isTickDue) {
      this.#isTickDue = false;
      if (nowMs >= node.nextDeadlineMs()) node.step({ type: 'tick' }, nowMs);
    }
    this.#carryOut(node, nowMs);
    this.#dependencies.transport.flush?.();
    // Applying may end the node.
    const hasApplied = this.#node === node && this.#apply(node);
    if (hasApplied && this.#node === node) {
      this.#carryOut(node, nowMs);
      this.#dependencies.transport.flush?.();
    }
    if (this.#node !== node) return;
    if (!this.#applyQueue.isEmpty) this.wake();
    const status = node.status();
    this.#reportStatus(status);
    this.#confirmReads(status);
    if (this.#mayRegister) this.#registerMembers();
    this.#advanceSnapshots(node, status, nowMs);
    this.#armTimer(node.nextDeadlineMs(), nowMs);
  }

  /** Takes and starts every duty the node has. */
  #carryOut(node: RaftNode, nowMs: number): void {
    const { transport } = this.#dependencies;
    for (let ready = node.takeReady(); ready !== undefined; ready = node.takeReady()) {
      for (const message of ready.messages) transport.send(message);
      if (ready.persist !== undefined) this.#persist(ready.persist, nowMs);
      if (ready.committed.length > 0) this.#applyQueue.push(ready.committed);
      if (ready.reads !== undefined) this.#pendingReads.push(ready.reads);
      for (const { to, atLeast } of ready.sendSnapshots) this.#snapshotsWanted.set(to, atLeast);
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
    const epoch = this.#epoch;
    const { write, term, lastIndex } = duty;
    const counters = this.writeCounters;
    counters.writes++;
    for (const run of duty.runs) {
      counters.entries += run.count;
      counters.entryBytes += run.byteLength;
    }
    const done = this.#storage.persist(duty).then(
      () => {
        if (epoch !== this.#epoch) return;
        this.#write = undefined;
        this.#input({ type: 'persisted', write, term, lastIndex });
      },
      (error: unknown) => {
        if (epoch === this.#epoch) this.#storageFailed(error instanceof Error ? error : new Error(String(error)));
      },
    );
    this.#write = { done, sinceMs: nowMs, hasAbdicated: false };
  }

  /** Applies for a bounded time. True if it applied anything. */
  #apply(node: RaftNode): boolean {
    if (this.#applyQueue.isEmpty || this.#installing !== undefined) return false;
    const { clock, stateMachine } = this.#dependencies;
    const startedMs = clock.nowMs();
    let nowMs = startedMs;
    do {
      const run = this.#applyQueue.take();
      if (run === undefined) break;
      stateMachine.apply(run);
      if (this.#registry.apply(run)) {
        this.#mayRegister = true;
        for (const name of this.#registry.takeDeparted()) {
          this.#absent.add(name);
          this.#registering.delete(name);
          this.#peers.delete(name);
        }
        this.#learnClusterId();
        this.#dependencies.events.onRegistryChanged?.();
        if (this.#isMisplaced(this.#registry)) return true;
      }
      this.#appliedIndex = run.lastIndex;
      this.#appliedTerm = run.term;
      this.#maker.applied(run);
      nowMs = clock.nowMs();
    } while (nowMs - startedMs < this.#options.applyTurnMs);
    node.step({ type: 'applied', lastIndex: this.#appliedIndex }, nowMs);
    return true;
  }

  #learnClusterId(): void {
    const { clusterId } = this.#registry;
    if (clusterId === undefined || clusterId === this.#clusterId) return;
    this.#clusterId = clusterId;
    const epoch = this.#epoch;
    this.#storage.rememberClusterId(clusterId).catch((error: unknown) => {
      if (epoch === this.#epoch) this.#storageFailed(toStorageError(error, 'writing the cluster id'));
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
    this.#mayRegister = true;
    if (status.role !== 'leader') {
      this.#pendingReads = [];
      this.#registering.clear();
      this.#sender.cancelAll();
      this.#snapshotsWanted.clear();
    }
    this.#onStatus?.(status);
    this.#dependencies.events.onStatusChanged(status);
  }

  // ------------------------------------------------------------------------------------------------ snapshots

  #newMaker(lastSnapshotBytes: number): SnapshotMaker {
    const { snapshotMinBytes, snapshotRatio, snapshotSliceBytes, keepLogBytes } = this.#options;
    return new SnapshotMaker({
      storage: this.#storage,
      minBytes: snapshotMinBytes,
      ratio: snapshotRatio,
      sliceBytes: snapshotSliceBytes,
      keepLogBytes,
      lastSnapshotBytes,
      nowMs: () => this.#now(),
      wake: () => this.wake(),
      onCreated: (metadata, compactTo) => {
        this.snapshotCounters.made += 1;
        this.snapshotCounters.lastMs = this.#now() - this.#snapshotStartedMs;
        this.snapshotCounters.lastBytes = this.#maker.lastSnapshotBytes;
        this.#input({ type: 'snapshot-created', metadata, compactTo: compactTo.index });
        this.#compact(compactTo);
      },
      onError: (error) => this.#storageFailed(toStorageError(error, 'writing a snapshot')),
    });
  }

  #compact(compactTo: { readonly index: LogIndex; readonly term: Term }): void {
    const epoch = this.#epoch;
    this.#storage.compact(compactTo.index, compactTo.term).catch((error: unknown) => {
      if (epoch === this.#epoch) this.#storageFailed(toStorageError(error, 'compacting the log'));
    });
  }

  /** One slice of the snapshot being made, or the start of one; and those that followers wait for. */
  #advanceSnapshots(node: RaftNode, status: RaftStatus, nowMs: number): void {
    if (this.#installing !== undefined) return;
    const isWanted =
      this.#isSnapshotAsked ||
      [...this.#snapshotsWanted.values()].some((atLeast) => atLeast > this.#maker.snapshotIndex);
    // What is applied may not be durable here yet; a snapshot must not run ahead of the log on this disk.
    const canStart = this.#appliedIndex === status.appliedIndex && this.#appliedIndex <= status.stableIndex;
    if (canStart && !this.#maker.isBusy && this.#maker.isDue(isWanted)) {
      const metadata = {
        index: this.#appliedIndex,
        term: this.#appliedTerm,
        configuration: node.status().configuration,
      };
      this.#isSnapshotAsked = false;
      this.#snapshotStartedMs = nowMs;
      this.#maker.start(metadata, this.#registry.preamble(), this.#dependencies.stateMachine.beginSnapshot());
    }
    if (this.#maker.isBusy) {
      const sliceStartedMs = this.#now();
      this.#maker.slice();
      const tookMs = this.#now() - sliceStartedMs;
      if (tookMs > this.snapshotCounters.longestSliceMs) this.snapshotCounters.longestSliceMs = tookMs;
    }
    for (const [to, atLeast] of this.#snapshotsWanted) {
      if (atLeast > this.#maker.snapshotIndex || this.#maker.snapshotIndex === 0) continue;
      this.#snapshotsWanted.delete(to);
      this.#sendSnapshot(to, status.term, nowMs);
    }
  }

  #sendSnapshot(to: NodeId, term: Term, nowMs: number): void {
    const epoch = this.#epoch;
    this.#storage.openSnapshot().then(
      async (source) => {
        const isLeading = epoch === this.#epoch && this.#status.role === 'leader' && this.#status.term === term;
        if (source === undefined || !isLeading) await source?.close();
        else this.#sender.start(to, source, term, nowMs);
      },
      (error: unknown) => {
        if (epoch === this.#epoch) this.#storageFailed(toStorageError(error, 'opening the snapshot'));
      },
    );
  }

  #takeTransfers(node: RaftNode, nowMs: number): void {
    const transfers = this.#transfers;
    if (transfers.length === 0) return;
    this.#transfers = [];
    const { term, commitIndex } = node.status();
    for (const { from, transfer } of transfers) {
      if (transfer.type === 'snapshot-progress') {
        this.#sender.progress(from, transfer, nowMs);
      } else if (transfer.term < term) {
        this.#dependencies.transport.sendSnapshot(from, progress(transfer, 0, true));
      } else if (transfer.index <= commitIndex) {
        // All of it is here already, perhaps through an installation whose end the leader has not heard of.
        this.#dependencies.transport.sendSnapshot(from, progress(transfer, transfer.byteLength, false));
        this.#stepSnapshotRequest(node, from, transfer, nowMs);
      } else {
        this.#receiver?.chunk(from, transfer);
      }
    }
  }

  #stepSnapshotRequest(
    node: RaftNode,
    from: NodeId,
    chunk: Extract<SnapshotTransfer, { readonly type: 'snapshot-chunk' }>,
    nowMs: number,
  ): void {
    const configuration = decodeConfiguration(chunk.configuration);
    if (configuration === undefined) return;
    const metadata = { index: chunk.index as LogIndex, term: chunk.snapshotTerm as Term, configuration };
    const message = {
      type: 'snapshot-request',
      from,
      to: this.#options.id,
      term: chunk.term as Term,
      metadata,
    } as const;
    node.step({ type: 'receive', message }, nowMs);
  }

  /** The node wants its log and state replaced by a snapshot that the receiver holds. */
  #install(metadata: SnapshotMetadata): void {
    const epoch = this.#epoch;
    const maker = this.#maker;
    // All of it is covered by the snapshot.
    this.#applyQueue.clear();
    this.#installing = (async (): Promise<void> => {
      await maker.stop();
      const sink = this.#receiver?.take(metadata);
      if (sink === undefined) throw new InvariantViolation(`no snapshot at ${metadata.index} was received`);
      await sink.commit({ replaceLog: true });
      if (epoch !== this.#epoch) return;
      const snapshotBytes = await this.#restoreSnapshot();
      if (epoch !== this.#epoch) return;
      this.#maker = this.#newMaker(snapshotBytes);
      this.#maker.restored(metadata);
      this.#appliedIndex = metadata.index;
      this.#appliedTerm = metadata.term;
      this.#learnClusterId();
      this.#dependencies.events.onRegistryChanged?.();
      this.#input({ type: 'snapshot-installed', index: metadata.index });
    })().then(
      () => {
        this.#installing = undefined;
      },
      (error: unknown) => {
        this.#installing = undefined;
        if (epoch === this.#epoch) this.#storageFailed(toStorageError(error, 'installing a snapshot'));
      },
    );
  }

  /** Puts registry and state machine into the state of the stored snapshot. Resolves to its size, 0 without one. */
  async #restoreSnapshot(): Promise<number> {
    const source = await this.#storage.openSnapshot();
    if (source === undefined) return 0;
    const counters = this.snapshotCounters;
    const timed = (slice: () => void): void => {
      const startedMs = this.#now();
      slice();
      counters.longestRestoreSliceMs = Math.max(counters.longestRestoreSliceMs, this.#now() - startedMs);
    };
    try {
      let offset = await this.#registry.restore((at, length) => source.read(at, length));
      const writer = this.#dependencies.stateMachine.beginRestore();
      let turnStartedMs = this.#now();
      while (offset < source.byteLength) {
        const chunk = await source.read(offset, SNAPSHOT_CHUNK_BYTES);
        if (chunk.length === 0) throw new StorageError('STORAGE_DAMAGED', 'the snapshot is cut short');
        // A follower that installs one goes on hearing its leader meanwhile.
        for (let from = 0; from < chunk.length; from += RESTORE_PIECE_BYTES) {
          timed(() => writer.write(chunk.subarray(from, from + RESTORE_PIECE_BYTES)));
          if (this.#now() - turnStartedMs < this.#options.applyTurnMs) continue;
          await this.#nextTurn();
          turnStartedMs = this.#now();
        }
        offset += chunk.length;
      }
      timed(() => writer.finish());
      counters.restored += 1;
      return source.byteLength;
    } finally {
      await source.close();
    }
  }

  #nextTurn(): Promise<void> {
    return new Promise((resolve) => {
      this.#dependencies.clock.endOfTurn(resolve);
    });
  }

  // ------------------------------------------------------------------------------------------------ time

  #now(): number {
    return this.#dependencies.clock.nowMs();
  }

  /** One timer for the node's next deadline. One that is too early is left to fire and set again. */
  #armTimer(dueMs: number, nowMs: number): void {
    if (dueMs === Number.POSITIVE_INFINITY) return;
    if (this.#timer !== undefined) {
      if (this.#timer.dueMs <= dueMs) return;
      this.#timer.cancel();
    }
    const epoch = this.#epoch;
    const cancel = this.#dependencies.clock.after(Math.max(0, dueMs - nowMs), () => {
      if (epoch !== this.#epoch) return;
      this.#timer = undefined;
      // Timers run before the event loop has read what waits in the sockets: after a stall, heartbeats that arrived in
      // time would be read too late. One poll phase first; then the turn reads the time again.
      this.#isTickDue = true;
      this.wake();
    });
    this.#timer = { dueMs, cancel };
  }

  /** Looks after what no message and no deadline reports: stalls of the event loop and of the disk, and the space on it. */
  #watch(): void {
    const epoch = this.#epoch;
    this.#cancelWatch?.();
    let lastProbeMs = Number.NEGATIVE_INFINITY;
    const look = (): void => {
      if (epoch !== this.#epoch) return;
      const nowMs = this.#now();
      this.#listened(nowMs);
      if (this.#join !== undefined && nowMs - lastProbeMs >= JOIN_INTERVAL_MS) {
        lastProbeMs = nowMs;
        this.#sendProbes();
        this.wake();
      }
      this.#watchWrite(nowMs);
      if (!this.#sender.isIdle) this.#sender.tick(nowMs);
      this.#measureSpace(nowMs);
      this.#cancelWatch = this.#dependencies.clock.after(WATCH_INTERVAL_MS, look);
    };
    if (this.#node !== undefined || this.#join !== undefined) look();
  }

  #watchWrite(nowMs: number): void {
    const write = this.#write;
    if (write === undefined || write.hasAbdicated || nowMs - write.sinceMs <= this.#options.diskStallMs) return;
    if (this.#node?.status().role !== 'leader') return;
    // Heartbeats must not outlive the ability to commit.
    write.hasAbdicated = true;
    this.#input({ type: 'abdicate' });
  }

  #measureSpace(nowMs: number): void {
    const { minFreeBytes, freeSpaceIntervalMs } = this.#options;
    if (minFreeBytes === 0 || nowMs - this.#lastFreeSpaceMs < freeSpaceIntervalMs) return;
    this.#lastFreeSpaceMs = nowMs;
    const epoch = this.#epoch;
    this.#storage.freeBytes().then(
      (freeBytes) => {
        if (epoch !== this.#epoch) return;
        this.#freeBytes = freeBytes;
        if (freeBytes < minFreeBytes && this.#condition === 'serving') {
          this.#setCondition(
            'disk-full',
            `${Math.floor(freeBytes / MIB)} MiB are left on the device, less than ${Math.floor(minFreeBytes / MIB)} MiB`,
          );
        } else if (freeBytes >= minFreeBytes && this.#condition === 'disk-full') {
          this.#setCondition('serving', undefined);
        }
      },
      // Not being able to measure is no reason to stop; a write will tell.
      () => undefined,
    );
  }

  #listened(nowMs: number): void {
    const lengthMs = nowMs - this.#lastListenedMs;
    this.#lastListenedMs = nowMs;
    if (lengthMs >= STALL_MIN_MS) this.#lastStall = { lengthMs, endedAtMs: nowMs };
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

/** The directory stands where it stood at an earlier start, and has been started once more. */
function isAnotherStart(known: Pick<PeerIdentity, 'start'>, identity: PeerIdentity): boolean {
  return known.start !== undefined && identity.start !== undefined && known.start !== identity.start;
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
    configuration: NO_CONFIGURATION,
    isReady: false,
    transferringTo: undefined,
  };
}
