import type { ConfigurationChange } from '../core/configuration.ts';
import type { EntryRun } from '../core/entry-run.ts';
import type { NodeId, ReadRound } from '../core/ids.ts';
import type { Input } from '../core/input.ts';
import type { Message } from '../core/message.ts';
import type { MemberProgress, ProposeResult, RaftStatus, Refusal } from '../core/options.ts';
import { ApplyLoop } from './apply-loop.ts';
import { Condition } from './condition.ts';
import { DiskSpace } from './disk-space.ts';
import type { NodeCondition, SnapshotCounters, WriteCounters } from './driver-api.ts';
import { type CompleteDriverOptions, completeOptions, completeRaftOptions } from './driver-defaults.ts';
import type { DriverDependencies, DriverOptions, OpenDriver } from './driver-options.ts';
import { Epoch } from './epoch.ts';
import { Introductions } from './introductions.ts';
import { Joining } from './joining.ts';
import { Lifecycle } from './lifecycle.ts';
import { MemberRegistration } from './member-registration.ts';
import { OwnDirectory } from './own-directory.ts';
import { PeerIdentities } from './peer-identities.ts';
import { addressEntry, encodeTermStart, type MemberAddress, Registry } from './registry.ts';
import { SnapshotInstallation } from './snapshot-installation.ts';
import { SnapshotIntake } from './snapshot-intake.ts';
import { Snapshots } from './snapshots.ts';
import type { PeerIdentity, SnapshotTransfer, TransportHandler } from './transport.ts';
import { TurnLoop } from './turn-loop.ts';
import { Watch } from './watch.ts';

/** See `OpenDriverFunction`. */
export async function openDriver(options: DriverOptions, dependencies: DriverDependencies): Promise<OpenDriver> {
  const driver = new Driver(options, dependencies);
  await driver.start();
  return driver;
}

/** Puts the parts of a node together, and is what the outside sees of them: `TurnLoop` runs the node, `Lifecycle` starts and ends it. */
class Driver implements OpenDriver {
  readonly handler: TransportHandler;
  readonly writeCounters: Readonly<WriteCounters>;
  readonly snapshotCounters: Readonly<SnapshotCounters>;
  readonly #options: CompleteDriverOptions;
  readonly #dependencies: DriverDependencies;
  readonly #registry = new Registry();
  readonly #condition: Condition;
  readonly #directory: OwnDirectory;
  readonly #identities: PeerIdentities;
  readonly #registration: MemberRegistration;
  readonly #joining: Joining;
  readonly #snapshots: Snapshots;
  readonly #intake: SnapshotIntake;
  readonly #space: DiskSpace;
  readonly #watch: Watch;
  readonly #loop: TurnLoop;
  readonly #lifecycle: Lifecycle;
  readonly #introductions: Introductions;

