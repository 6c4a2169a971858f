/** Bounds of the gateway (docs/limits.md). Those both sides know are in the protocol's LIMITS. */
export const GATEWAY_LIMITS = {
  /** A connection that has not said hello by then is closed. */
  helloTimeoutMs: 10_000,
  maxConnections: 20_000,
  /** Answers handed to a connection's socket and not yet taken by the kernel: beyond it the connection is cut. */
  maxBufferedBytes: 16_777_216,
  /** Messages in one outgoing frame. */
  maxMessagesPerFrame: 8192,
  /** Operations of one session without an answer; the next one is refused. */
  maxUnansweredPerSession: 4096,
  /** Opens and reads of one connection without an answer, and attaches too; the next one is refused. */
  maxRequestsPerConnection: 1024,
  /** Rows shown in answer to reads in one turn; a `list` is that many, because it looks at every name. */
  maxRowsPerTurn: 1000,
  /** New acquires are refused while so much is proposed and not committed, or waits to be proposed. */
  maxUncommittedEntries: 30_000,
  overloadedBytes: 8_388_608,
  /** Commands proposed, or handed to the leader, at once; a turn that has more does it more than once. */
  maxBatchBytes: 1_048_576,
  /** How long commands wait on the leader to be proposed with others (see gathering.ts). */
  gatherMs: 4,
  /** Commands that wait for a leader or for room; beyond it sessions are told to attach again. */
  maxWaitingBytes: 67_108_864,
  /** Renewals and reads that wait for a round or a leader, on this node. */
  maxWaitingReads: 100_000,
} as const;
