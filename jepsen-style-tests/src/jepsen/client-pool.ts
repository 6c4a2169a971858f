import { waitFor } from '../clock.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { FakeClock } from '../cluster/fake-clock.ts';
import { WORKLOADS, type WorkerSpec, type WorkloadName } from '../workload/messages.ts';
import { ClientProcess } from './client-process.ts';
import type { Collector } from './collector.ts';
import type { JepsenOptions } from './options.ts';
import type { Store } from './store.ts';

/** The client processes of a run: those that mix everything, and two for each protected set. */
export class ClientPool {
  lastFrozenSet: string | undefined;
  readonly #cluster: Cluster;
  readonly #collector: Collector;
  readonly #store: Store;
  readonly #options: JepsenOptions;
  readonly #troubles: string[];
  readonly #clockFor: (name: string) => FakeClock | undefined;
  readonly #processes = new Set<ClientProcess>();
  #names = 0;
  #turn = 0;
  #isStopping = false;

  constructor(
    cluster: Cluster,
    collector: Collector,
    store: Store,
    options: JepsenOptions,
    troubles: string[],
    clockFor: (name: string) => FakeClock | undefined,
  ) {
    this.#clockFor = clockFor;
    this.#cluster = cluster;
    this.#collector = collector;
    this.#store = store;
    this.#options = options;
    this.#troubles = troubles;
  }

  get alive(): readonly ClientProcess[] {
    return [...this.#processes];
  }

  /** How much of what the workloads do together by default is done here, 0 to 1. */
  get share(): number {
    const all = WORKLOADS.length - 2;
    const mixed = this.#options.workloads.length - this.#sets.length;
    return (this.#options.clients * mixed + 2 * this.#sets.length) / (4 * all + 2 * 2);
  }

  get hasSets(): boolean {
    return this.#sets.length > 0;
  }

  get #sets(): readonly WorkloadName[] {
    return this.#options.workloads.filter((name) => name === 'fenced' || name === 'unfenced');
  }

  async start(): Promise<void> {
    const mixed = this.#options.workloads.filter((name) => !this.#sets.includes(name));
    // Two lanes of the plain lock in each: most of what happens should be that.
    const lanes: WorkloadName[] = mixed.flatMap((name) => (name === 'exclusive' ? [name, name] : [name]));
    const starting: Promise<void>[] = [];
    if (lanes.length > 0) for (let i = 0; i < this.#options.clients; i++) starting.push(this.#add(lanes));
    if (this.#sets.length > 0) for (let i = 0; i < 2; i++) starting.push(this.#add(this.#sets));
    await Promise.all(starting);
    const ready = await waitFor(
      () => ([...this.#processes].every(({ isReady }) => isReady) ? true : undefined),
      30_000,
    );
    if (ready === undefined)
      throw new Error(`clients could not connect within 30 s: ${[...this.#collector.errors.keys()].join(', ')}`);
  }

  /** Alternates between the sets, the unfenced one first: it has to show its anomaly. */
  async holderAtWork(timeoutMs: number, signal: AbortSignal): Promise<ClientProcess | undefined> {
    const sets = [...this.#sets].sort().toReversed();
    const set = sets[this.#turn++ % sets.length];
    if (set === undefined) return undefined;
    this.lastFrozenSet = set;
    this.#store.watchedSet = set;
    return waitFor(
      () => [...this.#processes].find((client) => client.atWork.has(set) && !client.isPaused),
      timeoutMs,
      5,
      signal,
    );
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    const slow = await Promise.all(
      [...this.#processes].map(async (client) => ((await client.stop(30_000)) ? undefined : client.name)),
    );
    for (const name of slow) if (name !== undefined) this.#troubles.push(`client ${name} did not end within 30 s`);
  }

  killAll(): void {
    this.#isStopping = true;
    for (const client of this.#processes) if (client.pid !== undefined) void client.stop(0);
  }

  async #add(lanes: readonly WorkloadName[]): Promise<void> {
    const name = `c${++this.#names}`;
    const spec: WorkerSpec = {
      name,
      seed: this.#options.seed,
      ttlMs: this.#options.ttlMs,
      endpoints: this.#cluster.names.map((node) => this.#cluster.clientUrl(node)),
      links: await this.#cluster.linksFor(name),
      codec: this.#names % 2 === 0 ? 'json' : 'msgpack',
      lanes,
      storePort: this.#store.port,
    };
    const client = new ClientProcess(spec, (report) => this.#collector.take(name, report), {
      clock: this.#clockFor(name),
    });
    this.#processes.add(client);
    client.onDeath = (isExpected, stderr) => {
      this.#processes.delete(client);
      this.#collector.died(name);
      if (!isExpected) this.#troubles.push(`client ${name} ended by itself: ${stderr.trim()}`);
    };
    client.onKill = async () => {
      if (this.#isStopping) return;
      await this.#add(lanes);
    };
  }
}
