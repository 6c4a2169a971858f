import { connect, type HeldLock, type LockClient } from '@lockd/client';
import { monotonicNs, sleep } from '../clock.ts';

const WORKERS = 16;
/** A lock that is kept to the end, so often. */
const KEEP_EVERY_MS = 20;

/** Workers that take and release locks, and a keeper whose locks must all still be there at the end. */
export class LockLoad {
  readonly violations: string[] = [];
  readonly kept: HeldLock[] = [];
  grants = 0;
  /** Longest time between two answers to anybody, and longest that one operation took, since `lap`. */
  #longestGapNs = 0;
  #longestOperationNs = 0;
  #lastAnswerNs = monotonicNs();
  readonly #clients: readonly LockClient[];
  readonly #lastTokens = new Map<string, number>();
  readonly #holders = new Map<string, string>();
  readonly #running: Promise<unknown>;
  #isStopped = false;

  private constructor(clients: readonly LockClient[]) {
    this.#clients = clients;
    const workers = Array.from({ length: WORKERS }, (_, worker) =>
      this.#work(`w${worker}`, clients[worker % (clients.length - 1)] as LockClient, `load:${worker % 8}`),
    );
    this.#running = Promise.all([...workers, this.#keep(clients[clients.length - 1] as LockClient)]);
    this.#running.catch(() => {});
  }

  static async start(endpoints: readonly string[]): Promise<LockLoad> {
    const clients = await Promise.all(
      Array.from({ length: 5 }, () => connect({ endpoints: [...endpoints], sessionTtl: '60s' })),
    );
    return new LockLoad(clients);
  }

  /** Begins a new measurement; returns that of the last one, in milliseconds. */
  lap(): { readonly gapMs: number; readonly operationMs: number } {
    const gapNs = Math.max(this.#longestGapNs, monotonicNs() - this.#lastAnswerNs);
    const result = { gapMs: gapNs / 1e6, operationMs: this.#longestOperationNs / 1e6 };
    this.#longestGapNs = 0;
    this.#longestOperationNs = 0;
    this.#lastAnswerNs = monotonicNs();
    return result;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  /** Whatever was acknowledged must be there. Closes the clients afterwards. */
  async judge(endpoints: readonly string[]): Promise<readonly string[]> {
    const problems = [...this.violations];
    const reader = await connect({ endpoints: [...endpoints] });
    for (const lock of this.kept) {
      const { holders } = await reader.inspect(lock.name);
      const tokens = holders.map(({ token }) => token);
      if (!lock.held) problems.push(`${lock.name} (token ${lock.token}) is lost to its holder`);
      if (tokens.length !== 1 || tokens[0] !== lock.token)
        problems.push(`${lock.name} was granted with token ${lock.token}; now it has [${tokens.join()}]`);
    }
    const largest = Math.max(0, ...this.kept.map(({ token }) => token), ...this.#lastTokens.values());
    const later = await reader.acquire('operations:later');
    if (later.token <= largest) problems.push(`a token went back: ${later.token} after ${largest}`);
    await Promise.all([...this.#clients, reader].map((client) => client.close()));
    return problems;
  }

  async #work(owner: string, client: LockClient, name: string): Promise<void> {
    while (!this.#isStopped) {
      const startNs = monotonicNs();
      const lock = await client.acquire(name, { wait: '60s' });
      this.#answered(startNs);
      const holder = this.#holders.get(name);
      if (holder !== undefined) this.violations.push(`${owner} was granted ${name} while ${holder} held it`);
      if (lock.token <= (this.#lastTokens.get(name) ?? 0))
        this.violations.push(`${name} was granted with token ${lock.token} after ${this.#lastTokens.get(name)}`);
      this.#holders.set(name, owner);
      this.#lastTokens.set(name, lock.token);
      this.grants++;
      this.#holders.delete(name);
      const releaseNs = monotonicNs();
      await lock.release();
      this.#answered(releaseNs);
    }
  }

  async #keep(client: LockClient): Promise<void> {
    while (!this.#isStopped) {
      this.kept.push(await client.acquire(`kept:${this.kept.length}`, { wait: '60s' }));
      await sleep(KEEP_EVERY_MS);
    }
  }

  #answered(startNs: number): void {
    const nowNs = monotonicNs();
    this.#longestGapNs = Math.max(this.#longestGapNs, nowNs - this.#lastAnswerNs);
    this.#longestOperationNs = Math.max(this.#longestOperationNs, nowNs - startNs);
    this.#lastAnswerNs = nowNs;
  }
}
