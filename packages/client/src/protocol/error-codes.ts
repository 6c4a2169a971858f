/** Every code a client can see; one heading each in docs/protocol.md. */
export const ERROR_CODES = [
  'LOCKD_BUSY',
  'LOCKD_WAIT_TIMEOUT',
  'LOCKD_LOST',
  'LOCKD_NOT_HELD',
  'LOCKD_SELF_DEADLOCK',
  'LOCKD_DEADLOCK',
  'LOCKD_CONFLICT',
  'LOCKD_KIND_MISMATCH',
  'LOCKD_LIMIT',
  'LOCKD_INVALID',
  'LOCKD_SESSION_EXPIRED',
  'LOCKD_NO_QUORUM',
  'LOCKD_OVERLOADED',
  'LOCKD_UNAUTHORIZED',
  'LOCKD_OUTCOME_UNKNOWN',
  'LOCKD_PROTOCOL',
  'LOCKD_CLOSED',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** Whether the operation an error speaks of took effect. */
export type Outcome = 'not-applied' | 'applied' | 'unknown';
