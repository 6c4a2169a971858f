/** Bounds of a link between two nodes (docs/limits.md). */
export const PEER_LIMITS = {
  /** One WebSocket message. Larger than any single entry, snapshot chunk or append message. */
  maxFrameBytes: 16_777_216,
  /** Bulk (entries, snapshots, forwarded commands) handed to a socket and not yet taken by the kernel. */
  bulkWindowBytes: 1_048_576,
  /** Bulk waiting for that window; what comes on top is dropped and the peer reported unreachable. */
  maxQueuedBulkBytes: 16_777_216,
  /** Votes, heartbeats and answers handed to a socket and not yet taken; beyond it the link is cut. */
  maxBufferedBytes: 33_554_432,
  handshakeTimeoutMs: 2000,
  /** An immediate re-dial that takes longer counts as failed: evidence that the peer is gone. */
  evidenceTimeoutMs: 250,
  minRedialDelayMs: 20,
  maxRedialDelayMs: 500,
  /** After a refusal there is no hurry. */
  refusedRedialDelayMs: 2000,
  /** Nothing sent for so long: a ping. Nothing received for so long: the link is cut and dialled again. */
  pingAfterMs: 1000,
  silentAfterMs: 5000,
  /** Entries in one run, and items in one frame, as a guard against nonsense. */
  maxEntriesPerRun: 1_048_576,
  maxItemsPerFrame: 65_536,
} as const;
