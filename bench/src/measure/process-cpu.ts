import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** What the operating system has charged to one process since it began. */
export interface ProcessUsage {
  /** User and system time of all its threads, in seconds (Linux counts in ticks of 10 ms). */
  readonly cpuSeconds: number;
  /** Resident memory now, in bytes. */
  readonly rssBytes: number;
}

/** Reads the accounting of a running process; `undefined` once it is gone. */
export function readProcessUsage(pid: number): ProcessUsage | undefined {
  try {
    return process.platform === 'linux' ? readProc(pid) : readPs(pid);
  } catch {
    return undefined;
  }
}

/** CPU seconds spent between two readings of the same process; `undefined` where either is missing. */
export function cpuBetween(before: ProcessUsage | undefined, after: ProcessUsage | undefined): number | undefined {
  return before === undefined || after === undefined ? undefined : Math.max(0, after.cpuSeconds - before.cpuSeconds);
}

function readProc(pid: number): ProcessUsage {
  return parseProcStat(readFileSync(`/proc/${pid}/stat`, 'utf8'), clockTicksPerSecond(), pageBytes());
}

function readPs(pid: number): ProcessUsage {
  return parsePs(execFileSync('ps', ['-o', 'time=,rss=', '-p', String(pid)], { encoding: 'utf8' }));
}

/** One `/proc/<pid>/stat` line. Throws on anything else. */
export function parseProcStat(line: string, ticksPerSecond: number, bytesPerPage: number): ProcessUsage {
  // The second field is the command in parentheses, which may itself hold spaces and parentheses.
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  // Counted from the third field (state): utime is the 14th of proc(5), stime the 15th, rss the 24th.
  const userTicks = Number(fields[11]);
  const systemTicks = Number(fields[12]);
  const pages = Number(fields[21]);
  if (!Number.isFinite(userTicks + systemTicks + pages)) throw new Error('not a line of /proc/<pid>/stat');
  return { cpuSeconds: (userTicks + systemTicks) / ticksPerSecond, rssBytes: pages * bytesPerPage };
}

/** Output of `ps -o time=,rss=`: `[[days-]hours:]minutes:seconds[.hundredths]` and kilobytes. Throws on anything else. */
export function parsePs(output: string): ProcessUsage {
  const match = /^\s*(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)\s+(\d+)\s*$/.exec(output);
  if (match === null) throw new Error(`not an answer of ps: ${JSON.stringify(output)}`);
  const [, days = '0', hours = '0', minutes = '0', seconds = '0', kilobytes = '0'] = match;
  return {
    cpuSeconds: ((Number(days) * 24 + Number(hours)) * 60 + Number(minutes)) * 60 + Number(seconds),
    rssBytes: Number(kilobytes) * 1024,
  };
}

let ticks: number | undefined;
let pages: number | undefined;

function clockTicksPerSecond(): number {
  ticks ??= readConfiguration('CLK_TCK', 100);
  return ticks;
}

function pageBytes(): number {
  pages ??= readConfiguration('PAGESIZE', 4096);
  return pages;
}

function readConfiguration(name: string, otherwise: number): number {
  try {
    const value = Number(execFileSync('getconf', [name], { encoding: 'utf8' }));
    return Number.isInteger(value) && value > 0 ? value : otherwise;
  } catch {
    return otherwise;
  }
}
