import type { ConnectOptions, DriverSpec, LockDriver } from './driver.ts';
import { createMemoryDriver } from './memory-driver.ts';

/** Connects the driver a spec names. Each is loaded only when asked for, so that the load of one carries no other's code. */
export async function connectDriver(spec: DriverSpec, options: ConnectOptions): Promise<LockDriver> {
  switch (spec.type) {
    case 'lockd':
      return (await import('./lockd-driver.ts')).connectLockd(spec, options);
    case 'etcd':
      return (await import('./etcd-driver.ts')).connectEtcd(spec, options);
    case 'zookeeper':
      return (await import('./zookeeper-driver.ts')).connectZooKeeper(spec, options);
    case 'redis':
    case 'redlock':
      return (await import('./redis-driver.ts')).connectRedis(spec, options);
    case 'memory':
      return createMemoryDriver(Number(spec.options?.['delayMs'] ?? 0));
  }
}
