import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';

/** A server process of ours. */
export interface Child {
  readonly pid: number;
  readonly logFile: string;
  /** True until the process has ended. */
  isRunning(): boolean;
  /** Lines the process prints on stdout, each once; only where `readStdout` was asked for. */
  onLine(listener: (line: string) => void): void;
  signal(signal: NodeJS.Signals): void;
  /** SIGTERM, and SIGKILL when it has not ended within `graceMs`. Resolves once it has ended. */
  stop(graceMs?: number): Promise<void>;
  /** Resolves when it has ended, whatever the reason. */
  readonly ended: Promise<void>;
}

export interface ChildOptions {
  /** stderr goes here, stdout too unless `readStdout`. */
  readonly logFile: string;
  readonly readStdout?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

const running = new Set<ChildProcess>();

// Whatever way this process ends, it leaves no server behind. `exit` handlers must be synchronous: hence SIGKILL.
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Starts a program with the given arguments, without a shell. Throws when it cannot be started. */
export function startChild(program: string, args: readonly string[], options: ChildOptions): Child {
  const log = openSync(options.logFile, 'a');
  const child = spawn(program, args, {
    stdio: ['ignore', options.readStdout === true ? 'pipe' : log, log],
    env: { ...process.env, ...options.env },
    cwd: options.cwd,
  });
  closeSync(log);
  const { pid } = child;
  running.add(child);
  const ended = new Promise<void>((resolve) => {
    const end = (): void => {
      running.delete(child);
      resolve();
    };
    child.once('exit', end);
    child.once('error', end);
  });
  if (pid === undefined) throw new Error(`cannot start ${program}`);

  const listeners: ((line: string) => void)[] = [];
  let rest = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) for (const listener of listeners) listener(line);
  });

  return {
    pid,
    logFile: options.logFile,
    isRunning: () => running.has(child),
    onLine: (listener) => void listeners.push(listener),
    signal: (signal) => void child.kill(signal),
    ended,
    async stop(graceMs = 10_000) {
      if (!running.has(child)) return;
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** The last lines of a log, for an error message. */
export function tailOf(logFile: string, lines = 15): string {
  try {
    return readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '(no log)';
  }
}

/** Resolves once `condition` holds; rejects after `deadlineMs` with `what` in its words. Asks every `intervalMs`. */
export async function waitUntil(
  what: string,
  condition: () => boolean | Promise<boolean>,
  deadlineMs: number,
  intervalMs = 50,
): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${deadlineMs / 1000} s`);
    await pause(intervalMs);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
