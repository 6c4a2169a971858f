import type { ClientCore } from './client-core.ts';
import { invalid, LockdError } from './errors.ts';
import type { ClientEvents } from './events.ts';
import { HeldLock } from './held-lock.ts';
import type { HoldingContext } from './holding.ts';
import type { LockRequest } from './lock-request.ts';
import {
  type AcquireLockOptions,
  checkDuration,
  checkLease,
  checkName,
  checkWait,
  DEFAULT_WAIT_MS,
  wireOptions,
} from './options.ts';
import {
  type AcquireOptions,
  canonicalName,
  type Duration,
  LIMITS,
  type NameInfo,
  type NodeStatus,
} from './protocol/index.ts';
import type { RequestResult, TryResult } from './request-spec.ts';
import { Semaphore } from './semaphore.ts';
import { shownInfo } from './shown.ts';

/** What a caller of `withLock` runs while it holds the lock. */
export type LockBody<Value> = (lock: HeldLock) => Value | PromiseLike<Value>;

export interface OnceOptions extends AcquireLockOptions {
  /** What is done once: a date, an order number. */
  readonly key: string;
  /** How long the completion is remembered. @default '24h' */
  readonly keep?: Duration;
}

export type OnceResult<Value> = { readonly ran: true; readonly value: Value } | { readonly ran: false };

const DEFAULT_KEEP_MS = 24 * 3600 * 1000;

type Extra = Pick<AcquireOptions, 'permits' | 'onceKey'>;

/**
 * A connection to a lockd cluster with one session, on which everything it holds hangs. Made by `connect`. Finds the leader,
 * survives its death, renews in the background, and repeats what got no answer without applying it twice.
 */
export class LockClient implements AsyncDisposable {
  readonly #core: ClientCore;
  readonly #holding: HoldingContext;

  /** @internal */
  constructor(core: ClientCore, holding: HoldingContext) {
    this.#core = core;
    this.#holding = holding;
  }

  /** The session's id: what `inspect` shows as holder. Changes after a loss. */
  get session(): number {
    return this.#core.session.id;
  }

  /**
   * Waits for its turn, first come, first served. Rejects with LOCKD_WAIT_TIMEOUT after `wait`, with the signal's reason when
   * cancelled, LOCKD_DEADLOCK, LOCKD_SELF_DEADLOCK, LOCKD_KIND_MISMATCH, LOCKD_LIMIT, LOCKD_SESSION_EXPIRED (try again) or LOCKD_CLOSED.
   * A cancelled wait never ends up holding the lock.
   */
  acquire(name: string, options?: AcquireLockOptions): Promise<HeldLock> {
    return this.#acquire(name, options, undefined, false) as Promise<HeldLock>;
  }

  /** Tries once, or for `wait`; a busy name is a result, not an error. Other failures reject as those of `acquire`. */
  tryAcquire(name: string, options?: AcquireLockOptions): Promise<TryResult> {
    return this.#acquire(name, options, undefined, true) as Promise<TryResult>;
  }

  /**
   * Runs `body` while holding the lock and settles as it did, after the release. Where the lock was lost before `body` had finished
   * it rejects with the `LockLost`; a failure of the release itself goes to `onReleaseError`.
   */
  withLock<Value>(name: string, body: LockBody<Value>): Promise<Value>;
  withLock<Value>(name: string, options: AcquireLockOptions, body: LockBody<Value>): Promise<Value>;
  async withLock<Value>(
    name: string,
    ...rest: readonly [LockBody<Value>] | readonly [AcquireLockOptions, LockBody<Value>]
  ): Promise<Value> {
    const [options, body] = rest.length === 1 ? [undefined, rest[0]] : rest;
    if (typeof body !== 'function') throw invalid('withLock(name, options?, body) needs a function to run');
    return this.#run(await this.acquire(name, options), body);
  }

