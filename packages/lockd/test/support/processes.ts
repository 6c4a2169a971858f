import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { until } from './until.ts';

const LOCKD = fileURLToPath(new URL('../../bin/lockd.js', import.meta.url));

/** The command runs what was built. */
export const isBuilt: boolean = existsSync(fileURLToPath(new URL('../../dist/cli/run.js', import.meta.url)));

/** One `lockd …`, with what it said. */
export class Process {
  stdout = '';
  stderr = '';
  readonly child: ChildProcess;
  #ended: { code: number | null; signal: NodeJS.Signals | null } | undefined;

  constructor(args: readonly string[], environment: Record<string, string> = {}) {
    this.child = spawn(process.execPath, [LOCKD, ...args], {
      env: { PATH: process.env['PATH'] ?? '', ...environment },
    });
    this.child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString();
    });
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString();
    });
    this.child.on('close', (code, signal) => {
      this.#ended = { code, signal };
    });
  }

  /** Resolves to the exit code. */
  async ended(): Promise<number | null> {
    const { code } = await until(
      `${this.child.spawnargs.slice(2).join(' ')} to end\n${this.stdout}\n${this.stderr}`,
      () => this.#ended,
      30_000,
    );
    return code;
  }

  /** The first line on stdout that is JSON with this event. */
  async event(name: string): Promise<Record<string, unknown>> {
    return await until(
      `the event ${name}`,
      () => {
        if (this.#ended !== undefined) throw new Error(`ended with ${this.#ended.code}: ${this.stderr}`);
        const lines = this.stdout.split('\n').filter((line) => line.startsWith('{'));
        return lines
          .map((line) => JSON.parse(line) as Record<string, unknown>)
          .find((event) => event['event'] === name);
      },
      30_000,
    );
  }
}

/** Runs it to its end. */
export async function lockd(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const run = new Process(args);
  const code = await run.ended();
  return { code, stdout: run.stdout, stderr: run.stderr };
}
