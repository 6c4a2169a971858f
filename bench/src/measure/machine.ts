import { execFileSync } from 'node:child_process';
import { closeSync, fdatasyncSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { arch, availableParallelism, cpus, loadavg, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { median } from './statistics.ts';

/** Where the figures were taken. Without this line they say nothing. */
export interface Machine {
  readonly cores: number;
  readonly cpuModel: string;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly node: string;
  readonly fileSystem: string;
  /** Median of appending 4 KiB and fdatasync, in microseconds, in the directory the servers write to. */
  readonly syncMicros: number;
  /** Load average over the last minute when the run began: work of others that the figures include. */
  readonly loadAverage: number;
  /** Commit of the checkout, `+changes` when files differ from it; `unknown` outside one. */
  readonly commit: string;
}

const SYNC_SAMPLES = 200;

/** Measures the disk under `directory` (some 200 synced writes) and reads the rest. */
export function describeMachine(directory: string): Machine {
  return {
    cores: availableParallelism(),
    cpuModel: cpus()[0]?.model.trim() ?? 'unknown',
    memoryBytes: totalmem(),
    kernel: `${platform()} ${release()} ${arch()}`,
    node: process.version,
    fileSystem: fileSystemOf(directory),
    syncMicros: measureSyncMicros(directory, SYNC_SAMPLES),
    loadAverage: loadavg()[0] ?? 0,
    commit: readCommit(),
  };
}

export function machineLine(machine: Machine): string {
  return [
    `${machine.cores} cores (${machine.cpuModel})`,
    `${(machine.memoryBytes / 2 ** 30).toFixed(0)} GiB`,
    machine.kernel,
    `Node ${machine.node}`,
    `${machine.fileSystem}, 4 KiB append + fdatasync ${machine.syncMicros.toFixed(0)} µs`,
    `load ${machine.loadAverage.toFixed(1)}`,
    `commit ${machine.commit}`,
  ].join(' · ');
}

/** Median time of one append of 4 KiB followed by fdatasync, in microseconds. */
export function measureSyncMicros(directory: string, samples: number): number {
  const path = join(directory, `sync-probe-${process.pid}`);
  const block = Buffer.alloc(4096, 1);
  const file = openSync(path, 'w');
  try {
    const micros: number[] = [];
    for (let sample = 0; sample < samples; sample++) {
      const begun = performance.now();
      writeSync(file, block);
      fdatasyncSync(file);
      micros.push((performance.now() - begun) * 1000);
    }
    return median(micros);
  } finally {
    closeSync(file);
    rmSync(path, { force: true });
  }
}

const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0xef53: 'ext4',
  0x01021994: 'tmpfs (memory: a sync costs nothing)',
  0x794c7630: 'overlayfs',
  0x9123683e: 'btrfs',
  0x58465342: 'xfs',
  0x2fc12fc1: 'zfs',
  0x1a: 'apfs',
};

function fileSystemOf(directory: string): string {
  const { type } = statfsSync(directory);
  return FILE_SYSTEMS[type] ?? `file system 0x${type.toString(16)}`;
}

function readCommit(): string {
  try {
    const run = (...args: string[]): string =>
      execFileSync('git', args, {
        encoding: 'utf8',
        cwd: import.meta.dirname,
        stdio: ['ignore', 'pipe', 'ignore'],
      }).trim();
    const changed = run('status', '--porcelain', '--untracked-files=no') !== '';
    return run('rev-parse', '--short=10', 'HEAD') + (changed ? '+changes' : '');
  } catch {
    return 'unknown';
  }
}

/** First line a program prints for its version, or `undefined` when it cannot be run. Some print it on stderr. */
export function programVersion(program: string, args: readonly string[]): string | undefined {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
      .split('\n')[0]
      ?.trim();
  } catch {
    return undefined;
  }
}
