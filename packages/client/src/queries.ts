import type { Instant } from './clock.ts';
import type { Alarm } from './deadline-heap.ts';
import { LockdError } from './errors.ts';
import { Deferred } from './operation.ts';
import type { ClientMessage } from './protocol/index.ts';
import type { Timetable } from './timetable.ts';

interface Query {
  readonly build: (id: number) => ClientMessage;
  readonly deferred: Deferred<unknown>;
  readonly bound: Alarm;
}

export interface QueriesOptions {
  /** How many may be without an answer. */
  readonly maxPending: number;
  /** How long each waits for its answer, over as many connections as that takes. */
  readonly requestTimeoutMs: number;
}

/** Requests of the connection that only read: without an answer they are asked again on the next one. */
export class Queries {
  readonly #options: QueriesOptions;
  readonly #timetable: Timetable;
  readonly #pending = new Map<number, Query>();

  constructor(options: QueriesOptions, timetable: Timetable) {
    this.#options = options;
    this.#timetable = timetable;
  }

  get isFull(): boolean {
    return this.#pending.size >= this.#options.maxPending;
  }

  /** The caller sends `build(id)` where there is a connection. `lastFailure` goes into the error of one that came too late. */
  add(id: number, build: (id: number) => ClientMessage, now: Instant, lastFailure: () => string): Promise<unknown> {
    const deferred = new Deferred<unknown>();
    const timeoutMs = this.#options.requestTimeoutMs;
    const bound = this.#timetable.alarmIn(timeoutMs, now, () => {
      this.#pending.delete(id);
      const message = `no answer within ${timeoutMs} ms: ${lastFailure()}`;
      deferred.reject(new LockdError('LOCKD_NO_QUORUM', message, { retryable: true, outcome: 'not-applied' }));
    });
    this.#pending.set(id, { build, deferred, bound });
    return deferred.promise;
  }

  /** Appends all that have no answer. */
  repeat(out: ClientMessage[]): void {
    for (const [id, query] of this.#pending) out.push(query.build(id));
  }

  answered(id: number, value: unknown): void {
    this.#take(id)?.deferred.resolve(value);
  }

  /** Whether there was one with this id. */
  failed(id: number, error: LockdError): boolean {
    const query = this.#take(id);
    query?.deferred.reject(error);
    return query !== undefined;
  }

  failAll(error: LockdError): void {
    for (const id of [...this.#pending.keys()]) this.failed(id, error);
  }

  #take(id: number): Query | undefined {
    const query = this.#pending.get(id);
    if (query === undefined) return undefined;
    this.#pending.delete(id);
    this.#timetable.waits.remove(query.bound);
    return query;
  }
}
