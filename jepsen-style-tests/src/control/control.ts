import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkToldBeforeLost } from '../checker/told-before-lost.ts';
import type { Verdict } from '../checker/verdict.ts';
import { monotonicNs, sleep, waitFor, wallMs } from '../clock.ts';
import { emptyDirectory } from '../cluster/run-directory.ts';
import { ClientProcess } from '../jepsen/client-process.ts';
import { Collector } from '../jepsen/collector.ts';
import { setVerdicts } from '../jepsen/run-checks.ts';
import { Store } from '../jepsen/store.ts';
import { freezeAtWork } from '../nemesis/client-faults.ts';
import { Random } from '../random.ts';
import { EtcdCluster, etcdVersion } from './etcd-cluster.ts';

const TTL_MS = 2000;
const WORKER = fileURLToPath(new URL('./etcd-worker.js', import.meta.url));

export interface ControlResult {
  readonly outcome: 'shown' | 'not-shown' | 'too-little' | 'skipped';
  readonly text: string;
  readonly verdicts: readonly Verdict[];
}

/**
 * The positive control: the same store, frozen holders and checkers, with another service's locks, of which it is known
 * what must be seen. A lock alone does not keep out a holder that was frozen between reading and writing; a holder that
 * learns of its loss from the service alone still believes in it after somebody else was granted.
 */
export async function runEtcdControl(
  options: { readonly seconds: number; readonly seed: number; readonly out: string | undefined },
  print: (line: string) => void,
): Promise<ControlResult> {
  const version = etcdVersion();
  if (version === undefined) {
    return {
      outcome: 'skipped',
      text: 'skipped: etcd is not installed (Debian: apt-get install etcd-server)',
      verdicts: [],
    };
  }
  const directory = emptyDirectory(options.out ?? join('jepsen-out', `etcd-${wallMs()}-seed-${options.seed}`));
  const collector = new Collector(directory);
  const store = new Store();
  const clients: ClientProcess[] = [];
  const stored = new Map<string, readonly string[]>();
  let frozen = 0;
  let frozenUnfenced = 0;
  let etcd: EtcdCluster | undefined;
  try {
    await store.start();
    etcd = await EtcdCluster.start(join(directory, 'nodes'), new Random(process.pid * 7919 + (wallMs() % 1_000_000)));
    print(`etcd ${version}, three nodes; lease TTL ${TTL_MS} ms`);
    for (const name of ['c1', 'c2', 'c3']) {
      const spec = {
        name,
        seed: options.seed,
        ttlMs: TTL_MS,
        endpoints: etcd.endpoints,
        links: {},
        codec: 'json' as const,
        lanes: [],
        storePort: store.port,
      };
      clients.push(new ClientProcess(spec, (report) => collector.take(name, report), { script: WORKER }));
    }
    const ending = new AbortController();
    const endNs = monotonicNs() + options.seconds * 1e9;
    for (let turn = 0; monotonicNs() < endNs; turn++) {
      const set = turn % 2 === 0 ? 'unfenced' : 'fenced';
      store.watchedSet = set;
      const outcome = await freezeAtWork(
        {
          ttlMs: TTL_MS,
          signal: ending.signal,
          writesByOthers: (client) => store.writesByOthers(client),
          holderAtWork: (timeoutMs) =>
            waitFor(() => clients.find((client) => client.atWork.has(set) && !client.isPaused), timeoutMs, 5),
        },
        Random.split(options.seed, `freeze ${turn}`),
      );
      print(`${set}: ${outcome.target} ${outcome.evidence}`);
      if (outcome.worked) {
        frozen++;
        if (set === 'unfenced') frozenUnfenced++;
      }
      await sleep(300);
    }
    await Promise.all(clients.map((client) => client.stop(25_000)));
    for (const set of ['fenced', 'unfenced']) stored.set(set, (await store.read(set)) ?? []);
  } finally {
    for (const client of clients) if (client.pid !== undefined) void client.stop(0);
    etcd?.stop();
    store.stop();
  }
  await collector.close();
  const verdicts = [
    ...setVerdicts({ collector, stored, frozenUnfencedHolders: frozenUnfenced }),
    checkToldBeforeLost(collector.lines),
  ];
  return { ...judgeControl(verdicts, frozen), verdicts };
}

/** Whether the harness has seen what it must see. */
export function judgeControl(verdicts: readonly Verdict[], frozen: number): Omit<ControlResult, 'verdicts'> {
  const of = (check: string): Verdict | undefined => verdicts.find((verdict) => verdict.check === check);
  if (frozen < 4) return { outcome: 'too-little', text: `only ${frozen} holders were frozen at work` };
  const blind = [
    of('unfenced set shows the anomaly')?.outcome === 'pass' ? undefined : 'the unfenced set lost nothing',
    of('told before lost')?.outcome === 'fail' ? undefined : 'no holder was seen that believed in a lost lock',
    of('fenced set')?.outcome === 'pass' ? undefined : 'the fenced set lost something',
  ].filter((text) => text !== undefined);
  return blind.length === 0
    ? { outcome: 'shown', text: `the harness sees it: ${frozen} holders frozen at work` }
    : { outcome: 'not-shown', text: `the harness is blind: ${blind.join('; ')}` };
}
