import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, readFileSync, type WriteStream } from 'node:fs';
import { monotonicNs, waitFor, wallMs, within } from '../clock.ts';
import { registerChild } from './child-registry.ts';
import type { FakeClock } from './fake-clock.ts';
import { readJsonLines } from './json-lines.ts';

export interface NodeSpec {
  readonly name: string;
  readonly bin: string;
  readonly args: readonly string[];
  readonly dataDir: string;
  readonly clientPort: number;
  readonly peerPort: number;
  /** What the node says on stderr is appended here. */
  readonly logFile: string;
  /** Its wall clock, where that is in our hands. */
  readonly clock?: FakeClock | undefined;
  /** Loaded before its program, and what it is told: for bugs on purpose. */
  readonly preload?: { readonly module: string; readonly environment: Readonly<Record<string, string>> } | undefined;
  /** Before the command, for a node that has a network of its own. */
  readonly prefix?: readonly string[] | undefined;
}

export type NodeState = 'running' | 'stopped' | 'dead';

/** One `lockd start` process, through all its deaths. */
export class NodeProcess {
  readonly spec: NodeSpec;
  /** How often it has been started. */
  starts = 0;
  /** How often it ended without having been asked to. */
  unexpectedExits = 0;
  /** By how much the time in its newest line of log differed from ours, and when that line came. */
  reportedWall: { readonly skewMs: number; readonly atNs: number } | undefined;
  onUnexpectedExit = (_code: number | null, _signal: NodeJS.Signals | null): void => {};
  #child: ChildProcess | undefined;
  #isPaused = false;
  #isEndExpected = false;
  #exited: Promise<void> = Promise.resolve();
  readonly #log: WriteStream;

  constructor(spec: NodeSpec) {
    this.spec = spec;
    this.#log = createWriteStream(spec.logFile, { flags: 'a' });
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get state(): NodeState {
    if (this.#child === undefined) return 'dead';
    return this.#isPaused ? 'stopped' : 'running';
  }

  /** Resolves once it says that it is ready, or rejects with what it said before it ended. */
  async start(timeoutMs = 15_000): Promise<void> {
    if (this.#child !== undefined) throw new Error(`${this.spec.name} is running already`);
    this.starts++;
    this.#isEndExpected = false;
    const { bin, clock, prefix = [], preload } = this.spec;
    const imports = preload === undefined ? [] : ['--import', preload.module];
    const [command = '', ...args] = [...prefix, process.execPath, ...imports, bin, ...this.spec.args];
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...clock?.environment, ...preload?.environment },
    });
    registerChild(child);
    this.#child = child;
    let tail = '';
    child.stderr.on('data', (chunk: Buffer) => {
      tail = (tail + chunk.toString()).slice(-2000);
      this.#log.write(chunk);
      this.#readTime(chunk.toString());
    });
    let onReady = (): void => {};
    const ready = new Promise<'ready'>((resolve) => (onReady = () => resolve('ready')));
    readJsonLines(child.stdout, (value) => {
      if ((value as { event?: unknown }).event === 'ready') onReady();
    });
    this.#exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        if (this.#child === child) {
          this.#child = undefined;
          this.#isPaused = false;
        }
        this.#log.write(`--- ${this.spec.name} ended: code ${code}, signal ${signal}\n`);
        if (!this.#isEndExpected) {
          this.unexpectedExits++;
          this.onUnexpectedExit(code, signal);
        }
        resolve();
      });
    });
    child.once('error', () => onReady());
    const outcome = await within(Promise.race([ready, this.#exited.then(() => 'exited' as const)]), timeoutMs);
    if (outcome !== 'ready')
      throw new Error(
        `${this.spec.name} ${outcome === undefined ? `was not ready within ${timeoutMs} ms` : 'ended'}: ${tail.trim()}`,
      );
  }

  #readTime(text: string): void {
    const last = [...text.matchAll(/"time":"([^"]+)"/g)].at(-1)?.[1];
    if (last !== undefined) this.reportedWall = { skewMs: Date.parse(last) - wallMs(), atNs: monotonicNs() };
  }

  /** kill -9. Resolves when it is gone. */
  async kill(): Promise<void> {
    this.#isEndExpected = true;
    this.#child?.kill('SIGKILL');
    await this.#exited;
  }

  /** SIGTERM; kill -9 when it takes longer than `timeoutMs`. Resolves to whether it ended by itself. */
  async terminate(timeoutMs = 10_000): Promise<boolean> {
    if (this.#child === undefined) return true;
    this.#isEndExpected = true;
    if (this.#isPaused) this.resume();
    this.#child.kill('SIGTERM');
    const ended = await within(
      this.#exited.then(() => true),
      timeoutMs,
    );
    if (ended !== true) await this.kill();
    return ended === true;
  }

  /** The next end is part of the plan (a fault makes it stop itself). */
  expectEnd(): void {
    this.#isEndExpected = true;
  }

  async ended(timeoutMs: number): Promise<boolean> {
    return (
      (await within(
        this.#exited.then(() => true),
        timeoutMs,
      )) === true
    );
  }

  /** SIGSTOP. Resolves once the kernel says that every thread has stopped. */
  async pause(): Promise<boolean> {
    const child = this.#child;
    if (child?.pid === undefined) return false;
    child.kill('SIGSTOP');
    this.#isPaused = true;
    return isStopped(child.pid);
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
    this.#isPaused = false;
  }
}

/** Whether the kernel shows the process as stopped, within a second. Where there is no /proc, the signal is trusted. */
export async function isStopped(pid: number): Promise<boolean> {
  const stopped = await waitFor(
    () => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) === 'T' ? true : undefined;
      } catch {
        return true;
      }
    },
    1000,
    5,
  );
  return stopped === true;
}
