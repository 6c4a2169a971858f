import type { Instant } from './clock.ts';
import { type LockdError, type Refusal, refusalError } from './errors.ts';
import { type ClientMessage, type EndReason, type GrantDetail, ProtocolError } from './protocol/index.ts';

/**
 * One numbered request of a session: sent, repeated after a reconnect with the same number and content, answered once.
 * `seq` is 0 until the session gives it a number, which it does when it first sends it.
 */
export abstract class Operation {
  seq = 0;
  /** The earliest sending: whatever the operation starts on the server cannot have begun before. */
  firstSentAt: Instant | undefined;
  /** The latest sending, on the monotonic clock. */
  lastSentMs = 0;
  /** Sent more than once, so the answer may speak of something that happened long ago. */
  isRepeated = false;
  /** Gave up before it was sent: the queue skips it. */
  isWithdrawn = false;
  /** Waits in a queue of its session. */
  isQueued = false;

  /** Somebody waits for its answer, and nothing but the end of the session bounds that. */
  readonly isAwaited: boolean = false;

  /** Ends up holding something; the others change or give back what is held. */
  readonly isAcquire: boolean = false;

  abstract message(session: number, seq: number, acked: number): ClientMessage;
  abstract succeeded(value: unknown): void;
  /** Refused, without effect. `retry` asks the session to send it again later under a new number. */
  abstract refused(refusal: Refusal): 'retry' | undefined;
  /** The session is over, or the client closed, before an answer came. */
  abstract abandoned(error: LockdError): void;

  /** Answers that only an acquire has. */
  granted(_token: number, _detail: GrantDetail | null, _isImmediate: boolean, _isLeader: boolean): void {
    throw new ProtocolError('`granted` answers something that is no acquire');
  }

  isWaiting(_position: number): void {
    throw new ProtocolError('`waiting` answers something that is no acquire');
  }

  ended(_reason: EndReason): void {
    throw new ProtocolError('`ended` answers something that is no acquire');
  }
}

type Resolve<Value> = (value: Value) => void;
type Reject = (reason: unknown) => void;

// One function for all promises instead of a closure for each: the executor runs inside `new Promise`, nothing in between.
let capturedResolve: Resolve<never> | undefined;
let capturedReject: Reject | undefined;

function capture(resolve: Resolve<never>, reject: Reject): void {
  capturedResolve = resolve;
  capturedReject = reject;
}

/** A promise and what settles it. */
export class Deferred<Value> {
  readonly promise: Promise<Value>;
  readonly resolve: Resolve<Value>;
  readonly reject: Reject;

  constructor() {
    this.promise = new Promise<Value>(capture as (resolve: Resolve<Value>, reject: Reject) => void);
    this.resolve = capturedResolve as Resolve<Value>;
    this.reject = capturedReject as Reject;
  }
}

/** An operation that somebody awaits. Releases and cancels are tried again for as long as the session lives. */
export abstract class AwaitedOperation<Value> extends Operation {
  override readonly isAwaited: boolean = true;
  readonly deferred: Deferred<Value> = new Deferred<Value>();

  override refused(refusal: Refusal): 'retry' | undefined {
    this.deferred.reject(refusalError(refusal));
    return undefined;
  }

  override abandoned(error: LockdError): void {
    this.deferred.reject(error);
  }
}

/** A cluster that cannot serve now; the operation has had no effect. */
export function isWorthRetrying(refusal: Refusal): boolean {
  return refusal.retryable && (refusal.code === 'LOCKD_NO_QUORUM' || refusal.code === 'LOCKD_OVERLOADED');
}

/** An operation with nothing to keep: `close`, `complete`, `set-limit`. */
export class PlainOperation extends AwaitedOperation<unknown> {
  readonly #build: (session: number, seq: number, acked: number) => ClientMessage;

  constructor(build: (session: number, seq: number, acked: number) => ClientMessage) {
    super();
    this.#build = build;
  }

  message(session: number, seq: number, acked: number): ClientMessage {
    return this.#build(session, seq, acked);
  }

  succeeded(value: unknown): void {
    this.deferred.resolve(value);
  }

  override refused(refusal: Refusal): 'retry' | undefined {
    return isWorthRetrying(refusal) ? 'retry' : super.refused(refusal);
  }
}
