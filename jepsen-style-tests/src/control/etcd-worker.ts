import { monotonicNs, realTime, sleep } from '../clock.ts';
import { readJsonLines } from '../cluster/json-lines.ts';
import { Random } from '../random.ts';
import type { WorkerCommand, WorkerReport, WorkerSpec } from '../workload/messages.ts';
import { StoreClient } from '../workload/store-client.ts';
import { EtcdClient } from './etcd-client.ts';

/** A lease that is kept alive in the background, as etcd's own clients do: lost when a keep-alive says so, not before. */
class EtcdSession {
  readonly id: string;
  isLost = false;
  #sinceNs: number;
  readonly #ttlMs: number;
  readonly #client: EtcdClient;
  #stop: () => void;

  constructor(client: EtcdClient, id: string, sentNs: number, ttlMs: number) {
    this.#client = client;
    this.id = id;
    this.#sinceNs = sentNs;
    this.#ttlMs = ttlMs;
    this.#stop = realTime.every(ttlMs / 3, () => void this.#renew());
  }

  get mayEndNs(): number {
    return this.#sinceNs + this.#ttlMs * 1e6;
  }

  close(): void {
    this.#stop();
  }

  async #renew(): Promise<void> {
    const sentNs = monotonicNs();
    try {
      if (await this.#client.keepAlive(this.id, this.#ttlMs)) this.#sinceNs = Math.max(this.#sinceNs, sentNs);
      else this.isLost = true;
    } catch {
      // No answer says nothing; the next one will.
    }
    if (this.isLost) this.close();
  }
}

/**
 * The protected sets of the real-process runs, under etcd's locks: reads a set, works, writes it back with an element more. As
 * with lockd it trusts the lock alone, or has the store check the revision.
 */
async function main(spec: WorkerSpec): Promise<void> {
  const report = (message: WorkerReport): void => void process.stdout.write(`${JSON.stringify(message)}\n`);
  const stopping = new AbortController();
  readJsonLines(process.stdin, (value) => {
    if ((value as WorkerCommand).type === 'stop') stopping.abort();
  });
  process.stdin.on('end', () => process.exit(0));
  const client = new EtcdClient(spec.endpoints);
  const store = new StoreClient(spec.storePort);
  let session: EtcdSession | undefined;
  const openSession = async (): Promise<EtcdSession> => {
    if (session !== undefined && !session.isLost) return session;
    const sentNs = monotonicNs();
    session = new EtcdSession(client, await client.grantLease(Math.ceil(spec.ttlMs / 1000)), sentNs, spec.ttlMs);
    return session;
  };
  report({ type: 'ready' });
  let handles = 0;
  const lane = async (set: 'fenced' | 'unfenced'): Promise<void> => {
    const random = Random.split(spec.seed, `${spec.name} ${set}`);
    const key = `${set}:1`;
    while (!stopping.signal.aborted) {
      const owner = `${spec.name}/${++handles}`;
      const base = { client: spec.name, key, owner, token: null, holder: null };
      const call = monotonicNs();
      let held: { readonly session: EtcdSession; readonly lockKey: string; readonly token: number };
      try {
        const own = await openSession();
        const lockKey = await client.lock(key, own.id, 20_000);
        const token = await client.createRevision(lockKey);
        if (token === undefined) throw new Error('the lock was gone when its answer came');
        held = { session: own, lockKey, token };
      } catch (error) {
        report({ type: 'line', line: { ...base, op: 'acquire', call, return: null, result: 'unknown' } });
        report({ type: 'line', line: { ...base, op: 'expire', call, return: null, result: 'unknown' } });
        report({ type: 'error', code: 'ETCD', message: String(error) });
        await sleep(100, stopping.signal);
        continue;
      }
      const { token } = held;
      report({
        type: 'line',
        line: { ...base, op: 'acquire', token, call, return: monotonicNs(), result: 'ok' },
      });
      const fence = set === 'fenced' ? { token } : {};
      const values = await store.ask({ op: 'read', set, client: spec.name, ...fence });
      let lastHeld: number | undefined;
      if (values.ok) {
        report({ type: 'work', set, isOn: true });
        await sleep(random.between(30, 150));
        const lookNs = monotonicNs();
        if (!held.session.isLost) lastHeld = lookNs;
        const element = owner.replace('/', '-');
        const written = await store.ask({
          op: 'write',
          set,
          client: spec.name,
          values: [...(values.values ?? []), element],
          ...fence,
        });
        report({ type: 'work', set, isOn: false });
        report(written.ok ? { type: 'added', set, element } : { type: 'rejected', set });
      } else report({ type: 'rejected', set });
      const releaseNs = monotonicNs();
      const isAnswered = await client.unlock(held.lockKey).then(
        () => true,
        () => false,
      );
      report({
        type: 'line',
        line: {
          ...base,
          op: 'release',
          call: releaseNs,
          // An unlock of what is gone is answered like any other: it says nothing about the lock.
          return: null,
          result: 'unknown',
        },
      });
      const { mayEndNs } = held.session;
      report({
        type: 'line',
        line: {
          ...base,
          op: 'expire',
          call: isAnswered ? mayEndNs : Math.min(mayEndNs, releaseNs),
          return: null,
          result: 'unknown',
          ...(lastHeld === undefined ? {} : { lastHeld }),
        },
      });
      await sleep(random.between(10, 60), stopping.signal);
    }
  };
  await Promise.all([lane('unfenced'), lane('fenced')]);
  session?.close();
  store.close();
}

main(JSON.parse(process.argv[2] as string) as WorkerSpec).then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(1);
  },
);
