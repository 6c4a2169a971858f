/** What an acquire is asked for, and what comes of it. */
import { LockdError } from './errors.ts';
import type { HeldLock } from './held-lock.ts';
import type { AcquireOptions, EndReason, ErrorDetail, HolderInfo } from './protocol/index.ts';

/** What an acquire is asked for, validated. */
export interface RequestSpec {
  /** As the user wrote it; the first of several. */
  readonly name: string;
  /** Canonical; more than one is an acquire-all. */
  readonly wireNames: string | readonly string[];
  readonly waitMs: number;
  readonly leaseMs: number | undefined;
  readonly options: AcquireOptions | null;
  readonly signal: AbortSignal | undefined;
  /** A busy name resolves to a result instead of rejecting. */
  readonly isTry: boolean;
}

export type TryResult =
  | { readonly ok: true; readonly lock: HeldLock }
  | {
      readonly ok: false;
      /** Who holds the name, where it is known. */
      readonly holder: HolderInfo | undefined;
      /** What stands in the way: a holder, an earlier waiter, or a period in which the name stays free. */
      readonly because: ErrorDetail['because'];
      readonly retryAfterMs: number | undefined;
    };

/** What a request's promise resolves to; undefined is `once` that was already done. */
export type RequestResult = HeldLock | TryResult | undefined;

/** What a wait that the service has ended rejects with. */
export function endError(reason: EndReason, spec: RequestSpec): LockdError {
  const name = JSON.stringify(spec.name);
  switch (reason) {
    case 'wait-timeout':
      return new LockdError('LOCKD_WAIT_TIMEOUT', `${name} was not granted within ${spec.waitMs} ms`, {
        retryable: true,
        outcome: 'not-applied',
      });
    case 'deadlock':
      return new LockdError(
        'LOCKD_DEADLOCK',
        `waiting for ${name} closes a cycle of waiters: release what is held and try again`,
        { retryable: true, outcome: 'not-applied' },
      );
    // These end grants, too: it may have been granted, and seen as held, before that was heard here.
    case 'session-ended':
      return new LockdError('LOCKD_SESSION_EXPIRED', `the session ended while waiting for ${name}: try again`, {
        retryable: true,
        outcome: 'unknown',
      });
    case 'unknown':
      return new LockdError(
        'LOCKD_OUTCOME_UNKNOWN',
        `the service no longer knows what became of the request for ${name}`,
        { retryable: true, outcome: 'unknown' },
      );
    default:
      return new LockdError('LOCKD_LOST', `the request for ${name} was ended (${reason})`, {
        retryable: true,
        outcome: 'unknown',
      });
  }
}
