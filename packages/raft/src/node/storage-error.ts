/**
 * - `STORAGE_LOCKED`: another process uses the data directory.
 * - `STORAGE_FORMAT_NEWER`: a later version of this software wrote it.
 * - `STORAGE_FULL`: no space left on the device. What was being written may or may not be there.
 * - `STORAGE_IO`: any other failure of the device. What was being written may or may not be there.
 * - `STORAGE_DAMAGED`: something that was durable is missing or changed.
 * - `STORAGE_MISPLACED`: it is whole, and another member's.
 * - `STORAGE_CLOSED`: used after `close`, or after an earlier error.
 */
export type StorageErrorCode =
  | 'STORAGE_LOCKED'
  | 'STORAGE_FORMAT_NEWER'
  | 'STORAGE_FULL'
  | 'STORAGE_IO'
  | 'STORAGE_DAMAGED'
  | 'STORAGE_MISPLACED'
  | 'STORAGE_CLOSED';

const REMEDIES: Readonly<Record<StorageErrorCode, string>> = {
  STORAGE_LOCKED: 'Stop the other process, or give this one a data directory of its own.',
  STORAGE_FORMAT_NEWER: 'Start the version that wrote the directory, or a later one.',
  STORAGE_FULL: 'Free space on the device; the node then recovers from what is there.',
  STORAGE_IO: 'Check the device (kernel log, SMART), then start the node again: it recovers from what is there.',
  STORAGE_DAMAGED: 'Do not repair by hand. Move the directory away, and let the node join again under a new identity.',
  STORAGE_MISPLACED: 'Start the node with its own data directory.',
  STORAGE_CLOSED: 'Open the storage again.',
};

/** An operating error of a data directory. Branch on `code`; `remedy` is for people. */
export class StorageError extends Error {
  override readonly name = 'StorageError';
  readonly code: StorageErrorCode;
  readonly remedy: string;

  constructor(code: StorageErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.remedy = REMEDIES[code];
  }
}

/** True for an error that says the device is full, at any depth of its causes. */
function isOutOfSpace(error: unknown): boolean {
  for (let depth = 0, current = error; depth < 5 && current instanceof Error; depth++, current = current.cause) {
    const code = 'code' in current ? current.code : undefined;
    if (code === 'ENOSPC' || code === 'EDQUOT') return true;
    // LevelDB reports a system error only as text (strerror).
    if (/no space left on device|disk quota exceeded/i.test(current.message)) return true;
  }
  return false;
}

/** Any failure of the device as a `StorageError`; one that is already is returned as it is. */
export function toStorageError(error: unknown, what: string): StorageError {
  if (error instanceof StorageError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new StorageError(isOutOfSpace(error) ? 'STORAGE_FULL' : 'STORAGE_IO', `${what}: ${text}`, error);
}
