import { invalid } from './errors.ts';
import type { HeldLock } from './held-lock.ts';
import type { AcquireLockOptions } from './options.ts';
import { LIMITS } from './protocol/index.ts';
import type { TryResult } from './request-spec.ts';

export type PermitOptions = Omit<AcquireLockOptions, 'mode' | 'reentrant'>;

/** What a semaphore needs of its client. */
export interface SemaphoreParts {
  acquire(options: PermitOptions | undefined): Promise<HeldLock>;
  tryAcquire(options: PermitOptions | undefined): Promise<TryResult>;
  run<Value>(lock: HeldLock, body: (permit: HeldLock) => Value | PromiseLike<Value>): Promise<Value>;
  setLimit(limit: number): Promise<void>;
}

/** At most `limit` permits of a name at once. A permit is a lock with a `slot`; fence per slot. */
export class Semaphore {
  readonly name: string;
  /** What this client asks for; a cluster in which the name stands with another limit refuses with LOCKD_KIND_MISMATCH. */
  readonly limit: number;
  readonly #parts: SemaphoreParts;

  /** @internal */
  constructor(name: string, limit: number, parts: SemaphoreParts) {
    this.name = name;
    this.limit = limit;
    this.#parts = parts;
  }

  /** Waits for a permit, first come, first served. Rejects as `LockClient.acquire` does. */
  acquire(options?: PermitOptions): Promise<HeldLock> {
    return this.#parts.acquire(options);
  }

  tryAcquire(options?: PermitOptions): Promise<TryResult> {
    return this.#parts.tryAcquire(options);
  }

  /** Runs `body` while holding a permit; settles as `LockClient.withLock` does. */
  async withPermit<Value>(
    body: (permit: HeldLock) => Value | PromiseLike<Value>,
    options?: PermitOptions,
  ): Promise<Value> {
    return this.#parts.run(await this.#parts.acquire(options), body);
  }

  /** Changes the limit in the cluster. Permits that are held stay; fewer slots are granted from now on. */
  setLimit(limit: number): Promise<void> {
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > LIMITS.maxPermits) {
      return Promise.reject(invalid(`the limit of a semaphore is a whole number from 1 to ${LIMITS.maxPermits}`));
    }
    return this.#parts.setLimit(limit);
  }
}
