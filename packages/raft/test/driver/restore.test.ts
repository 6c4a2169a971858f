import { expect, test } from 'vitest';
import { logIndex, term } from '../../src/core/ids.ts';
import { NO_MEMBERS } from '../../src/core/membership.ts';
import type { SnapshotCounters } from '../../src/node/driver-api.ts';
import { Registry } from '../../src/node/registry.ts';
import { restoreSnapshot } from '../../src/node/snapshot-restore.ts';
import type { StateMachine } from '../../src/node/state-machine.ts';
import type { LogStorage, SnapshotSource } from '../../src/node/storage.ts';

const TURN_MS = 5;
/** Of every piece that the state machine is given, and of every piece of what it does at the end. */
const PIECE_MS = 2;
const CONTENT_BYTES = 1_000_000;
const LAST_PIECES = 100;

test('a snapshot is restored in pieces: others have their turn whenever the time of one is used up', async () => {
  const preamble = new Registry().preamble();
  const content = Buffer.concat([preamble, new Uint8Array(CONTENT_BYTES)]);
  const source: SnapshotSource = {
    metadata: { index: logIndex(1), term: term(1), configuration: NO_MEMBERS },
    contentHash: '',
    byteLength: content.length,
    read: async (offset, length) => content.subarray(offset, offset + length),
    close: async () => undefined,
  };
  let nowMs = 0;
  let turnStartedMs = 0;
  let longestTurnMs = 0;
  let written = 0;
  let left = LAST_PIECES;
  const work = (): void => {
    nowMs += PIECE_MS;
    longestTurnMs = Math.max(longestTurnMs, nowMs - turnStartedMs);
  };
  const stateMachine: Partial<StateMachine> = {
    beginRestore: () => ({
      write: (chunk) => {
        written += chunk.length;
        work();
      },
      settle: () => {
        work();
        left -= 1;
        return left === 0;
      },
      finish: work,
    }),
  };
  const counters: SnapshotCounters = {
    made: 0,
    restored: 0,
    longestSliceMs: 0,
    longestRestoreSliceMs: 0,
    lastMs: 0,
    lastBytes: 0,
  };
  await restoreSnapshot({
    storage: { openSnapshot: async () => source } as Partial<LogStorage> as LogStorage,
    registry: new Registry(),
    stateMachine: stateMachine as StateMachine,
    turnMs: TURN_MS,
    nowMs: () => nowMs,
    nextTurn: async () => {
      turnStartedMs = nowMs;
    },
    counters,
  });
  expect(written).toBe(CONTENT_BYTES);
  expect(left).toBe(0);
  expect(counters.restored).toBe(1);
  expect(counters.longestRestoreSliceMs).toBe(PIECE_MS);
  expect(longestTurnMs).toBeLessThan(TURN_MS + PIECE_MS);
});
