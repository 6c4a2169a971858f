import type { RaftOptions } from '../core/options.ts';
import type { DriverOptions } from './driver-options.ts';

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

/** Options with nothing left open, but for those that Raft itself takes. */
export type CompleteDriverOptions = Required<Omit<DriverOptions, 'raft'>>;

export function completeRaftOptions(
  options: DriverOptions,
  own: Pick<RaftOptions, 'random' | 'termStartPayload'>,
): RaftOptions {
  return {
    electionTimeoutMs: DRIVER_DEFAULTS.electionTimeoutMs,
    heartbeatMs: DRIVER_DEFAULTS.heartbeatMs,
    maxInflightMessages: DRIVER_DEFAULTS.maxInflightMessages,
    maxInflightBytes: DRIVER_DEFAULTS.maxInflightBytes,
    maxAppendBytes: DRIVER_DEFAULTS.maxAppendBytes,
    maxUncommittedBytes: DRIVER_DEFAULTS.maxUncommittedBytes,
    ...options.raft,
    ...own,
    id: options.id,
  };
}

export function completeOptions(options: DriverOptions): CompleteDriverOptions {
  const { raft, ...own } = options;
  return {
    seeds: [],
    minFreeBytes: DRIVER_DEFAULTS.minFreeBytes,
    freeSpaceIntervalMs: DRIVER_DEFAULTS.freeSpaceIntervalMs,
    snapshotMinBytes: DRIVER_DEFAULTS.snapshotMinBytes,
    snapshotRatio: DRIVER_DEFAULTS.snapshotRatio,
    snapshotSliceBytes: DRIVER_DEFAULTS.snapshotSliceBytes,
    keepLogBytes: DRIVER_DEFAULTS.keepLogBytes,
    applyTurnMs: DRIVER_DEFAULTS.applyTurnMs,
    applySliceBytes: DRIVER_DEFAULTS.applySliceBytes,
    diskStallMs: raft?.electionTimeoutMs ?? DRIVER_DEFAULTS.electionTimeoutMs,
    stopTimeoutMs: DRIVER_DEFAULTS.stopTimeoutMs,
    ...own,
  };
}
