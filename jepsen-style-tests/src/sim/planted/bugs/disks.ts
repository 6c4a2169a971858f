import type { PlantedBug } from '../planted-bug.ts';

const LOG_STORE = 'raft/dist/node/log-store';
const BLOCK_LIST = 'raft/dist/node/block-list';

/** What is on disk when it is said to be, and what a damaged disk may still say. */
export const DISKS_BUGS: readonly PlantedBug[] = [
  {
    name: 'term-written-after-log',
    row: 23,
    what: 'term and vote are written after the entries, and nobody waits for them',
    edits: [
      {
        module: LOG_STORE,
        find: "operations.push({ type: 'put', key: KEYS.hardState, value: encodeHardState(duty.hardState) });",
        replace:
          "setLater = () => database.batch([{ type: 'put', key: KEYS.hardState, value: encodeHardState(duty.hardState) }], { sync: true });",
      },
      {
        module: LOG_STORE,
        find: 'const [first] = duty.runs;',
        replace: 'let setLater; const [first] = duty.runs;',
      },
      {
        module: LOG_STORE,
        find: 'if (operations.length === 0) return; await database.batch(operations, { sync: true });',
        replace: 'if (operations.length > 0) await database.batch(operations, { sync: true }); setLater?.();',
      },
    ],
    shownBy: { world: 'raft', seed: 1 },
  },
  {
    name: 'acknowledged-before-sync',
    row: 39,
    what: 'a write is acknowledged before it is synced',
    edits: [
      {
        module: LOG_STORE,
        find: 'await database.batch(operations, { sync: true }); const { lastIndex, lastTerm } = list;',
        replace: 'await database.batch(operations, { sync: false }); const { lastIndex, lastTerm } = list;',
      },
    ],
    shownBy: { world: 'raft', seed: 1 },
  },
  {
    name: 'failed-sync-ignored',
    row: 40,
    what: 'a sync that failed is taken for one that did its work',
    edits: [
      {
        module: LOG_STORE,
        find: 'await database.batch(operations, { sync: true }); const { lastIndex, lastTerm } = list;',
        replace:
          'await database.batch(operations, { sync: true }).catch(() => undefined); const { lastIndex, lastTerm } = list;',
      },
    ],
    shownBy: { world: 'raft', seed: 5 },
  },
  {
    name: 'bit-rot-unnoticed',
    row: 42,
    what: 'checksums of blocks are not looked at',
    edits: [
      {
        module: 'raft/dist/node/block-codec',
        find: 'if (!equalBytes(digest, bytes.subarray(body.length)))',
        replace: 'if (bytes.length < 0)',
      },
      {
        module: BLOCK_LIST,
        find: 'if (block.previousTerm !== previous.run.term || !equalBytes(block.previousDigest, previous.digest))',
        replace: 'if (block.previousTerm !== previous.run.term)',
      },
    ],
    shownBy: { world: 'raft', seed: 5 },
  },
  {
    name: 'blocks-left-above-truncation',
    what: 'a block that replaces others leaves their keys above it',
    edits: [
      {
        module: BLOCK_LIST,
        find: "if (dropped > first.firstIndex) operations.push({ type: 'del', key: blockKey(dropped) });",
        replace: '',
      },
    ],
    shownBy: { world: 'raft', seed: 3 },
  },
  {
    name: 'older-copy-unnoticed',
    row: 24,
    what: 'a data directory that was rolled back to an older copy is let in',
    edits: [
      {
        module: 'raft/dist/node/peer-identities',
        find: 'if (seen !== undefined && seen.incarnation > incarnation)',
        replace: 'if (incarnation < 0)',
      },
      {
        module: 'raft/dist/node/peer-identities',
        find: 'if (seen !== undefined && isOfAnotherCopy(seen, identity))',
        replace: 'if (incarnation < 0)',
      },
    ],
    shownBy: { world: 'raft', seed: 4, faults: ['rolled-back directory', 'kill of the leader'] },
  },
];
