/**
 * Loaded into a node by `--import`; part of no product. Four times a second it appends a line of JSON to the file
 * LOOP_PROBE_DIR/<pid>: see `ProbeLine`. On a busy machine a short piece of work may take long, so what counts is the processor
 * time of the node's own thread.
 */
import { appendFileSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks';
import { every, monotonicNs, processMs } from '../clock.ts';

/** A piece of work on snapshots that nothing interrupts. */
export interface Piece {
  readonly what: 'writing' | 'restoring';
  /** Processor time of the node's own thread. The collector's marking between two collections is in it. */
  readonly ownMs: number;
  /** Of that, collections. */
  readonly collectingMs: number;
  readonly wallMs: number;
}

/** What happened since the line before. */
export interface ProbeLine {
  /** Of the monotonic clock. */
  readonly atNs: number;
  readonly longestDelayMs: number;
  readonly longestCollectionMs: number;
  /** Of the log, until it was durable. */
  readonly longestWriteMs: number;
  /** The node's own thread could have run, and others did. 0 where the system does not tell it. */
  readonly waitedMs: number;
  readonly pieces: readonly Piece[];
}

type Running = (this: unknown, ...args: never[]) => unknown;

const directory = process.env['LOOP_PROBE_DIR'];
const RESOLUTION_MS = 2;
/** A call that finds nothing to do is no piece. */
const PIECE_MIN_MS = 0.05;

/** What this thread has used and waited for of the processors; where the system does not tell it, what the process has used. */
function threadTimes(): () => { readonly usedMs: number; readonly waitedMs: number } {
  let file: number | undefined;
  try {
    file = openSync(`/proc/self/task/${process.pid}/schedstat`, 'r');
  } catch {
    file = undefined;
  }
  const text = Buffer.alloc(64);
  return () => {
    // Also brings the thread's own count up to date, which else moves with the scheduler's ticks.
    const { user, system } = process.cpuUsage();
    if (file === undefined) return { usedMs: (user + system) / 1000, waitedMs: 0 };
    const length = readSync(file, text, 0, text.length, 0);
    const [usedNs, waitedNs] = text.toString('latin1', 0, length).split(' ');
    return { usedMs: Number(usedNs) / 1e6, waitedMs: Number(waitedNs) / 1e6 };
  };
}

if (directory !== undefined && process.argv.includes('start')) {
  const file = join(directory, String(process.pid));
  const times = threadTimes();
  let pieces: { what: Piece['what']; startMs: number; endMs: number; ownMs: number }[] = [];
  const timed = (what: Piece['what'], run: Running): Running =>
    function (this: unknown, ...args) {
      const startMs = processMs();
      const { usedMs } = times();
      try {
        return run.apply(this, args);
      } finally {
        const ownMs = times().usedMs - usedMs;
        if (ownMs >= PIECE_MIN_MS) pieces.push({ what, startMs, endMs: processMs(), ownMs });
      }
    };
  const load = async (module: string): Promise<Record<string, { prototype: Record<string, Running> }>> =>
    (await import(new URL(`../../../packages/${module}`, import.meta.url).href)) as never;
  const { SnapshotMaker } = await load('raft/dist/node/snapshot-maker.js');
  const { LockStateMachine } = await load('lockd/dist/node/lock-state-machine.js');
  const { LogStore } = await load('raft/dist/node/log-store.js');
  if (SnapshotMaker === undefined || LockStateMachine === undefined || LogStore === undefined)
    throw new Error('the probe fits no such build');
  SnapshotMaker.prototype['slice'] = timed('writing', SnapshotMaker.prototype['slice'] as Running);
  const machine = LockStateMachine.prototype;
  machine['beginSnapshot'] = timed('writing', machine['beginSnapshot'] as Running);
  const beginRestore = machine['beginRestore'] as Running;
  machine['beginRestore'] = function (this: unknown): unknown {
    const writer = beginRestore.call(this) as Record<string, Running>;
    return Object.fromEntries(Object.entries(writer).map(([name, run]) => [name, timed('restoring', run)]));
  };

  const persist = LogStore.prototype['persist'] as (this: unknown, ...args: never[]) => Promise<unknown>;
  let longestWriteMs = 0;
  LogStore.prototype['persist'] = async function (this: unknown, ...args) {
    const startMs = processMs();
    try {
      return await persist.apply(this, args);
    } finally {
      longestWriteMs = Math.max(longestWriteMs, processMs() - startMs);
    }
  };

  let collections: { readonly startMs: number; readonly durationMs: number }[] = [];
  new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries())
      collections.push({ startMs: startTime, durationMs: duration });
  }).observe({ entryTypes: ['gc'] });
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  let { waitedMs } = times();
  every(250, () => {
    const waitedBeforeMs = waitedMs;
    waitedMs = times().waitedMs;
    const line: ProbeLine = {
      atNs: monotonicNs(),
      longestDelayMs: Math.max(0, delay.max / 1e6 - RESOLUTION_MS),
      longestCollectionMs: Math.max(0, ...collections.map(({ durationMs }) => durationMs)),
      longestWriteMs,
      waitedMs: waitedMs - waitedBeforeMs,
      pieces: pieces.map(({ what, startMs, endMs, ownMs }) => {
        const within = collections.filter((collection) => collection.startMs >= startMs && collection.startMs < endMs);
        const collectingMs = within.reduce((sum, { durationMs }) => sum + durationMs, 0);
        return { what, ownMs, collectingMs: Math.min(ownMs, collectingMs), wallMs: endMs - startMs };
      }),
    };
    appendFileSync(file, `${JSON.stringify(line)}\n`);
    delay.reset();
    pieces = [];
    collections = [];
    longestWriteMs = 0;
  });
}