  constructor(options: DriverOptions, dependencies: DriverDependencies) {
    const { clock, random, storage, stateMachine, transport, events } = dependencies;
    const { id } = options;
    const complete = completeOptions(options);
    const raftOptions = completeRaftOptions(options, {
      random,
      termStartPayload: () => encodeTermStart({ clusterId: this.#registry.clusterId ?? complete.newClusterId() }),
    });
    const { electionTimeoutMs } = raftOptions;
    const { minFreeBytes, freeSpaceIntervalMs, applyTurnMs, applySliceBytes } = complete;
    const epoch = new Epoch();
    const registry = this.#registry;
    const nowMs = (): number => this.#now();
    const input = (happened: Input): void => this.#loop.input(happened);
    const send = (to: NodeId, transfer: SnapshotTransfer): void => transport.sendSnapshot(to, transfer);
    const storageFailed = (error: Error): void => this.#lifecycle.storageFailed(error);
    this.#options = complete;
    this.#dependencies = dependencies;
    this.#condition = new Condition(events);
    this.#directory = new OwnDirectory({ id, storage, registry, epoch, storageFailed });
    this.#identities = new PeerIdentities(registry);
    this.#registration = new MemberRegistration(registry, this.#identities);
    this.#joining = new Joining(complete, electionTimeoutMs, transport, registry);
    const applyLoop = new ApplyLoop({
      clock,
      stateMachine,
      turnMs: applyTurnMs,
      sliceBytes: applySliceBytes,
      onApplied: (run) => this.#onApplied(run),
    });
    this.#snapshots = new Snapshots({
      options: complete,
      resendMs: electionTimeoutMs,
      storage,
      stateMachine,
      registry,
      epoch,
      nowMs,
      nextTurn: () => new Promise((resolve) => clock.endOfTurn(resolve)),
      wake: () => this.wake(),
      input,
      send,
      leadsIn: (term) => this.#loop.reported.role === 'leader' && this.#loop.reported.term === term,
      storageFailed,
    });
    this.snapshotCounters = this.#snapshots.counters;
    this.#intake = new SnapshotIntake({ id, storage, snapshots: this.#snapshots, send, input, storageFailed });
    this.#space = new DiskSpace({
      storage,
      clock,
      epoch,
      minFreeBytes,
      intervalMs: freeSpaceIntervalMs,
      onMeasured: (isEnough, inWords) => this.#onSpaceMeasured(isEnough, inWords),
    });
    this.#watch = new Watch(clock, epoch, (lookedAtMs) => this.#look(lookedAtMs));
    const parts = {
      dependencies,
      epoch,
      condition: this.#condition,
      directory: this.#directory,
      identities: this.#identities,
      registration: this.#registration,
      joining: this.#joining,
      applyLoop,
      snapshots: this.#snapshots,
      intake: this.#intake,
      watch: this.#watch,
    };
    const installation = new SnapshotInstallation({ ...parts, events, input, storageFailed });
    this.#loop = new TurnLoop({
      ...parts,
      id,
      installation,
      onIdleTurn: () => this.#lifecycle.decideToJoin(),
      storageFailed,
      onForgotten: (reason) => this.#lifecycle.refuseDirectory(reason),
    });
    this.writeCounters = this.#loop.writeCounters;
    this.#lifecycle = new Lifecycle({
      ...parts,
      options: complete,
      raftOptions,
      registry,
      installation,
      space: this.#space,
      loop: this.#loop,
    });
    this.#introductions = new Introductions({ ...parts, loop: this.#loop, lifecycle: this.#lifecycle, nowMs });
    this.handler = {
      onMessage: (message) => this.#onMessage(message),
      onSnapshot: (from, transfer) => this.#onTransfer(from, transfer),
      onProbe: (from, probe) => this.#introductions.onProbe(from, probe),
      onUnreachable: (peer) => {
        this.#identities.missed(peer);
        this.#loop.input({ type: 'unreachable', peer });
      },
      onLinkClosed: (peer) => {
        this.#identities.missed(peer);
        this.#loop.input({ type: 'link-closed', peer });
      },
      onPeerIdentity: (peer, identity) => this.#introductions.onPeerIdentity(peer, identity),
      onRefused: (peer, code, reason) => this.#introductions.onRefused(peer, code, reason),
    };
  }

  start(): Promise<void> {
    return this.#lifecycle.start();
  }

  stop(): Promise<void> {
    return this.#lifecycle.stop();
  }

  // ------------------------------------------------------------------------------------------------ requests

  propose(bytes: Uint8Array, start: number, ends: Uint32Array, awaitedBy?: NodeId): ProposeResult {
    const { node } = this.#loop;
    if (node === undefined) return notServing();
    if (this.#space.isReserveOnly) return { type: 'refused', reason: 'overloaded', leader: this.#loop.reported.leader };
    const result = node.propose(bytes, start, ends, this.#now(), awaitedBy);
    if (result.type === 'accepted') this.wake();
    return result;
  }

  requestRead(): { readonly type: 'round'; readonly round: ReadRound } | Refusal {
    const { node } = this.#loop;
    if (node === undefined) return notServing();
    const result = node.requestRead(this.#now());
    if (result.type === 'round') this.wake();
    return result;
  }

  proposeConfiguration(changes: readonly ConfigurationChange[]): ProposeResult {
    const { node } = this.#loop;
    if (node === undefined) return notServing();
    const result = node.proposeConfiguration(changes, this.#now());
    if (result.type === 'accepted') this.wake();
    return result;
  }

  proposeAddress(node: NodeId, address: MemberAddress): ProposeResult {
    const entry = addressEntry(node, address);
    return this.propose(entry, 0, Uint32Array.of(entry.length));
  }

  makeSnapshot(): void {
    this.#snapshots.ask();
    this.wake();
  }

  transferLeadership(to: NodeId | undefined): void {
    this.#loop.input({ type: 'transfer-leadership', to });
  }

  wake(): void {
    this.#loop.wake();
  }

  // ------------------------------------------------------------------------------------------------ questions

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
    return this.#loop.node?.progressOf(node);
  }

  isConfigurationConfirmed(): boolean {
    return this.#loop.node?.isConfigurationConfirmed ?? false;
  }

  status(): RaftStatus {
    return this.#loop.status();
  }

  condition(): NodeCondition {
    return this.#condition.current;
  }

  conditionReason(): string | undefined {
    return this.#condition.reason;
  }

  isDisowned(): boolean {
    return this.#joining.isDisowned(this.#now());
  }

  clusterId(): string | undefined {
    return this.#directory.clusterId;
  }

  identity(): PeerIdentity | undefined {
    return this.#directory.identity();
  }

  lastStall(): { readonly lengthMs: number; readonly endedAtMs: number } | undefined {
    return this.#watch.lastStall;
  }

  // ------------------------------------------------------------------------------------------------ what happens

  #onMessage(message: Message): void {
    if (this.#condition.current === 'removed') this.#introductions.heardWhileRemoved(message);
    this.#loop.input({ type: 'receive', message });
  }

  #onTransfer(from: NodeId, transfer: SnapshotTransfer): void {
    if (this.#loop.node === undefined) return;
    this.#intake.push(from, transfer);
    this.wake();
  }

  /** The state machine has these entries. True where the node must not go on. */
  #onApplied(run: EntryRun): boolean {
    if (this.#registry.apply(run)) {
      this.#registration.lookAgain();
      for (const name of this.#registry.takeDeparted()) {
        this.#identities.departed(name);
        this.#registration.departed(name);
      }
      this.#directory.learnClusterId();
      this.#dependencies.events.onRegistryChanged?.();
      if (this.#lifecycle.stopIfMisplaced(this.#registry)) return true;
    }
    this.#snapshots.applied(run);
    return false;
  }

  /** What no message and no deadline reports. */
  #look(nowMs: number): void {
    this.#introductions.askAround(nowMs);
    this.#loop.abdicateIfStalled(this.#options.diskStallMs, nowMs);
    this.#snapshots.tick(nowMs);
    this.#space.measure(nowMs);
  }

  #onSpaceMeasured(isEnough: boolean, inWords: string): void {
    if (!isEnough && this.#condition.current === 'serving') this.#condition.set('disk-full', inWords);
    else if (isEnough && this.#condition.current === 'disk-full') this.#condition.set('serving', undefined);
  }

  #now(): number {
    return this.#dependencies.clock.nowMs();
  }
}

function notServing(): Refusal {
  return { type: 'refused', reason: 'not-leader', leader: undefined };
}
