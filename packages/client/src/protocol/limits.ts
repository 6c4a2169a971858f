/** Bounds of protocol version 1 that both sides know (docs/limits.md). */
export const LIMITS = {
  /** One WebSocket message in either direction. */
  maxFrameBytes: 4_194_304,
  /** Name of a lock, in UTF-8 bytes of its canonical form. */
  maxNameBytes: 512,
  /** Keys and values of metadata together, in UTF-16 code units; and how many keys. */
  maxMetadataLength: 4096,
  maxMetadataKeys: 32,
  /** Names of one acquire-all. */
  maxNamesPerAcquire: 64,
  /** Sequence numbers past the acknowledged one for which answers are kept. */
  window: 1024,
  /** Session TTL, milliseconds; the server raises the lower bound to four election time-outs. */
  minTtlMs: 1000,
  maxTtlMs: 86_400_000,
  /** Waits, own leases and holds, milliseconds. */
  maxDurationMs: 604_800_000,
  /** Locks held or waited for by one session. */
  maxRequestsPerSession: 200_000,
  /** Slots of a semaphore. */
  maxPermits: 100_000,
  /** Sessions on one connection; handles of one `ask`; rows of one `list`. */
  maxSessionsPerConnection: 256,
  maxHandlesPerAsk: 1000,
  maxRowsPerList: 1000,
} as const;
