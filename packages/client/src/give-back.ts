/**
 * What ends a wait or a grant. Each is repeated until it is acknowledged or the session is over: nobody else gives back
 * what a client holds.
 */
import type { LockdError, Refusal } from './errors.ts';
import type { LockRequest } from './lock-request.ts';
import { AwaitedOperation, isWorthRetrying, Operation } from './operation.ts';
import type { ClientMessage } from './protocol/index.ts';

/** Ends a wait. */
export class Cancellation extends Operation {
  readonly #request: LockRequest;

  constructor(request: LockRequest) {
    super();
    this.#request = request;
  }

  message(session: number, seq: number, acked: number): ClientMessage {
    return ['cancel', session, seq, acked, this.#request.handle];
  }

  succeeded(value: unknown): void {
    this.#request.cancelled(value);
  }

  refused(refusal: Refusal): 'retry' | undefined {
    if (isWorthRetrying(refusal)) return 'retry';
    // Whatever the reason, nothing may stay behind.
    this.#request.cancelled('granted');
    return undefined;
  }

  abandoned(): void {}
}

/** Gives back a grant that came too late. */
export class Discard extends Operation {
  readonly #handle: number;

  constructor(handle: number) {
    super();
    this.#handle = handle;
  }

  message(session: number, seq: number, acked: number): ClientMessage {
    return ['release', session, seq, acked, this.#handle];
  }

  succeeded(): void {}

  refused(refusal: Refusal): 'retry' | undefined {
    return isWorthRetrying(refusal) ? 'retry' : undefined;
  }

  abandoned(): void {}
}

/** The holder's own release. */
export class Release extends AwaitedOperation<void> {
  readonly #request: LockRequest;

  constructor(request: LockRequest) {
    super();
    this.#request = request;
  }

  message(session: number, seq: number, acked: number): ClientMessage {
    return ['release', session, seq, acked, this.#request.handle];
  }

  succeeded(): void {
    this.#request.released();
    this.deferred.resolve();
  }

  override refused(refusal: Refusal): 'retry' | undefined {
    if (isWorthRetrying(refusal)) return 'retry';
    this.#request.released();
    return super.refused(refusal);
  }

  override abandoned(error: LockdError): void {
    // The session was closed, which releases everything: what was asked for.
    if (error.code === 'LOCKD_CLOSED') this.deferred.resolve();
    else super.abandoned(error);
  }
}
