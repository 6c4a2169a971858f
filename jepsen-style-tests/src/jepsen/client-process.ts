import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { within } from '../clock.ts';
import { registerChild } from '../cluster/child-registry.ts';
import type { FakeClock } from '../cluster/fake-clock.ts';
import { readJsonLines } from '../cluster/json-lines.ts';
import { isStopped } from '../cluster/node-process.ts';
import type { Victim } from '../nemesis/fault.ts';
import type { WorkerCommand, WorkerReport, WorkerSpec } from '../workload/messages.ts';

const CLIENT_WORKER = fileURLToPath(new URL('../workload/client-worker.js', import.meta.url));

/** One client of the run, in an operating system process of its own. */
export class ClientProcess implements Victim {
  readonly spec: WorkerSpec;
  readonly clock: FakeClock | undefined;
  isReady = false;
  isPaused = false;
  /** The sets it is just reading and writing. */
  readonly atWork: Set<string> = new Set();
  onDeath = (_isExpected: boolean, _stderr: string): void => {};
  onKill = (): Promise<void> => Promise.resolve();
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #isEndExpected = false;
  #onBlocked = (_ms: number): void => {};
  #onClock = (_wallMs: number): void => {};

  constructor(
    spec: WorkerSpec,
    onReport: (report: WorkerReport) => void,
    options: { readonly script?: string; readonly clock?: FakeClock | undefined } = {},
  ) {
    this.spec = spec;
    this.clock = options.clock;
    const script = options.script ?? CLIENT_WORKER;
    this.#child = spawn(process.execPath, [script, JSON.stringify(spec)], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...options.clock?.environment },
    });
    registerChild(this.#child);
    let stderr = '';
    this.#child.stdin?.on('error', () => {});
    this.#child.stderr?.on('data', (chunk: Buffer) => (stderr = (stderr + chunk.toString()).slice(-4000)));
    if (this.#child.stdout !== null) {
      readJsonLines(this.#child.stdout, (value) => {
        const report = value as WorkerReport;
        if (report.type === 'ready') this.isReady = true;
        else if (report.type === 'blocked') this.#onBlocked(report.ms);
        else if (report.type === 'clock') this.#onClock(report.wallMs);
        else if (report.type === 'work') this.atWork[report.isOn ? 'add' : 'delete'](report.set);
        onReport(report);
      });
    }
    // `close`, not `exit`: what it wrote before it died is read first.
    this.#ended = new Promise((resolve) => {
      this.#child.once('close', () => {
        this.onDeath(this.#isEndExpected, stderr);
        resolve();
      });
    });
  }

  get name(): string {
    return this.spec.name;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  async pause(): Promise<boolean> {
    const { pid } = this.#child;
    if (pid === undefined) return false;
    this.#child.kill('SIGSTOP');
    this.isPaused = true;
    return isStopped(pid);
  }

  resume(): void {
    this.#child.kill('SIGCONT');
    this.isPaused = false;
  }

  async killAndReplace(): Promise<void> {
    this.#isEndExpected = true;
    this.#child.kill('SIGKILL');
    await this.#ended;
    await this.onKill();
  }

  block(ms: number): Promise<number | undefined> {
    const blocked = new Promise<number>((resolve) => (this.#onBlocked = resolve));
    this.#send({ type: 'block', ms });
    return within(blocked, ms + 10_000);
  }

  reportedWallMs(): Promise<number | undefined> {
    const told = new Promise<number>((resolve) => (this.#onClock = resolve));
    this.#send({ type: 'clock' });
    return within(told, 3000);
  }

  /** Lets it finish what it does; kills it when that takes longer than `timeoutMs`. Resolves to whether it ended by itself. */
  async stop(timeoutMs: number): Promise<boolean> {
    this.#isEndExpected = true;
    if (this.isPaused) this.resume();
    this.#send({ type: 'stop' });
    const ended = await within(
      this.#ended.then(() => true),
      timeoutMs,
    );
    if (ended !== true) {
      this.#child.kill('SIGKILL');
      await this.#ended;
    }
    return ended === true;
  }

  #send(command: WorkerCommand): void {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
  }
}
