import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const LOCKD_BIN: string = fileURLToPath(new URL('../../../packages/lockd/bin/lockd.js', import.meta.url));

export interface CliResult {
  readonly exitCode: number;
  /** What it printed, one JSON value a line. */
  readonly lines: readonly Readonly<Record<string, unknown>>[];
  readonly stderr: string;
}

/** Runs `lockd ARGS… -o json` as an operator would. */
export function lockd(...args: readonly string[]): Promise<CliResult> {
  return new Promise((resolve) => {
    execFile(process.execPath, [LOCKD_BIN, ...args, '-o', 'json'], (error, stdout, stderr) => {
      const lines = stdout
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
      resolve({ exitCode: typeof error?.code === 'number' ? error.code : error === null ? 0 : 1, lines, stderr });
    });
  });
}

/** The same, where anything but success ends the run. Resolves to the last line. */
export async function lockdOrThrow(...args: readonly string[]): Promise<Readonly<Record<string, unknown>>> {
  const { exitCode, lines, stderr } = await lockd(...args);
  const last = lines[lines.length - 1];
  if (exitCode !== 0 || last === undefined)
    throw new Error(`lockd ${args.join(' ')} ended with ${exitCode}: ${JSON.stringify(last) ?? ''} ${stderr}`);
  return last;
}
