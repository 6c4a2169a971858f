import type { PlantedBug } from '../planted-bug.ts';

const SESSIONS = 'lockd/dist/lock-table/session-commands';

/** What the log makes of requests. */
export const LOCK_TABLE_BUGS: readonly PlantedBug[] = [
  {
    name: 'retry-applied-twice',
    row: 37,
    what: 'a request that is sent again after a failover takes effect again',
    edits: [
      {
        module: SESSIONS,
        find: 'if (seq > answers.acked && answers.get(seq) === undefined) return session;',
        replace: 'return session;',
      },
    ],
    shownBy: { world: 'service', seed: 1 },
  },
  {
    name: 'late-open-revives',
    what: 'an open that comes again after its session has ended opens it once more',
    edits: [
      {
        module: SESSIONS,
        find: 'if (state.endedNonces.has(nonce) || openedAfter < state.endedNonces.watermark)',
        replace: 'if (openedAfter < 0)',
      },
    ],
    shownBy: { world: 'service', seed: 1 },
  },
  {
    name: 'no-tombstone',
    what: 'a cancel that overtakes its acquire leaves nothing behind for it to find',
    edits: [
      {
        module: 'lockd/dist/lock-table/operations',
        find: "session.answers.set(handle, endedAnswer('cancelled'));",
        replace: '',
      },
    ],
    shownBy: { world: 'service', seed: 1 },
  },
  {
    name: 'replicas-name-differently',
    what: 'a replica that was restored from a snapshot applies names in another form',
    edits: [
      {
        module: 'lockd/dist/lock-table/lock-table',
        find: 'const command = decodeCommand(bytes, start, end);',
        replace: `const command = decodeCommand(bytes, start, end);
        if (this.wasRestored && command !== undefined && command[0] === OP.acquire) command[5] = command[5].toUpperCase();`,
      },
      {
        module: 'lockd/dist/lock-table/lock-table',
        find: 'this.#state = state;',
        replace: 'this.#state = state; this.wasRestored = true;',
      },
    ],
    shownBy: { world: 'service', seed: 3 },
  },
  {
    name: 'token-reused-in-block',
    what: 'the entries of one block are applied under one index, so their grants share a token',
    edits: [
      {
        module: 'lockd/dist/node/lock-state-machine',
        find: 'this.#table.applyEntry(bytes, index, term, this.#sink, start + 1, end);',
        replace: 'this.#table.applyEntry(bytes, firstIndex, term, this.#sink, start + 1, end);',
      },
    ],
    shownBy: { world: 'service', seed: 1 },
  },
];
