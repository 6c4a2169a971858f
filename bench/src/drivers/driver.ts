/** Names a driver and what it connects to; travels to the load generator's process. */
export interface DriverSpec {
  readonly type: 'lockd' | 'etcd' | 'zookeeper' | 'redis' | 'redlock' | 'memory';
  readonly endpoints: readonly string[];
  /** Extra settings of a driver, each documented there. */
  readonly options?: Readonly<Record<string, string | number>>;
}

/** How many connections the workers share, and how a lock is wanted. */
export interface ConnectOptions {
  readonly connections: number;
  readonly workers: number;
  /**
   * `uncontended`: nobody else wants the names, the shortest way the service offers to take one may be used.
   * `contended`: the way that waits, in the service's own queue where it has one.
   */
  readonly usage: 'uncontended' | 'contended';
  /** How long the service keeps a lock whose client is gone. Milliseconds. */
  readonly ttlMs: number;
}

/**
 * The least a workload needs of a lock service. Two promises per cycle and no closures, so that the load generator
 * stays small beside what it measures. `worker` counts from 0 and says which connection to use.
 */
export interface LockDriver<Handle = unknown> {
  /** Waits until the lock is held. Rejects when the service refuses or the driver's patience (30 s) ends. */
  acquire(worker: number, name: string): Promise<Handle>;
  release(worker: number, handle: Handle): Promise<void>;
  close(): Promise<void>;
}
