import { type ChildProcess, spawn } from 'node:child_process';
import { constants, hostname } from 'node:os';
import { type HeldLock, type LockClient, LockdError } from '@lockd/client';
import { LIMITS } from '@lockd/client/protocol';
import { keepAlive } from '../clock.ts';
import { connectFor, failureOf } from './connection.ts';
import { EXIT } from './exit-codes.ts';
import { type Settings, usage } from './settings.ts';

const FORWARDED = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;

/** `lockd run NAME … -- COMMAND`: flock for a cluster. Resolves to the exit code. */
export async function run(name: string, command: readonly string[], settings: Settings): Promise<number> {
  const isShared = settings.flag('shared');
  if (isShared && settings.flag('exclusive')) throw usage('-s and -x exclude each other');
  if (settings.flag('nonblock') && settings.text('wait') !== undefined) throw usage('-n and -w exclude each other');
  const waitMs = settings.flag('nonblock') ? 0 : waitOf(settings.text('wait'));
  const conflictCode = settings.integer('conflict-exit-code') ?? EXIT.failed;
  if (conflictCode > 255) throw usage(`-E ${conflictCode}: an exit code is from 0 to 255`);
  const [program] = command;
  if (program === undefined) throw usage(`no command: lockd run ${name} -- COMMAND ARGUMENTS…`);

  const release = keepAlive();
  const interrupted = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => interrupted.abort(signal);
  for (const signal of FORWARDED) process.on(signal, onSignal);
  try {
    const sessionTtl = settings.text('session-ttl');
    const client = await connectFor(settings, {
      metadata: { host: hostname(), pid: String(process.pid), command: program.slice(0, 200) },
      ...(sessionTtl === undefined ? {} : { sessionTtl: sessionTtl as `${number}s` }),
    });
    const lock = await acquire(client, name, { waitMs, isShared, conflictCode, interrupted: interrupted.signal });
    if (typeof lock === 'number') {
      await client.close();
      return lock;
    }
    for (const signal of FORWARDED) process.off(signal, onSignal);
    const exitCode = await new Guarded(client, lock, command).ended();
    // Releases what is held. It says so itself where that cannot be confirmed.
    await client.close();
    return exitCode;
  } finally {
    release();
  }
}

async function acquire(
  client: LockClient,
  name: string,
  options: {
    readonly waitMs: number;
    readonly isShared: boolean;
    readonly conflictCode: number;
    readonly interrupted: AbortSignal;
  },
): Promise<HeldLock | number> {
  try {
    return await client.acquire(name, {
      wait: options.waitMs,
      mode: options.isShared ? 'shared' : 'exclusive',
      signal: options.interrupted,
      metadata: { host: hostname(), pid: String(process.pid) },
    });
  } catch (error) {
    if (options.interrupted.aborted) return 128 + constants.signals[options.interrupted.reason as NodeJS.Signals];
    if (error instanceof LockdError && (error.code === 'LOCKD_BUSY' || error.code === 'LOCKD_WAIT_TIMEOUT')) {
      process.stderr.write(`lockd: ${error.message}\n`);
      return options.conflictCode;
    }
    throw failureOf(error);
  }
}

/** The command while the lock is held: told when that is in doubt, killed when it is over. */
class Guarded {
  readonly #client: LockClient;
  readonly #lock: HeldLock;
  readonly #child: ChildProcess;
  #isDoubted = false;
  #isLost = false;

  constructor(client: LockClient, lock: HeldLock, [program, ...args]: readonly string[]) {
    this.#client = client;
    this.#lock = lock;
    this.#child = spawn(program as string, args, {
      stdio: 'inherit',
      // A process group of its own, so that what it starts ends with it.
      detached: true,
      env: { ...process.env, LOCKD_NAME: lock.name, LOCKD_TOKEN: String(lock.token) },
    });
  }

  /** Resolves to the exit code. */
  async ended(): Promise<number> {
    const forward = (signal: NodeJS.Signals): void => this.#kill(signal);
    for (const signal of FORWARDED) process.on(signal, forward);
    // The service gives the lock to nobody else before this: there is time to end by itself.
    const stopListening = this.#client.on('suspect', ({ remainingMs }) => {
      this.#isDoubted = true;
      const seconds = Math.max(0, Math.round(remainingMs / 100) / 10);
      process.stderr.write(
        `lockd: no node has answered for a while; the lock is safe for another ${seconds} s. Asking the command to stop.\n`,
      );
      this.#kill('SIGTERM');
    });
    const onLost = (): void => {
      this.#isLost = true;
      const { reason } = this.#lock.signal;
      process.stderr.write(
        `lockd: ${reason instanceof Error ? reason.message : 'the lock is lost'}. Killing the command.\n`,
      );
      this.#kill('SIGKILL');
    };
    if (this.#lock.signal.aborted) onLost();
    else this.#lock.signal.addEventListener('abort', onLost, { once: true });

    const [code, signal, error] = await new Promise<
      [number | null, NodeJS.Signals | null, NodeJS.ErrnoException | undefined]
    >((resolve) => {
      this.#child.on('error', (failure) => resolve([null, null, failure]));
      this.#child.on('exit', (exitCode, exitSignal) => resolve([exitCode, exitSignal, undefined]));
    });
    this.#lock.signal.removeEventListener('abort', onLost);
    stopListening();
    if (error !== undefined) {
      process.stderr.write(
        `lockd: ${this.#child.spawnfile}: ${error.code === 'ENOENT' ? 'not found' : error.message}\n`,
      );
      return error.code === 'ENOENT' ? EXIT.notFound : EXIT.notExecutable;
    }
    if (this.#isLost || (this.#isDoubted && signal === 'SIGTERM')) return EXIT.lockLost;
    return signal === null ? (code ?? EXIT.failed) : 128 + constants.signals[signal];
  }

  /** The whole group: a shell's children too. */
  #kill(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // It has just ended.
    }
  }
}

/** Seconds, as flock takes them; without, as long as it takes. */
function waitOf(given: string | undefined): number {
  if (given === undefined) return LIMITS.maxDurationMs;
  const match = /^(\d+(?:\.\d+)?)s?$/.exec(given);
  if (match === null) throw usage(`-w ${given}: give seconds, such as 10 or 0.5`);
  return Math.min(Math.ceil(Number(match[1]) * 1000), LIMITS.maxDurationMs);
}
