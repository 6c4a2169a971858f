import { connect, type LockClient } from '@lockd/client';

/** What must hold among all grants of a load, whatever happens to the cluster. */
export class GrantLedger {
  readonly violations: string[] = [];
  grants = 0;
  readonly #holders = new Map<string, string>();
  readonly #lastTokens = new Map<string, number>();

  acquired(name: string, owner: string, token: number): void {
    this.grants += 1;
    const holder = this.#holders.get(name);
    if (holder !== undefined)
      this.violations.push(`${owner} was granted ${name} (token ${token}) while ${holder} held it`);
    const last = this.#lastTokens.get(name) ?? 0;
    if (token <= last) this.violations.push(`${owner} was granted ${name} with token ${token} after ${last}`);
    this.#holders.set(name, owner);
    this.#lastTokens.set(name, token);
  }

  /** Before the release is sent: from then on somebody else may hold it. */
  releasing(name: string): void {
    this.#holders.delete(name);
  }
}

/** Workers that take and release locks until told to stop. Whatever they are refused or lose ends the load with an error. */
export class LockLoad {
  readonly ledger: GrantLedger = new GrantLedger();
  readonly clients: readonly LockClient[];
  readonly #workers: Promise<void>[];
  #isStopped = false;

  private constructor(clients: readonly LockClient[], workers: number, names: number) {
    this.clients = clients;
    this.#workers = Array.from({ length: workers }, (_, worker) =>
      this.#run(`worker-${worker}`, clients[worker % clients.length] as LockClient, `load:${worker % names}`),
    );
    // Its end is awaited in `stop`; until then a failure must not count as unhandled.
    for (const worker of this.#workers) worker.catch(() => {});
  }

  static async start(
    endpoints: readonly string[],
    options: { readonly clients: number; readonly workers: number; readonly names: number },
  ): Promise<LockLoad> {
    const clients = await Promise.all(
      Array.from({ length: options.clients }, () => connect({ endpoints: [...endpoints], sessionTtl: '30s' })),
    );
    return new LockLoad(clients, options.workers, options.names);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#workers);
    await Promise.all(this.clients.map((client) => client.close()));
  }

  async #run(owner: string, client: LockClient, name: string): Promise<void> {
    while (!this.#isStopped) {
      const lock = await client.acquire(name, { wait: '60s' });
      this.ledger.acquired(name, owner, lock.token);
      this.ledger.releasing(name);
      await lock.release();
    }
  }
}
