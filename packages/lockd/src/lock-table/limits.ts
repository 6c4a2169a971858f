import { LIMITS } from '@lockd/client/protocol';

/**
 * Bounds of the replicated state. They decide what a command does, so every replica must have the same ones:
 * they are constants of the program, and a parameter of the table for tests only.
 */
export interface TableLimits {
  readonly maxSessions: number;
  readonly maxNames: number;
  readonly maxRequestsPerSession: number;
  readonly maxWaitersPerName: number;
  /** Re-entries that share one hold. */
  readonly maxReentries: number;
  /** Completion records of `once`. */
  readonly maxCompletions: number;
  /** Nonces of ended sessions that are remembered one by one. */
  readonly maxEndedNonces: number;
  /** Sequence numbers past the acknowledged one for which answers are kept. */
  readonly window: number;
  /** Grants and ends in one entry; what is left is continued by further entries. */
  readonly maxWorkPerEntry: number;
}

export const TABLE_LIMITS: TableLimits = {
  maxSessions: 1_000_000,
  maxNames: 4_000_000,
  maxRequestsPerSession: LIMITS.maxRequestsPerSession,
  maxWaitersPerName: 100_000,
  maxReentries: 1000,
  maxCompletions: 1_000_000,
  maxEndedNonces: 100_000,
  window: LIMITS.window,
  maxWorkPerEntry: 1000,
};
