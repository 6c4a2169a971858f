import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect } from '@lockd/client';
import type { Excuse } from '../checker/excuses.ts';
import type { Verdict } from '../checker/verdict.ts';
import { every, monotonicNs, sleep, waitFor, wallMs, within } from '../clock.ts';
import { Cluster, type ClusterEvent, nodeNames } from '../cluster/cluster.ts';
import { FakeClock, fakeTimeLibrary } from '../cluster/fake-clock.ts';
import { Namespaces, namespaceProblem } from '../cluster/namespaces.ts';
import { Network } from '../cluster/network.ts';
import type { NodeSpec } from '../cluster/node-process.ts';
import { emptyDirectory } from '../cluster/run-directory.ts';
import { mountSmallVolume } from '../nemesis/disk-faults.ts';
import type { Fault, FaultContext, FaultRecord } from '../nemesis/fault.ts';
import { chooseFaults, runNemesis } from '../nemesis/nemesis.ts';
import { Random } from '../random.ts';
import { WORKLOADS } from '../workload/messages.ts';
import { ClientPool } from './client-pool.ts';
import { Collector } from './collector.ts';
import type { JepsenOptions } from './options.ts';
import { judgeRun } from './run-checks.ts';
import { Store } from './store.ts';
import { type Enough, isEnough } from './thresholds.ts';

/** Time without faults at the end, in which everybody must be served. */
const CALM_MS = 3000;
/** A run that lacks something at its end goes on for at most this part of its length: a busy machine is slow at faults. */
const OVERTIME = 0.25;
const SMALL_VOLUME_MB = 160;

export interface RunResult {
  readonly options: JepsenOptions;
  readonly command: string;
  readonly directory: string;
  readonly verdicts: readonly Verdict[];
  /** Empty: enough happened to judge. */
  readonly missing: readonly string[];
  /** Faults that cannot be made here, each with the reason. */
  readonly skipped: readonly { readonly kind: string; readonly why: string }[];
  readonly collector: Collector;
  readonly faults: readonly FaultRecord[];
  readonly events: readonly ClusterEvent[];
  readonly startNs: number;
  readonly endNs: number;
  readonly exitCode: 0 | 1 | 2;
}

