import {
  type EndReason,
  type ErrorCode,
  type ErrorDetail,
  type HolderInfo,
  type Outcome,
  originalName,
} from './protocol/index.ts';
import { shownHolder } from './shown.ts';

export interface LockdErrorOptions {
  readonly retryable: boolean;
  readonly outcome: Outcome;
  readonly cause?: unknown;
  readonly detail?: ErrorDetail | null;
}

/**
 * Every failure of the SDK. Branch on `code`; the message is for people and may change.
 * docs/protocol.md has one heading per code.
 */
export class LockdError extends Error {
  readonly code: ErrorCode;
  /** The same call may succeed later. */
  readonly retryable: boolean;
  /** Whether the operation took effect. `unknown` is honest: it may have. */
  readonly outcome: Outcome;
  /** LOCKD_BUSY: who holds the name, where that is known. */
  readonly holder: HolderInfo | undefined;
  /** LOCKD_BUSY: what stands in the way. */
  readonly because: ErrorDetail['because'];
  /** Trying again sooner is pointless. */
  readonly retryAfterMs: number | undefined;
  /** LOCKD_DEADLOCK, LOCKD_SELF_DEADLOCK: the names in the cycle. */
  readonly cycle: readonly string[] | undefined;

  constructor(code: ErrorCode, message: string, options: LockdErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'LockdError';
    this.code = code;
    this.retryable = options.retryable;
    this.outcome = options.outcome;
    this.holder = options.detail?.holder && shownHolder(options.detail.holder);
    this.because = options.detail?.because;
    this.retryAfterMs = options.detail?.retryAfterMs;
    this.cycle = options.detail?.cycle?.map(originalName);
  }
}

/**
 * Why a lock is no longer held, without its holder's release.
 * - `session-expired`: no renewal was acknowledged in time. The SDK's own, earlier, deadline; the service may still keep the lock for a moment.
 * - `lease-expired`, `max-hold`: its own deadline has passed.
 * - `session-ended`: the service ended the session.
 * - `stolen`, `forced`, `revoked`: somebody took it, in so many words.
 * - `client-closed`: `client.close()`.
 */
export type LossReason =
  | 'session-expired'
  | 'client-closed'
  | Exclude<EndReason, 'wait-timeout' | 'cancelled' | 'deadlock'>;

const LOSS_TEXT: Readonly<Record<LossReason, string>> = {
  'session-expired':
    'no renewal was acknowledged in time (was this process or its network stopped for longer than the session TTL allows?)',
  'lease-expired': 'its own lease ran out: extend() it earlier, or acquire without `lease` to have it renewed',
  'max-hold': 'it was held for longer than its `maxHold`',
  'session-ended': 'the service ended the session',
  stolen: 'another client stole it',
  forced: 'an administrator released it',
  revoked: 'it was revoked',
  'client-closed': 'the client was closed',
  unknown: 'the service no longer knows the grant',
};

/** Reason of a held lock's `signal`, and what `assertHeld`, `release` and `withLock` fail with after a loss. */
export class LockLost extends LockdError {
  readonly reason: LossReason;
  readonly lockName: string;
  readonly token: number;

  constructor(reason: LossReason, lockName: string, token: number) {
    super('LOCKD_LOST', `lock ${JSON.stringify(lockName)} (token ${token}) is lost: ${LOSS_TEXT[reason] ?? reason}`, {
      retryable: false,
      outcome: 'unknown',
    });
    this.name = 'LockLost';
    this.reason = reason;
    this.lockName = lockName;
    this.token = token;
  }
}

/** What a server said about an operation or a request. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly outcome: Outcome;
  readonly retryable: boolean;
  readonly detail: ErrorDetail | null;
}

/** Worth another try by their nature, whatever node said so; a server marks what it could not do just now. */
const RETRYABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'LOCKD_BUSY',
  'LOCKD_WAIT_TIMEOUT',
  'LOCKD_DEADLOCK',
  'LOCKD_CONFLICT',
  'LOCKD_SESSION_EXPIRED',
  'LOCKD_NO_QUORUM',
  'LOCKD_OVERLOADED',
]);

export function refusalError(refusal: Refusal): LockdError {
  return new LockdError(refusal.code, refusal.message, {
    retryable: refusal.retryable || RETRYABLE.has(refusal.code),
    outcome: refusal.outcome,
    detail: refusal.detail,
  });
}

export function invalid(message: string): LockdError {
  return new LockdError('LOCKD_INVALID', message, { retryable: false, outcome: 'not-applied' });
}

export function closedError(): LockdError {
  return new LockdError('LOCKD_CLOSED', 'the client is closed', { retryable: false, outcome: 'unknown' });
}

export function unacknowledgedError(): LockdError {
  const message = 'the client was closed before an answer came; what it held is free after the TTL of its session';
  return new LockdError('LOCKD_OUTCOME_UNKNOWN', message, { retryable: false, outcome: 'unknown' });
}

export function expiredError(): LockdError {
  const message =
    'the session ended before an answer came: everything it held is lost; a new session is opened, so try again';
  return new LockdError('LOCKD_SESSION_EXPIRED', message, { retryable: true, outcome: 'unknown' });
}

/** Refused here, before anything was sent. */
export function overloadedError(message: string): LockdError {
  return new LockdError('LOCKD_OVERLOADED', message, { retryable: true, outcome: 'not-applied' });
}
