import type { NodeId } from '../core/ids.ts';
import type { RaftOptions, Random } from '../core/options.ts';
import type { Clock } from './clock.ts';
import type { DriverEvents, RaftDriver } from './driver-api.ts';
import type { StateMachine } from './state-machine.ts';
import type { LogStorage } from './storage.ts';
import type { PeerIdentity, Transport, TransportHandler } from './transport.ts';

export interface DriverOptions {
  readonly id: NodeId;
  /** Members of the cluster this node may found (with itself). Empty: it waits until a leader admits it. */
  readonly initialCluster: readonly NodeId[];
  /** Whom an empty node asks besides `initialCluster`. Default none. */
  readonly seeds?: readonly NodeId[];
  /** Overrides of Raft's defaults (see `RaftOptions`). */
  readonly raft?: Partial<Omit<RaftOptions, 'id' | 'random' | 'termStartPayload'>>;
  /** A random name for a new cluster; what the first leader's first entry says stands for ever. */
  readonly newClusterId: () => string;
  /** Stop leading and say `disk-full` below this much free space, in bytes. Default 128 MiB. 0 switches it off. */
  readonly minFreeBytes?: number;
  /** How often free space is measured, in milliseconds. Default 1,000. */
  readonly freeSpaceIntervalMs?: number;
  /** A snapshot is made after at least this many bytes of log since the last one. Default 64 MiB. */
  readonly snapshotMinBytes?: number;
  /** … and at least this many times the size of the last snapshot. Default 1. */
  readonly snapshotRatio?: number;
  /** A snapshot is read for a few milliseconds or so many bytes at a time, at least one chunk. Default 256 KiB. */
  readonly snapshotSliceBytes?: number;
  /** Bytes of log kept before a snapshot for slow followers. Default 16 MiB. */
  readonly keepLogBytes?: number;
  /** Apply at most this long in one turn before others get theirs, in milliseconds. Default 5. */
  readonly applyTurnMs?: number;
  /** Apply at most this many bytes between two looks at the clock. Default 64 KiB. */
  readonly applySliceBytes?: number;
  /** A leader whose write has been out for longer abdicates. Milliseconds; default `electionTimeoutMs`. */
  readonly diskStallMs?: number;
  /** How long `stop` waits for a disk that does not answer. Milliseconds; default 5,000. */
  readonly stopTimeoutMs?: number;
}

export interface DriverDependencies {
  /** Given away: the driver closes it. */
  readonly storage: LogStorage;
  readonly transport: Transport;
  readonly stateMachine: StateMachine;
  readonly clock: Clock;
  readonly events: DriverEvents;
  readonly random: Random;
}

/** What `openDriver` resolves to. Attach `handler` to the transport before it listens. */
export interface OpenDriver extends RaftDriver {
  readonly handler: TransportHandler;
  /** For the handshake. Undefined only where storage did not get as far as knowing it (`damaged`). */
  identity(): PeerIdentity | undefined;
  /** Undefined until the first leader's first entry is applied. */
  clusterId(): string | undefined;
  /** It waits to join, and others know another data directory under its name: an operator has to replace the member. */
  isDisowned(): boolean;
  /** In words, for `condition()`. */
  conditionReason(): string | undefined;
}

/** Recovers the storage and starts the node. Rejects with a `StorageError` when the directory cannot be used at all (locked, newer format). A damaged one resolves, with `condition() === 'damaged'`. */
export type OpenDriverFunction = (options: DriverOptions, dependencies: DriverDependencies) => Promise<OpenDriver>;
