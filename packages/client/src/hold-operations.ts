/** What a holder does with a grant it keeps. */
import type { Instant } from './clock.ts';
import type { Refusal } from './errors.ts';
import type { LockRequest } from './lock-request.ts';
import { AwaitedOperation, isWorthRetrying, Operation } from './operation.ts';
import type { ClientMessage } from './protocol/index.ts';

abstract class HoldOperation extends AwaitedOperation<void> {
  protected readonly request: LockRequest;

  constructor(request: LockRequest) {
    super();
    this.request = request;
  }

  /** Resolves, unless the lock was lost meanwhile. */
  protected settle(): void {
    const loss = this.request.loss(this.request.host.now());
    if (loss === undefined) this.deferred.resolve();
    else this.deferred.reject(loss);
  }

  override refused(refusal: Refusal): 'retry' | undefined {
    if (isWorthRetrying(refusal) && this.request.isHeld(this.request.host.now())) return 'retry';
    return super.refused(refusal);
  }
}

export class Extension extends HoldOperation {
  readonly #leaseMs: number;

  constructor(request: LockRequest, leaseMs: number) {
    super(request);
    this.#leaseMs = leaseMs;
  }

  message(session: number, seq: number, acked: number): ClientMessage {
    return ['extend', session, seq, acked, this.request.handle, this.#leaseMs];
  }

  succeeded(): void {
    this.request.extended(this.#leaseMs, this.firstSentAt as Instant, this.seq);
    this.settle();
  }
}

export class Downgrade extends HoldOperation {
  message(session: number, seq: number, acked: number): ClientMessage {
    return ['downgrade', session, seq, acked, this.request.handle];
  }

  succeeded(): void {
    this.settle();
  }
}

export class Upgrade extends HoldOperation {
  message(session: number, seq: number, acked: number): ClientMessage {
    return ['upgrade', session, seq, acked, this.request.handle];
  }

  succeeded(value: unknown): void {
    const token = (value as { readonly token?: unknown } | null)?.token;
    if (typeof token === 'number' && Number.isSafeInteger(token)) this.request.upgraded(token);
    this.settle();
  }
}

/** Restarts the own lease of a pushed grant. */
export class Confirmation extends Operation {
  readonly #request: LockRequest;
  readonly #leaseMs: number;

  constructor(request: LockRequest, leaseMs: number) {
    super();
    this.#request = request;
    this.#leaseMs = leaseMs;
  }

  message(session: number, seq: number, acked: number): ClientMessage {
    return ['extend', session, seq, acked, this.#request.handle, this.#leaseMs];
  }

  succeeded(): void {
    this.#request.confirmed(this.firstSentAt as Instant);
  }

  refused(refusal: Refusal): 'retry' | undefined {
    if (isWorthRetrying(refusal)) return 'retry';
    this.#request.notConfirmed(refusal);
    return undefined;
  }

  abandoned(): void {}
}
