import type { SnapshotCounters } from './driver-api.ts';
import type { Registry } from './registry.ts';
import { SNAPSHOT_CHUNK_BYTES } from './snapshot-sender.ts';
import type { StateMachine } from './state-machine.ts';
import type { LogStorage } from './storage.ts';
import { StorageError } from './storage-error.ts';

/** So many bytes go to the state machine between two looks at the clock. */
const RESTORE_PIECE_BYTES = 8 * 1024;

/** Puts registry and state machine into the state of the stored snapshot. Resolves to its size, 0 without one. */
export async function restoreSnapshot(parts: {
  readonly storage: LogStorage;
  readonly registry: Registry;
  readonly stateMachine: StateMachine;
  /** After so many milliseconds others get a turn. */
  readonly turnMs: number;
  readonly nowMs: () => number;
  readonly nextTurn: () => Promise<void>;
  readonly counters: SnapshotCounters;
}): Promise<number> {
  const { storage, registry, stateMachine, turnMs, nowMs, nextTurn, counters } = parts;
  const source = await storage.openSnapshot();
  if (source === undefined) return 0;
  let turnStartedMs = nowMs();
  // A follower that installs one goes on hearing its leader meanwhile.
  const inTurn = async <Result>(piece: () => Result): Promise<Result> => {
    if (nowMs() - turnStartedMs >= turnMs) {
      await nextTurn();
      turnStartedMs = nowMs();
    }
    const startedMs = nowMs();
    const result = piece();
    counters.longestRestoreSliceMs = Math.max(counters.longestRestoreSliceMs, nowMs() - startedMs);
    return result;
  };
  try {
    let offset = await registry.restore((at, length) => source.read(at, length));
    const writer = stateMachine.beginRestore();
    while (offset < source.byteLength) {
      const chunk = await source.read(offset, SNAPSHOT_CHUNK_BYTES);
      if (chunk.length === 0) throw new StorageError('STORAGE_DAMAGED', 'the snapshot is cut short');
      for (let from = 0; from < chunk.length; from += RESTORE_PIECE_BYTES)
        await inTurn(() => writer.write(chunk.subarray(from, from + RESTORE_PIECE_BYTES)));
      offset += chunk.length;
    }
    while (writer.settle !== undefined && !(await inTurn(() => writer.settle?.() ?? true)));
    await inTurn(() => writer.finish());
    counters.restored += 1;
    return source.byteLength;
  } finally {
    await source.close();
  }
}