/** One whole run. `print` gets lines for people. Everything it starts has ended when it settles. */
export async function runJepsen(options: JepsenOptions, print: (line: string) => void): Promise<RunResult> {
  const command = commandOf(options);
  const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
  const directory = emptyDirectory(
    options.out ??
      join('jepsen-out', `${new Date(wallMs()).toISOString().replaceAll(/[:.]/g, '-')}-seed-${options.seed}`),
  );
  const { seed, ttlMs } = options;

  const network = new Network(Random.split(seed, 'network'));
  const volumeDirectory = join(directory, 'small-volume');
  mkdirSync(volumeDirectory, { recursive: true });
  const chosen = chooseFaults(options.faults);
  const volume = chosen.some(({ kind }) => kind === 'disk-full')
    ? mountSmallVolume(volumeDirectory, SMALL_VOLUME_MB)
    : undefined;
  const smallVolume = volume === undefined ? undefined : { node: `n${options.nodes}`, directory: volumeDirectory };
  const wantsPackets = chosen.some(({ kind }) => kind === 'packet-loss');
  const packetProblem = wantsPackets ? (namespaceProblem() ?? '') : '';
  const namespaces =
    wantsPackets && packetProblem === ''
      ? new Namespaces(nodeNames(options.nodes), new Random(process.pid * 104_729 + (wallMs() % 1_000_000)))
      : undefined;
  const library = chosen.some(({ kind }) => kind.endsWith('clock-jump')) ? fakeTimeLibrary() : undefined;
  const clocks = join(directory, 'clocks');
  if (library !== undefined) mkdirSync(clocks, { recursive: true });
  const clockFor = (name: string): FakeClock | undefined =>
    library === undefined ? undefined : new FakeClock(library, join(clocks, name));
  const bin = join(root, 'packages/lockd/bin/lockd.js');
  if (!existsSync(bin)) throw new Error(`${bin} is not built`);
  const cluster = await Cluster.create(network, {
    nodes: options.nodes,
    bin,
    directory: join(directory, 'nodes'),
    electionTimeoutMs: options.electionTimeoutMs,
    random: new Random(process.pid * 7919 + (wallMs() % 1_000_000)),
    clockFor,
    namespaces,
    preload: options.planted === undefined ? undefined : preloadOf(options.planted),
    dataDirs: new Map(smallVolume === undefined ? [] : [[smallVolume.node, join(volumeDirectory, 'data')]]),
  });
  const collector = new Collector(directory);
  const troubles: string[] = [];
  for (const node of cluster.everyone.map((name) => cluster.node(name))) {
    node.onUnexpectedExit = (code, signal) =>
      troubles.push(`${node.spec.name} ended by itself (code ${code}, signal ${signal}): see ${node.spec.logFile}`);
  }

  const stores = new Store();
  const clients = new ClientPool(cluster, collector, stores, options, troubles, clockFor);
  const records: FaultRecord[] = [];
  const spans: Pick<FaultRecord, 'track' | 'target' | 'startNs' | 'endNs'>[] = [];
  const startNs = monotonicNs();
  const atSeconds = (): string => `${((monotonicNs() - startNs) / 1e9).toFixed(0).padStart(4)} s`;
  let skipped: { kind: string; why: string }[] = [];
  let frozenUnfencedHolders = 0;
  let leftovers: readonly string[] | undefined;
  let silentClients: string[] = [];
  const calmExcuses: Excuse[] = [];
  let faults: readonly Fault[] = [];
  const stored = new Map<string, readonly string[]>();
  let beginNs = startNs;
  try {
    await stores.start();
    await cluster.start();
    const leader = await cluster.waitForLeader(20_000);
    if (leader === undefined) throw new Error('no leader within 20 s of the start');
    print(`${atSeconds()}  ${options.nodes} nodes run, ${leader} leads`);
    await clients.start();
    beginNs = monotonicNs();

    const ending = new AbortController();
    const context: FaultContext = {
      cluster,
      ttlMs,
      victims: () => clients.alive.filter(({ isReady, isPaused }) => isReady && !isPaused),
      holderAtWork: (timeoutMs) => clients.holderAtWork(timeoutMs, ending.signal),
      writesByOthers: (client) => stores.writesByOthers(client),
      signal: ending.signal,
      hasFakeClocks: library !== undefined,
      packets: namespaces ?? packetProblem,
      smallVolume,
    };
    skipped = chosen.flatMap((fault) => {
      const why =
        fault.unavailable?.(context) ??
        (fault.kind === 'freeze-holder' && !clients.hasSets
          ? 'neither the fenced nor the unfenced set is in the workload'
          : undefined);
      return why === undefined ? [] : [{ kind: fault.kind, why }];
    });
    for (const { kind, why } of skipped) print(`        ${kind} is skipped: ${why}`);
    faults = chosen.filter(({ kind }) => !skipped.some((skip) => skip.kind === kind));

    let current = new Map<string, string>();
    const stopProgress = every(5000, () => {
      const leaderNow = cluster.leader();
      print(
        `${atSeconds()}  ${collector.operationCount} operations, ${records.filter(({ worked }) => worked).length} faults worked of ${records.length}, ` +
          `${leaderNow === undefined ? 'nobody leads' : `${leaderNow.name} leads in term ${leaderNow.term}`}${current.size === 0 ? '' : `; now ${[...current.values()].join(' and ')}`}`,
      );
    });
    const nemesis = runNemesis({
      context,
      faults,
      seed,
      onOver: (span) => spans.push(span),
      onBegin: (fault) => (current = new Map(current).set(fault.track, fault.kind)),
      onFault: (record) => {
        records.push(record);
        current = new Map([...current].filter(([track]) => track !== record.track));
        if (record.kind === 'freeze-holder' && record.worked && clients.lastFrozenSet === 'unfenced')
          frozenUnfencedHolders++;
        if (!record.worked)
          print(`${atSeconds()}  ${record.kind} on ${record.target} did not work: ${record.evidence}`);
      },
      onTrouble: (text) => {
        troubles.push(text);
        print(`${atSeconds()}  TROUBLE ${text}`);
      },
    });
    await sleep(options.seconds * 1000);
    const enoughNow = (): Enough => isEnough(options.seconds, collector.operationCount, faults, records, clients.share);
    const lacking = enoughNow().missing;
    if (lacking.length > 0) {
      const forMs = options.seconds * 1000 * OVERTIME;
      print(`${atSeconds()}  goes on for up to ${Math.round(forMs / 1000)} s: ${lacking.join(', ')}`);
      await waitFor(() => (enoughNow().isEnough ? true : undefined), forMs, 100);
    }
    ending.abort();
    await nemesis;

    // Nothing is broken any more: everybody must be served again, or something is wedged.
    for (const client of clients.alive) if (client.isPaused) client.resume();
    network.heal();
    if (!(await cluster.waitForHealth(20_000)))
      troubles.push('20 s after the last fault the cluster was not whole again');
    if (faults.length > 0) calmExcuses.push(...(await leaveHoldersBehind(clients, Random.split(seed, 'calm'), ttlMs)));
    await sleep(ttlMs + 1000);
    const calmNs = monotonicNs();
    await sleep(CALM_MS);
    silentClients = clients.alive
      .filter(({ name, isReady }) => !isReady || (collector.lastOperationNs.get(name) ?? 0) < calmNs)
      .map(({ name }) => name);
    stopProgress();
    print(`${atSeconds()}  faults are over; ending the clients`);
    await clients.stop();
    for (const set of ['fenced', 'unfenced']) {
      const values = await stores.read(set);
      if (values !== undefined && values.length > 0) stored.set(set, values);
    }
    leftovers = await leftoverNames(cluster, ttlMs);
  } finally {
    clients.killAll();
    await cluster.stop();
    stores.stop();
    volume?.unmount();
    namespaces?.close();
  }
  collector.completeThefts();
  await collector.close();
  const endNs = monotonicNs();

  print(`${atSeconds()}  judging ${collector.lines.length} lines of history`);
  const verdicts = judgeRun({
    collector,
    expiry: {
      ttlNs: ttlMs * 1e6,
      leadersSinceNs: cluster.events.filter(({ status }) => status?.role === 'leader').map(({ atNs }) => atNs),
      excuses: spans
        .map(({ startNs: fromNs, endNs: toNs, track, target }) => ({
          fromNs,
          toNs: toNs + 1e9,
          ...(track === 'client' ? { client: target } : {}),
        }))
        .concat(calmExcuses),
    },
    stored,
    frozenUnfencedHolders,
    leftovers,
    silentClients,
    troubles,
  });
  const enough = isEnough(options.seconds, collector.operationCount, faults, records, clients.share);
  const missing = [
    ...enough.missing,
    ...verdicts.filter(({ outcome }) => outcome === 'undecided').map(({ check, summary }) => `${check}: ${summary}`),
  ];
  const exitCode = verdicts.some(({ outcome }) => outcome === 'fail') ? 1 : missing.length > 0 ? 2 : 0;
  return {
    options,
    command,
    directory,
    verdicts,
    missing,
    skipped,
    collector,
    faults: records,
    events: cluster.events,
    startNs: beginNs,
    endNs,
    exitCode,
  };
}

