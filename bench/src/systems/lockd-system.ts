import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type Child, startChild, tailOf, waitUntil } from '../processes/children.ts';
import { findFreePorts } from '../processes/ports.ts';
import type { Scratch } from '../processes/scratch.ts';
import { nodeFlagForProbe } from './node-probe-client.ts';
import type { LockSystem, RunningSystem, ServerProcess } from './system.ts';

const START_DEADLINE_MS = 30_000;
const require = createRequire(import.meta.url);
/** The built command: the same file that users run. */
const LOCKD_BIN: string = join(dirname(require.resolve('lockd/package.json')), 'bin', 'lockd.js');

export interface LockdOptions {
  readonly nodes: number;
  /** The nodes that die are started again by `lockd cluster --restart`. Default false. */
  readonly restart?: boolean;
  /** Lets `readNodeMemory` look into the nodes; costs nothing until it is called. Default false. */
  readonly probe?: boolean;
  /** Megabytes a second of short-lived objects that the probe makes in each node: GC pressure. Default 0. */
  readonly garbageMbPerSecond?: number;
  /** Flags for every node's `node`, such as `--cpu-prof`. */
  readonly nodeOptions?: string;
  /** More arguments for `lockd cluster`. */
  readonly clusterArguments?: readonly string[];
  /** An earlier cluster, stopped: start from its data, on its ports. */
  readonly again?: RunningLockd;
}

/** One node as `lockd status` shows it. */
export interface LockdNodeStatus {
  readonly name: string;
  readonly pid: number;
  /** Its client address; null for a node whose address nobody knows. */
  readonly client: string | null;
  readonly reachable: boolean;
  readonly role: string;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastIndex: number;
}

export interface LockdStatus {
  readonly leader: string | null;
  readonly term: number;
  readonly nodes: readonly LockdNodeStatus[];
}

export interface RunningLockd extends RunningSystem {
  readonly dataDirectory: string;
  /** First of the consecutive ports: clients', then peers'. */
  readonly firstPort: number;
  /** From the start of `lockd cluster` until it said that a leader serves. */
  readonly startMs: number;
  /** Where `readNodeMemory` finds what it asked for. */
  readonly probeDirectory: string;
  readonly endpoints: readonly string[];
  /** `lockd status -o json`: all members, within 3 s. */
  status(): Promise<LockdStatus>;
  /** The leader's process; waits until there is one. */
  leader(deadlineMs?: number): Promise<LockdNodeStatus>;
  /** Resolves when all nodes are reachable, one leads, and every node has applied what the leader had committed at the call. */
  settled(deadlineMs?: number): Promise<LockdStatus>;
}

interface ReadyLine {
  readonly event: string;
  readonly leader: string;
  readonly nodes: readonly { readonly name: string; readonly pid: number; readonly client: string }[];
}