  /** All of the names at once, under one token, or none yet: alone it cannot deadlock. */
  acquireAll(names: readonly string[], options?: AcquireLockOptions): Promise<HeldLock> {
    try {
      if (!Array.isArray(names) || names.length === 0) throw invalid('acquireAll needs a list of at least one name');
      if (names.length > LIMITS.maxNamesPerAcquire)
        throw invalid(`acquireAll takes at most ${LIMITS.maxNamesPerAcquire} names, not ${names.length}`);
      const wireNames = [...new Set(names.map(checkName))];
      return this.#submit(names[0] as string, wireNames, options, undefined, false) as Promise<HeldLock>;
    } catch (error) {
      return rejected(error);
    }
  }

  /** Permits of a semaphore with `limit` slots; the limit stands in the cluster while anything stands in the name. */
  semaphore(name: string, options: { readonly limit: number }): Semaphore {
    const { limit } = options;
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > LIMITS.maxPermits) {
      throw invalid(`the limit of a semaphore is a whole number from 1 to ${LIMITS.maxPermits}`);
    }
    const canonical = checkName(name);
    return new Semaphore(name, limit, {
      acquire: (acquireOptions) => this.#acquire(name, acquireOptions, { permits: limit }, false) as Promise<HeldLock>,
      tryAcquire: (acquireOptions) =>
        this.#acquire(name, acquireOptions, { permits: limit }, true) as Promise<TryResult>,
      run: (lock, body) => this.#run(lock, body),
      setLimit: async (newLimit) => {
        await this.#core.operate((session, seq, acked) => ['set-limit', session, seq, acked, canonical, newLimit]);
      },
    });
  }

  /**
   * Runs `body` under the lock unless it has been completed for this key. A crash before completion lets another one run it; one
   * after does not. When `body` throws, nothing is recorded.
   */
  async once<Value>(name: string, options: OnceOptions, body: LockBody<Value>): Promise<OnceResult<Value>> {
    const key = checkName(options.key);
    const keepMs = options.keep === undefined ? DEFAULT_KEEP_MS : checkDuration(options.keep, '`keep`', 1);
    const lock = (await this.#acquire(name, options, { onceKey: key }, false)) as HeldLock | undefined;
    if (lock === undefined) return { ran: false };
    const value = await this.#run(lock, async () => {
      const result = await body(lock);
      lock.assertHeld();
      await this.#core.operate((session, seq, acked) => ['complete', session, seq, acked, lock.handle, key, keepMs]);
      return result;
    });
    return { ran: true, value };
  }

  /** Who holds a name and who waits for it, linearizable. */
  async inspect(name: string): Promise<NameInfo> {
    const canonical = checkName(name);
    const value = await this.#core.query((id) => ['inspect', id, canonical]);
    return value === null || value === undefined
      ? { name, kind: 'lock', limit: null, holders: [], waiters: [], index: 0 }
      : nameInfo(value);
  }

  /** Names in use that begin with `prefix`, in order, linearizable page by page; at most `limit` (default 1000). */
  async list(prefix = '', options: { readonly limit?: number } = {}): Promise<NameInfo[]> {
    const limit = options.limit ?? LIMITS.maxRowsPerList;
    if (!Number.isSafeInteger(limit) || limit < 0) throw invalid('`limit` is a whole number');
    const canonicalPrefix = canonicalName(prefix);
    const rows: NameInfo[] = [];
    let after: string | null = null;
    while (rows.length < limit) {
      const pageLimit: number = Math.min(limit - rows.length, LIMITS.maxRowsPerList);
      const from: string | null = after;
      const page = await this.#core.query((id) => ['list', id, canonicalPrefix, pageLimit, from]);
      if (!Array.isArray(page))
        throw new LockdError('LOCKD_PROTOCOL', 'the answer to `list` is not a list', {
          retryable: false,
          outcome: 'not-applied',
        });
      for (const row of page) rows.push(nameInfo(row));
      if (page.length < pageLimit) break;
      // As it came: the place in the order is that of the canonical form.
      after = (page.at(-1) as NameInfo).name;
    }
    return rows;
  }

  /** What the node this client is connected to says about itself and the cluster. */
  async status(): Promise<NodeStatus> {
    return (await this.#core.query((id) => ['status', id])) as NodeStatus;
  }

  /** Calls `listener` on connection and session events; returns a function that removes it. */
  on<Name extends keyof ClientEvents>(event: Name, listener: (event: ClientEvents[Name]) => void): () => void {
    return this.#core.events.on(event, listener);
  }

  /**
   * Releases everything it holds (signals abort), ends the session and closes the connection. What is pending rejects with
   * LOCKD_CLOSED. Idempotent, bounded in time, never rejects: without an acknowledgement the session ends by its TTL.
   */
  close(): Promise<void> {
    return this.#core.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #acquire(
    name: string,
    options: AcquireLockOptions | undefined,
    extra: Extra | undefined,
    isTry: boolean,
  ): Promise<RequestResult> {
    try {
      return this.#submit(name, checkName(name), options, extra, isTry);
    } catch (error) {
      return rejected(error);
    }
  }

  #submit(
    name: string,
    wireNames: string | readonly string[],
    options: AcquireLockOptions | undefined,
    extra: Extra | undefined,
    isTry: boolean,
  ): Promise<RequestResult> {
    if (options === undefined && extra === undefined && this.#holding.isEmpty) {
      const waitMs = isTry ? 0 : DEFAULT_WAIT_MS;
      return this.#core.request({
        name,
        wireNames,
        waitMs,
        leaseMs: undefined,
        options: null,
        signal: undefined,
        isTry,
      });
    }
    const given = options ?? {};
    const waitMs = isTry && given.wait === undefined ? 0 : checkWait(given.wait);
    const context = this.#context(name, given.reentrant);
    return this.#core.request({
      name,
      wireNames,
      waitMs,
      leaseMs: checkLease(given.lease),
      options: wireOptions(given, extra === undefined && context === undefined ? undefined : { ...extra, ...context }),
      signal: given.signal,
      isTry,
    });
  }

  /** What the caller holds, as far as it is known, and which of that it wants to share. */
  #context(
    name: string,
    reentrant: HeldLock | true | undefined,
  ): Pick<AcquireOptions, 'holding' | 'reenter'> | undefined {
    const session = this.#core.session;
    const held = this.#holding.locks().flatMap((lock) => {
      const request = HeldLock.requestOf(lock);
      return request.session === session && lock.held ? [request] : [];
    });
    const holding = [...new Set(held.map((request) => request.handle))];
    if (reentrant === undefined) return holding.length === 0 ? undefined : { holding };
    let reenter: number[];
    if (reentrant === true) {
      if (!this.#holding.isKnown)
        throw invalid('this runtime does not tell what the caller holds: pass the lock itself as `reentrant`');
      reenter = held.filter((request: LockRequest) => request.spec.name === name).map((request) => request.handle);
    } else {
      reentrant.assertHeld();
      const request = HeldLock.requestOf(reentrant);
      if (request.session !== session) throw invalid('`reentrant` is a lock of another client');
      if (request.spec.name !== name)
        throw invalid(`\`reentrant\` holds ${JSON.stringify(request.spec.name)}, not ${JSON.stringify(name)}`);
      reenter = [request.handle];
    }
    return {
      ...(holding.length === 0 ? undefined : { holding }),
      ...(reenter.length === 0 ? undefined : { reenter: [...new Set(reenter)] }),
    };
  }

  async #run<Value>(lock: HeldLock, body: LockBody<Value>): Promise<Value> {
    let value: Value;
    try {
      value = await this.#holding.run(lock, () => body(lock));
    } catch (error) {
      await lock[Symbol.asyncDispose]();
      throw error;
    }
    // Whatever was done, it was not all done under the lock.
    const loss = HeldLock.requestOf(lock).loss(this.#core.now());
    if (loss !== undefined) throw loss;
    await lock[Symbol.asyncDispose]();
    return value;
  }
}

/** What a check has thrown, for those who await. */
function rejected(error: unknown): Promise<never> {
  if (error instanceof Error) return Promise.reject(error);
  throw error;
}

/** A row as it came, with names and metadata as users write them. */
function nameInfo(row: unknown): NameInfo {
  if (typeof row !== 'object' || row === null || typeof (row as NameInfo).name !== 'string') {
    throw new LockdError('LOCKD_PROTOCOL', 'a row has no name', { retryable: false, outcome: 'not-applied' });
  }
  return shownInfo(row as NameInfo);
}
