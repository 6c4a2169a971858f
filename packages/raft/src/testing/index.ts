/** Tools for tests of the core and the driver: nothing here runs in production. */
export { drainPromises, ManualClock } from './clock.ts';
export { CoreCluster, type CoreClusterOptions, DEFAULT_RAFT_OPTIONS } from './core-cluster.ts';
export {
  bootstrappedDisk,
  CoreMember,
  commandOf,
  type DurableState,
  emptyDisk,
  runsOf,
  type StoredEntry,
  type StoredSnapshot,
  textOf,
} from './core-member.ts';
export { DurableLog } from './durable-log.ts';
export { MemoryNetwork } from './memory-network.ts';
export { SafetyChecker, SafetyViolation } from './safety-checker.ts';
export { seededRandom } from './seeded-random.ts';
export { type DiskOperation, type DiskSabotage, SimulatedDisk, type SimulatedDiskOptions } from './simulated-disk.ts';
export { type StorageFixture, storageConformance, type TestApi } from './storage-conformance.ts';
export { describeMessage } from './transcript.ts';
