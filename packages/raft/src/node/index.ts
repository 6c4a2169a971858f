export { type Clock, realClock } from './clock.ts';
export type { DatabaseOperation, Disk, FileSink, FileSource, LogDatabase, SlotFile } from './disk.ts';
export { openDriver } from './driver.ts';
export type { DriverEvents, NodeCondition, RaftDriver } from './driver-api.ts';
export { DRIVER_DEFAULTS } from './driver-defaults.ts';
export type { DriverDependencies, DriverOptions, OpenDriver, OpenDriverFunction } from './driver-options.ts';
export { bootstrapHash } from './join.ts';
export { levelStorage } from './level-storage.ts';
export { LogStore, type LogStoreOptions } from './log-store.ts';
export { decodeTermStart, encodeTermStart, type MemberAddress, type TermStart } from './registry.ts';
export type { SnapshotReader, SnapshotWriter, StateMachine } from './state-machine.ts';
export type { Damage, LogStorage, Recovered, SnapshotSink, SnapshotSource } from './storage.ts';
export { StorageError, type StorageErrorCode } from './storage-error.ts';
export type {
  JoinPhase,
  JoinProbe,
  PeerIdentity,
  PeerPayload,
  PeerVerdict,
  SnapshotTransfer,
  Transport,
  TransportHandler,
} from './transport.ts';
export { type Verdict, verifyDirectory } from './verify.ts';
