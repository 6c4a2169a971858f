import type { ConnectOptions, DriverSpec, LockDriver } from './driver.ts';

// The little of the SDK that the load needs. Structural, so that a benchmark of one commit's service can be built
// against another commit's SDK.
interface Held {
  release(): Promise<void>;
}
interface Client {
  acquire(name: string, options: { readonly wait: number }): Promise<Held>;
  close(): Promise<void>;
}
interface Sdk {
  connect(options: { readonly endpoints: readonly string[]; readonly sessionTtl: number }): Promise<Client>;
}

const UNCONTENDED_WAIT_MS = 30_000;
const CONTENDED_WAIT_MS = 120_000;

/** The SDK as users call it: one client, and so one connection and one session, for each of `connections`. */
export async function connectLockd(spec: DriverSpec, options: ConnectOptions): Promise<LockDriver> {
  const sdk = (await import('@lockd/client')) as unknown as Sdk;
  const clients = await Promise.all(
    Array.from({ length: options.connections }, () =>
      sdk.connect({ endpoints: spec.endpoints, sessionTtl: options.ttlMs }),
    ),
  );
  const acquireOptions = { wait: options.usage === 'contended' ? CONTENDED_WAIT_MS : UNCONTENDED_WAIT_MS };
  const driver: LockDriver<Held> = {
    acquire: (worker, name) => (clients[worker % clients.length] as Client).acquire(name, acquireOptions),
    release: (_worker, held) => held.release(),
    async close() {
      await Promise.all(clients.map((client) => client.close()));
    },
  };
  return driver;
}
