import { type NodeId, ZERO_INDEX, ZERO_TERM } from '../core/ids.ts';
import { InvariantViolation } from '../core/invariant.ts';
import { NO_MEMBERS } from '../core/membership.ts';
import type { InitialState, RaftOptions } from '../core/options.ts';
import { RaftNode } from '../core/raft-node.ts';
import type { ApplyLoop } from './apply-loop.ts';
import { bootstrapConfiguration, bootstrapState } from './bootstrap.ts';
import type { Condition } from './condition.ts';
import type { DiskSpace } from './disk-space.ts';
import type { CompleteDriverOptions } from './driver-defaults.ts';
import type { DriverDependencies } from './driver-options.ts';
import type { Epoch } from './epoch.ts';
import type { Joining } from './joining.ts';
import type { OwnDirectory } from './own-directory.ts';
import { Registry } from './registry.ts';
import type { SnapshotInstallation } from './snapshot-installation.ts';
import type { SnapshotIntake } from './snapshot-intake.ts';
import type { Snapshots } from './snapshots.ts';
import type { Recovered } from './storage.ts';
import { StorageError, toStorageError } from './storage-error.ts';
import type { TurnLoop } from './turn-loop.ts';
import type { Watch } from './watch.ts';

export interface LifecycleOptions {
  readonly options: CompleteDriverOptions;
  readonly raftOptions: RaftOptions;
  readonly dependencies: DriverDependencies;
  readonly epoch: Epoch;
  readonly condition: Condition;
  readonly directory: OwnDirectory;
  readonly registry: Registry;
  readonly joining: Joining;
  readonly applyLoop: ApplyLoop;
  readonly snapshots: Snapshots;
  readonly intake: SnapshotIntake;
  readonly installation: SnapshotInstallation;
  readonly space: DiskSpace;
  readonly watch: Watch;
  readonly loop: TurnLoop;
}

/** From a data directory to a running node and back: recovers, joins or founds a cluster, stops, and fails with its storage. */
export class Lifecycle {
  readonly #parts: LifecycleOptions;
  #recovering: Promise<void> = Promise.resolve();
  #stopping: Promise<void> | undefined;

