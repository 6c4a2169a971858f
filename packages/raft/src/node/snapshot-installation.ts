import type { Input } from '../core/input.ts';
import { InvariantViolation } from '../core/invariant.ts';
import type { SnapshotMetadata } from '../core/message.ts';
import type { ApplyLoop } from './apply-loop.ts';
import type { DriverEvents } from './driver-api.ts';
import type { Epoch } from './epoch.ts';
import type { OwnDirectory } from './own-directory.ts';
import type { SnapshotIntake } from './snapshot-intake.ts';
import type { Snapshots } from './snapshots.ts';
import { toStorageError } from './storage-error.ts';

export interface SnapshotInstallationOptions {
  readonly epoch: Epoch;
  readonly directory: OwnDirectory;
  readonly applyLoop: ApplyLoop;
  readonly snapshots: Snapshots;
  readonly intake: SnapshotIntake;
  readonly events: DriverEvents;
  readonly input: (input: Input) => void;
  readonly storageFailed: (error: Error) => void;
}

/** Replaces a node's log and state by a snapshot that was received. */
export class SnapshotInstallation {
  readonly #options: SnapshotInstallationOptions;
  #underWay: Promise<void> | undefined;

  constructor(options: SnapshotInstallationOptions) {
    this.#options = options;
  }

  /** Resolves when it is done or was given up; undefined while there is none. Until then nothing may be applied. */
  get underWay(): Promise<void> | undefined {
    return this.#underWay;
  }

  /** The node hears of its end as `snapshot-installed`. */
  begin(metadata: SnapshotMetadata): void {
    const { epoch, applyLoop, storageFailed } = this.#options;
    const begun = epoch.current;
    // All of it is covered by the snapshot.
    applyLoop.clear();
    this.#underWay = this.#install(metadata).then(
      () => {
        this.#underWay = undefined;
      },
      (error: unknown) => {
        this.#underWay = undefined;
        if (begun === epoch.current) storageFailed(toStorageError(error, 'installing a snapshot'));
      },
    );
  }

  async #install(metadata: SnapshotMetadata): Promise<void> {
    const { epoch, directory, applyLoop, snapshots, intake, events, input } = this.#options;
    const begun = epoch.current;
    await snapshots.stop();
    const sink = intake.sinkOf(metadata);
    if (sink === undefined) throw new InvariantViolation(`no snapshot at ${metadata.index} was received`);
    await sink.commit({ replaceLog: true });
    if (begun !== epoch.current) return;
    const snapshotBytes = await snapshots.restore();
    if (begun !== epoch.current) return;
    snapshots.restored(metadata, snapshotBytes);
    applyLoop.restoredAt(metadata.index, metadata.term);
    directory.learnClusterId();
    events.onRegistryChanged?.();
    input({ type: 'snapshot-installed', index: metadata.index });
  }
}