function preloadOf(planted: string): NodeSpec['preload'] {
  return { module: new URL('./plant-process.js', import.meta.url).href, environment: { JEPSEN_PLANTED: planted } };
}

/** The line that repeats a run. */
export function commandOf(options: JepsenOptions): string {
  const parts = [`--seconds ${options.seconds}`, `--nodes ${options.nodes}`, `--seed ${options.seed}`];
  if (options.planted !== undefined) parts.push(`--planted ${options.planted}`);
  if (options.faults.join() !== 'all') parts.push(`--faults ${options.faults.join(',')}`);
  if (options.workloads.length < WORKLOADS.length) parts.push(`--workload ${options.workloads.join(',')}`);
  if (options.clients !== 4) parts.push(`--clients ${options.clients}`);
  if (options.ttlMs !== 2500) parts.push(`--ttl ${options.ttlMs}`);
  if (options.electionTimeoutMs !== 500) parts.push(`--election-timeout ${options.electionTimeoutMs}`);
  return `npm run jepsen -- ${parts.join(' ')}`;
}

/**
 * With all nodes well, one client dies and one is frozen: what they hold has to come free in time. While nodes are
 * broken nobody can say when that is. Resolves to what that excuses.
 */
async function leaveHoldersBehind(clients: ClientPool, random: Random, ttlMs: number): Promise<readonly Excuse[]> {
  const fromNs = monotonicNs();
  const [dying, frozen] = random.shuffle(clients.alive.filter(({ isReady }) => isReady));
  await dying?.killAndReplace();
  if (frozen === undefined) return [];
  await frozen.pause();
  await sleep(ttlMs + 1000);
  frozen.resume();
  return [{ fromNs, toNs: monotonicNs() + 1e9, client: frozen.name }];
}

/** What is in use once every session must be over; empty as soon as nothing is. `undefined`: it could not be read. */
async function leftoverNames(cluster: Cluster, ttlMs: number): Promise<readonly string[] | undefined> {
  try {
    const client = await connect({
      endpoints: cluster.names.map((name) => cluster.clientUrl(name)),
      sessionTtl: Math.max(ttlMs, 5000),
      connectTimeout: 15_000,
    });
    try {
      let found: readonly string[] | undefined;
      const clean = await waitFor(
        async () => {
          const rows = await within(client.list(''), 5000);
          if (rows === undefined) return undefined;
          found = rows
            .filter(({ holders, waiters }) => holders.length > 0 || waiters.length > 0)
            .map(
              ({ name, holders, waiters }) =>
                `${name} is held by ${holders.map((holder) => holder.metadata?.['owner'] ?? `session ${holder.session}`).join(', ') || 'nobody'}, ${waiters.length} wait`,
            );
          return found.length === 0 ? true : undefined;
        },
        // A change of leader may have re-armed the last sessions of killed clients.
        2 * ttlMs + 10_000,
        200,
      );
      return clean === true ? [] : found;
    } finally {
      await client.close();
    }
  } catch {
    return undefined;
  }
}
