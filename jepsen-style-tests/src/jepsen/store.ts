import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { waitFor, within } from '../clock.ts';
import { registerChild } from '../cluster/child-registry.ts';
import { readJsonLines } from '../cluster/json-lines.ts';
import { StoreClient } from '../workload/store-client.ts';

/** The process with what locks protect. */
export class Store {
  port = 0;
  readonly #writes: { readonly client: string; readonly set: string }[] = [];
  #child: ChildProcess | undefined;

  async start(): Promise<void> {
    const child = spawn(process.execPath, [fileURLToPath(new URL('../workload/store-process.js', import.meta.url))], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    registerChild(child);
    this.#child = child;
    readJsonLines(child.stdout, (value) => {
      const event = value as { event: string; port?: number; client?: string; set?: string };
      if (event.event === 'ready') this.port = event.port ?? 0;
      else if (event.event === 'write') this.#writes.push({ client: event.client ?? '', set: event.set ?? '' });
    });
    if ((await waitFor(() => (this.port === 0 ? undefined : true), 10_000, 10)) === undefined)
      throw new Error('the store did not start');
  }

  writesByOthers(client: string): number {
    return this.#writes.filter(
      (write) => write.client !== client && (this.watchedSet === undefined || write.set === this.watchedSet),
    ).length;
  }

  /** Only writes to this set count; `undefined`: all. */
  watchedSet: string | undefined;

  async read(set: string): Promise<readonly string[] | undefined> {
    const client = new StoreClient(this.port);
    try {
      return (await within(client.ask({ op: 'read', set, client: 'harness' }), 5000))?.values;
    } finally {
      client.close();
    }
  }

  stop(): void {
    this.#child?.kill('SIGKILL');
  }
}