/** A cluster of real processes by `lockd cluster`, with fsync as shipped, on free ports. */
export async function startLockd(scratch: Scratch, options: LockdOptions): Promise<RunningLockd> {
  const directory = scratch.make('lockd');
  const dataDirectory = options.again?.dataDirectory ?? join(directory, 'data');
  const firstPort = options.again?.firstPort ?? (await findFreePorts(options.nodes * 2));
  const begun = performance.now();
  // `lockd cluster` starts its nodes with its own flags for `node`. (NODE_OPTIONS would not take --cpu-prof.)
  const nodeFlags = [
    ...(options.nodeOptions?.split(' ') ?? []),
    ...(options.probe === true || options.garbageMbPerSecond !== undefined ? [nodeFlagForProbe()] : []),
  ];
  const child = startChild(
    process.execPath,
    [
      ...nodeFlags,
      LOCKD_BIN,
      'cluster',
      '--nodes',
      String(options.nodes),
      '--data-dir',
      dataDirectory,
      '--client-port',
      String(firstPort),
      '--peer-port',
      String(firstPort + options.nodes),
      '-o',
      'json',
      ...(options.restart === true ? ['--restart'] : []),
      ...(options.clusterArguments ?? []),
    ],
    {
      logFile: join(directory, 'cluster.log'),
      readStdout: true,
      cwd: directory,
      env: {
        // Not LOCKD_…: those are settings of lockd, which `cluster` does not pass on.
        BENCH_PROBE_DIR: directory,
        BENCH_GARBAGE_MB: String(options.garbageMbPerSecond ?? 0),
      },
    },
  );
  const ready = await awaitReady(child);
  const endpoints = ready.nodes.map((node) => node.client);
  const status = (): Promise<LockdStatus> => readStatus(endpoints);

  const running: RunningLockd = {
    name: 'lockd',
    version: 'this checkout',
    driver: { type: 'lockd', endpoints },
    dataDirectory,
    firstPort,
    startMs: performance.now() - begun,
    probeDirectory: directory,
    endpoints,
    status,
    async processes() {
      const { leader, nodes } = await status();
      return nodes
        .filter((node) => node.reachable)
        .map(
          (node): ServerProcess => ({
            name: node.name,
            role: node.name === leader ? 'leader' : 'follower',
            pid: node.pid,
          }),
        );
    },
    async leader(deadlineMs = 20_000) {
      let found: LockdNodeStatus | undefined;
      await waitUntil(
        'a leader of lockd',
        async () => {
          const now = await status();
          found = now.nodes.find((node) => node.name === now.leader && node.reachable);
          return found !== undefined;
        },
        deadlineMs,
      );
      return found as LockdNodeStatus;
    },
    async settled(deadlineMs = 60_000) {
      let last: LockdStatus | undefined;
      let target: number | undefined;
      await waitUntil(
        'all nodes of lockd caught up',
        async () => {
          last = await status();
          const leader = last.nodes.find((node) => node.name === last?.leader);
          if (leader === undefined) return false;
          target ??= leader.commitIndex;
          const wanted = target;
          return (
            last.nodes.length === options.nodes &&
            last.nodes.every((node) => node.reachable && node.appliedIndex >= wanted)
          );
        },
        deadlineMs,
        100,
      );
      return last as LockdStatus;
    },
    // `--restart` has started it again already, or is about to.
    ...(options.restart === true ? { restart: async () => void (await running.settled()) } : {}),
    stop: () => child.stop(20_000),
  };
  return running;
}

/** The product as a peer among peers. */
export function lockdSystem(options: LockdOptions): LockSystem {
  return {
    name: 'lockd',
    description: `${options.nodes} nodes, every write synced on a majority; acquire and release through the SDK`,
    unavailable: () => (existsSync(LOCKD_BIN) ? undefined : `not built: ${LOCKD_BIN}`),
    start: (scratch) => startLockd(scratch, options),
  };
}

function awaitReady(child: Child): Promise<ReadyLine> {
  return new Promise((resolve, reject) => {
    const fail = (what: string): void => {
      clearTimeout(timer);
      reject(new Error(`lockd cluster ${what}; the end of its log:\n${tailOf(child.logFile)}`));
    };
    const timer = setTimeout(() => {
      void child.stop(1000);
      fail(`was not ready within ${START_DEADLINE_MS / 1000} s`);
    }, START_DEADLINE_MS);
    void child.ended.then(() => fail('ended before it was ready'));
    child.onLine((line) => {
      const event = parseEvent(line);
      if (event?.event !== 'ready') return;
      clearTimeout(timer);
      resolve(event);
    });
  });
}

function parseEvent(line: string): ReadyLine | undefined {
  try {
    return JSON.parse(line) as ReadyLine;
  } catch {
    return undefined;
  }
}

function readStatus(endpoints: readonly string[]): Promise<LockdStatus> {
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [LOCKD_BIN, 'status', '--endpoints', endpoints.join(','), '-o', 'json'],
      { timeout: 10_000, maxBuffer: 16 * 1024 * 1024 },
      (error, stdout) => {
        try {
          // Without a leader the exit status may say so; the answer counts.
          resolve(JSON.parse(stdout) as LockdStatus);
        } catch {
          reject(error ?? new Error(`lockd status printed no JSON: ${stdout.slice(0, 200)}`));
        }
      },
    );
  });
}
