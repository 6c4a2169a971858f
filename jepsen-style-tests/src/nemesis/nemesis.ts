import { monotonicNs, sleep } from '../clock.ts';
import { Random } from '../random.ts';
import { CLIENT_FAULTS } from './client-faults.ts';
import { CLOCK_FAULTS } from './clock-faults.ts';
import { DISK_FAULTS } from './disk-faults.ts';
import type { Fault, FaultContext, FaultRecord } from './fault.ts';
import { MEMBERSHIP_FAULTS } from './membership-faults.ts';
import { NETWORK_FAULTS } from './network-faults.ts';
import { PACKET_FAULTS } from './packet-faults.ts';
import { PROCESS_FAULTS } from './process-faults.ts';

export const ALL_FAULTS: readonly Fault[] = [
  ...PROCESS_FAULTS,
  ...NETWORK_FAULTS,
  ...PACKET_FAULTS,
  ...DISK_FAULTS,
  ...MEMBERSHIP_FAULTS,
  ...CLOCK_FAULTS,
  ...CLIENT_FAULTS,
];

/** By kind, or by group (`kill`, `pause`, `partition`, `disk`, `members`, `clock`, `client`, `network`, `all`, `none`). Throws on an unknown name. */
export function chooseFaults(names: readonly string[]): readonly Fault[] {
  const groups: Readonly<Record<string, (fault: Fault) => boolean>> = {
    all: () => true,
    none: () => false,
    kill: ({ kind }) => kind.startsWith('kill') || kind === 'rolling-restart',
    pause: ({ kind }) => kind.startsWith('pause') || kind.startsWith('stall') || kind.startsWith('freeze'),
    partition: ({ kind }) =>
      ['isolate-leader', 'partition-minority', 'partition-halves', 'one-way', 'bridge', 'ring'].includes(kind),
    network: (fault) => NETWORK_FAULTS.includes(fault) || PACKET_FAULTS.includes(fault),
    disk: (fault) => DISK_FAULTS.includes(fault),
    members: (fault) => MEMBERSHIP_FAULTS.includes(fault),
    clock: (fault) => CLOCK_FAULTS.includes(fault),
    client: ({ track }) => track === 'client',
  };
  const chosen = new Set<Fault>();
  for (const name of names) {
    const matches = ALL_FAULTS.filter((fault) => groups[name]?.(fault) ?? fault.kind === name);
    if (matches.length === 0 && name !== 'none') {
      throw new Error(
        `no fault is called ${name}: choose from ${[...Object.keys(groups), ...ALL_FAULTS.map(({ kind }) => kind)].join(', ')}`,
      );
    }
    for (const fault of matches) chosen.add(fault);
  }
  return [...chosen];
}

/**
 * The order of faults of one track, for ever: rounds, in each of which every fault comes once, shuffled, and once more
 * where `next` is told that it did not work: a run's time allows few rounds more than its thresholds need. Each occurrence
 * has numbers of its own, so the fault of a kind in a round is the same whatever happened before it.
 */
export function* scheduleOf(
  faults: readonly Fault[],
  seed: number,
  track: string,
): Generator<{ readonly fault: Fault; readonly random: Random }, void, boolean | undefined> {
  if (faults.length === 0) return;
  const order = Random.split(seed, `schedule ${track}`);
  for (let round = 0; ; round++) {
    for (const fault of order.shuffle(faults)) {
      const worked = yield { fault, random: Random.split(seed, `${fault.kind} ${round}`) };
      if (worked === false) yield { fault, random: Random.split(seed, `${fault.kind} ${round} again`) };
    }
  }
}

export interface NemesisOptions {
  readonly context: FaultContext;
  readonly faults: readonly Fault[];
  readonly seed: number;
  readonly onFault: (record: FaultRecord) => void;
  readonly onBegin: (fault: Fault) => void;
  /** Everything that a fault broke is whole again, whether it is counted or was cut short. */
  readonly onOver: (span: Pick<FaultRecord, 'track' | 'target' | 'startNs' | 'endNs'>) => void;
  /** A fault that threw, or a cluster that did not recover: the run is not to be judged as clean. */
  readonly onTrouble: (text: string) => void;
}

/** Runs both tracks until the context's signal aborts, then repairs everything. */
export async function runNemesis(options: NemesisOptions): Promise<void> {
  const { context, faults } = options;
  await Promise.all(
    (['server', 'client'] as const).map((track) =>
      runTrack(
        options,
        track,
        faults.filter((fault) => fault.track === track),
      ),
    ),
  );
  await context.cluster.repair();
}

async function runTrack(options: NemesisOptions, track: 'server' | 'client', faults: readonly Fault[]): Promise<void> {
  const { context, seed, onFault, onBegin, onOver, onTrouble } = options;
  const { cluster, signal } = context;
  const pauses = Random.split(seed, `pauses ${track}`);
  const schedule = scheduleOf(faults, seed, track);
  let worked = false;
  for (let step = schedule.next(); step.done !== true; step = schedule.next(worked)) {
    const { fault, random } = step.value;
    worked = false;
    await sleep(track === 'server' ? pauses.between(100, 400) : pauses.between(400, 1600), signal);
    if (signal.aborted) return;
    onBegin(fault);
    const startNs = monotonicNs();
    let target = '?';
    try {
      const outcome = await fault.run(context, random);
      ({ target, worked } = outcome);
      // A fault that the end of the run cut short shows nothing.
      if (!signal.aborted || worked) onFault({ ...outcome, kind: fault.kind, track, startNs, endNs: monotonicNs() });
    } catch (error) {
      onFault({
        kind: fault.kind,
        track,
        target: '?',
        worked: false,
        evidence: String(error),
        startNs,
        endNs: monotonicNs(),
      });
      if (!signal.aborted) onTrouble(`${fault.kind}: ${error instanceof Error ? error.message : String(error)}`);
    }
    if (track === 'client') {
      onOver({ track, target, startNs, endNs: monotonicNs() });
      continue;
    }
    try {
      await cluster.repair();
    } catch (error) {
      onTrouble(
        `after ${fault.kind} a node could not be started: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
    if (!(await cluster.waitForHealth(20_000)) && !signal.aborted) {
      const roles = cluster.names.map((name) => `${name} ${cluster.status(name)?.role ?? 'silent'}`).join(', ');
      onTrouble(`20 s after ${fault.kind} the cluster was not whole again: ${roles}`);
    }
    onOver({ track, target, startNs, endNs: monotonicNs() });
  }
}
