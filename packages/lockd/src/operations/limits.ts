/** Bounds of what operators ask for (docs/limits.md). */
export const OPERATION_LIMITS = {
  /** Requests of operators that one node has under way. */
  maxPending: 64,
  /** An operation that has not ended by then is answered as it stands. */
  timeoutMs: 15_000,
  /** How often an operation looks whether it is done, or whether there is a leader to ask. */
  stepMs: 20,
  /** A learner is promoted when it lacks no more entries than this: with more, commits would wait for it. */
  promoteLagEntries: 2000,
} as const;