  constructor(parts: LifecycleOptions) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    await this.#recover();
    this.#beginToWatch();
  }

  async stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    await this.#stopping;
  }

  /** A write failed: it may or may not be on the disk, so the node must not go on as if it knew. */
  storageFailed(error: Error): void {
    const { dependencies, condition, snapshots, intake, space, loop } = this.#parts;
    if (condition.isFinal) return;
    this.#halt();
    const code = error instanceof StorageError ? error.code : undefined;
    const remedy = error instanceof StorageError ? ` ${error.remedy}` : '';
    const outcome = code === 'STORAGE_FULL' ? 'disk-full' : code === 'STORAGE_DAMAGED' ? 'damaged' : 'stopped';
    const closing = (async (): Promise<void> => {
      await intake.stop();
      await snapshots.stop().catch(() => undefined);
      await dependencies.storage.close().catch(() => undefined);
    })();
    condition.set(outcome, `${error.message}.${remedy}`);
    dependencies.events.onStatusChanged(loop.reported);
    dependencies.events.onTurnEnd();
    if (outcome === 'disk-full') {
      const recovering = 'recovering after the disk was full';
      const onError = (again: unknown): void => this.storageFailed(toStorageError(again, recovering));
      void closing.then(() => space.waitForRoom(() => this.#recoverWithRoom(), onError));
    }
    if (error instanceof InvariantViolation) throw error;
  }

  /** Others know that this directory has lost something. It says so itself from now on. */
  refuseDirectory(reason: string): void {
    const { dependencies, condition, loop } = this.#parts;
    this.#halt();
    condition.set('damaged', reason);
    dependencies.events.onStatusChanged(loop.reported);
    dependencies.storage
      .markDamaged(reason)
      .catch((error: unknown) =>
        condition.set('damaged', `${reason} (and that could not be written down: ${String(error)})`),
      );
  }

  /** The log gives this data directory to another member. Stops the node then. */
  stopIfMisplaced(registry: Registry): boolean {
    const error = this.#parts.directory.misplacedBy(registry);
    if (error === undefined) return false;
    this.storageFailed(error);
    return true;
  }

  /** An empty node decides on what others have said. */
  decideToJoin(): void {
    const { options, dependencies, epoch, condition, directory, joining } = this.#parts;
    const { recovered } = directory;
    const decision = joining.decide(this.#now());
    if (decision === undefined || recovered === undefined) return;
    if (decision.type === 'wait') {
      if (condition.reason !== decision.reason) condition.set('joining', decision.reason);
      return;
    }
    joining.end();
    const { id, initialCluster } = options;
    if (decision.type === 'admitted' && !initialCluster.includes(id)) {
      this.#startNode(recovered);
      return;
    }
    const begun = epoch.current;
    const voters = [...new Set(initialCluster)].sort();
    dependencies.storage.bootstrap({ ...NO_MEMBERS, voters }).then(
      () => {
        if (begun === epoch.current) this.#bootstrapped(recovered, voters);
      },
      (error: unknown) => {
        if (begun === epoch.current) this.storageFailed(toStorageError(error, 'writing the bootstrap configuration'));
      },
    );
  }

  /** Reads the storage and builds the node: at the start, and again after the disk was full. */
  async #recover(): Promise<void> {
    const { dependencies, epoch, condition, directory, registry, joining, applyLoop, snapshots, intake, loop } =
      this.#parts;
    const begun = epoch.advance();
    loop.forgetTurn();
    const recovered = await dependencies.storage.recover();
    if (begun !== epoch.current) return;
    if ('damage' in recovered) {
      condition.set('damaged', recovered.damage.reason);
      return;
    }
    directory.wasRecovered(recovered);
    registry.reset();
    applyLoop.clear();
    const snapshotBytes = await snapshots.restore();
    if (begun !== epoch.current) return;
    if (this.stopIfMisplaced(registry)) return;
    // Also by what is not known to be committed: a leader only registers what it has seen itself.
    const written = new Registry();
    for (const run of recovered.runs) written.apply(run);
    if (this.stopIfMisplaced(written)) return;
    directory.snapshotWasRestored();
    snapshots.restored(recovered.snapshot, snapshotBytes);
    intake.begin();
    if (!recovered.isEmpty) {
      this.#startNode(recovered);
      return;
    }
    joining.begin(this.#now());
    condition.set('joining', 'holds no data yet');
    this.decideToJoin();
  }

  #startNode(recovered: Recovered): void {
    const { raftOptions, condition, applyLoop, loop } = this.#parts;
    const { hardState, runs, snapshot } = recovered;
    const initial: InitialState = {
      hardState,
      runs,
      snapshotIndex: snapshot?.index ?? ZERO_INDEX,
      snapshotTerm: snapshot?.term ?? ZERO_TERM,
      configuration: snapshot?.configuration ?? bootstrapConfiguration(runs[0]) ?? NO_MEMBERS,
      appliedIndex: snapshot?.index ?? ZERO_INDEX,
    };
    applyLoop.restoredAt(initial.appliedIndex, initial.snapshotTerm);
    loop.start(new RaftNode(raftOptions, initial, this.#now()));
    condition.set('serving', undefined);
    loop.wake();
  }

  #bootstrapped(recovered: Recovered, voters: readonly NodeId[]): void {
    const { options, raftOptions, dependencies, epoch, directory, loop } = this.#parts;
    const begun = epoch.current;
    const { run, hardState } = bootstrapState({ ...NO_MEMBERS, voters });
    directory.wasBootstrapped();
    this.#startNode({ ...recovered, isEmpty: false, hardState, runs: [run] });
    if (voters[0] !== options.id) return;
    // Somebody has to be first: with random time-outs a new cluster would wait for up to two of them.
    const delayMs = voters.length === 1 ? 0 : raftOptions.heartbeatMs;
    dependencies.clock.after(delayMs, () => {
      if (begun === epoch.current && loop.node?.status().leader === undefined) loop.input({ type: 'campaign' });
    });
  }

  /** After the device was full: recovers as after a crash. */
  async #recoverWithRoom(): Promise<void> {
    const { dependencies, condition } = this.#parts;
    const { stateMachine } = dependencies;
    if (stateMachine.reset === undefined) {
      condition.set('stopped', 'there is room again: start the process again');
      return;
    }
    stateMachine.reset();
    this.#recovering = this.#recover();
    await this.#recovering;
    if (this.#stopping === undefined) this.#beginToWatch();
  }

  #beginToWatch(): void {
    const { joining, watch, loop } = this.#parts;
    joining.askSoon();
    if (loop.node !== undefined || joining.isUnderWay) watch.start();
  }

  async #stop(): Promise<void> {
    const { options, raftOptions, dependencies, condition, snapshots, intake, installation, loop } = this.#parts;
    if (loop.node?.status().role === 'leader' && loop.reported.configuration.voters.length > 1)
      await loop.handOver(raftOptions.electionTimeoutMs);
    const { writing } = loop;
    const installing = installation.underWay;
    this.#halt();
    condition.close();
    const closing = (async (): Promise<void> => {
      await writing?.catch(() => undefined);
      await installing?.catch(() => undefined);
      await intake.stop();
      await snapshots.stop();
      await this.#recovering.catch(() => undefined);
      await dependencies.storage.close();
    })();
    // A write that hangs must not keep the process: what it leaves is what a crash would leave.
    let cancel = (): void => {};
    const late = new Promise<void>((resolve) => {
      cancel = dependencies.clock.after(options.stopTimeoutMs, resolve);
    });
    try {
      await Promise.race([closing, late]);
    } finally {
      cancel();
      closing.catch(() => undefined);
    }
  }

  /** The node takes no more part; nothing that was begun calls back. */
  #halt(): void {
    const { epoch, joining, watch, loop } = this.#parts;
    epoch.advance();
    joining.end();
    watch.stop();
    loop.halt();
  }

  #now(): number {
    return this.#parts.dependencies.clock.nowMs();
  }
}
