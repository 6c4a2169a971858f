import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import type { ConnectOptions, DriverSpec } from '../drivers/driver.ts';
import type { LoadAnswer, LoadMessage, LoadRequest, RequestMessage } from './messages.ts';
import type { GapReport, Workload, WorkloadResult } from './workload.ts';

/** The compiled file, also when the tests run this one from source: a process of its own needs JavaScript. */
const ENTRY = join(import.meta.dirname, '..', '..', 'dist', 'load', 'load-process.js');

interface Waiting {
  readonly resolve: (answer: LoadAnswer) => void;
  readonly reject: (error: Error) => void;
}

/** The load generator's process, seen from the bench. One workload at a time. */
export class LoadGenerator {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;
  #onPhase: ((phase: 'measuring' | 'measured') => void) | undefined;

  /** `nodeOptions` are flags for the process's `node`, such as `--cpu-prof`. */
  constructor(nodeOptions: readonly string[] = []) {
    this.#child = fork(ENTRY, [], { serialization: 'advanced', execArgv: [...nodeOptions] });
    this.#child.on('message', (message) => this.#take(message as LoadMessage));
    this.#child.on('exit', () => {
      for (const waiting of this.#waiting.values()) waiting.reject(new Error('the load generator ended'));
      this.#waiting.clear();
    });
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  async connect(spec: DriverSpec, options: ConnectOptions): Promise<void> {
    await this.#ask({ type: 'connect', spec, options });
  }

  /** `onPhase` is called as the measured time begins and ends. `watch-gaps` resolves at once and goes on. */
  async run(workload: Workload, onPhase?: (phase: 'measuring' | 'measured') => void): Promise<WorkloadResult> {
    this.#onPhase = onPhase;
    return (await this.#ask({ type: 'run', workload })) as WorkloadResult;
  }

  async mark(): Promise<void> {
    await this.#ask({ type: 'mark' });
  }

  async report(): Promise<GapReport> {
    return (await this.#ask({ type: 'report' })) as GapReport;
  }

  async finish(): Promise<void> {
    await this.#ask({ type: 'finish' });
  }

  /** Closes the connections (at most 5 s) and ends the process. */
  async stop(): Promise<void> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5000);
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      await this.#ask({ type: 'close' }).catch(() => undefined);
      if (this.#child.connected) this.#child.disconnect();
      await ended;
    }
    clearTimeout(timer);
  }

  #ask(request: LoadRequest): Promise<LoadAnswer> {
    const id = ++this.#next;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, request } satisfies RequestMessage, (error) => {
        if (error === null || !this.#waiting.delete(id)) return;
        reject(error);
      });
    });
  }

  #take(message: LoadMessage): void {
    if (message.type === 'phase') {
      this.#onPhase?.(message.phase);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.type === 'answer') waiting?.resolve(message.answer);
    else waiting?.reject(new Error(message.message));
  }
}
