import { connect, type HeldLock, type LockClient } from '@lockd/client';
import type { ConnectOptions, DriverSpec, LockDriver } from './driver.ts';

const UNCONTENDED_WAIT_MS = 30_000;
const CONTENDED_WAIT_MS = 120_000;

/** The SDK as users call it: one client, and so one connection and one session, for each of `connections`. */
export async function connectLockd(spec: DriverSpec, options: ConnectOptions): Promise<LockDriver> {
  const clients = await Promise.all(
    Array.from({ length: options.connections }, () =>
      connect({ endpoints: [...spec.endpoints], sessionTtl: options.ttlMs }),
    ),
  );
  const acquireOptions = { wait: options.usage === 'contended' ? CONTENDED_WAIT_MS : UNCONTENDED_WAIT_MS };
  const driver: LockDriver<HeldLock> = {
    acquire: (worker, name) => (clients[worker % clients.length] as LockClient).acquire(name, acquireOptions),
    release: (_worker, held) => held.release(),
    async close() {
      await Promise.all(clients.map((client) => client.close()));
    },
  };
  return driver;
}
