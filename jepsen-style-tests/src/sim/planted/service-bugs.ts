import type { PlantedBug } from './planted-bug.ts';

const SESSIONS = 'lockd/dist/lock-table/session-commands';
const LEASES = 'lockd/dist/leases/lease-manager';
const LEASE_DRIVER = 'lockd/dist/node/lease-driver';

/** Mistakes above Raft: in the lock table, the leases, the gateway and the SDK. */
export const SERVICE_BUGS: readonly PlantedBug[] = [
  {
    name: 'deposed-leader-ends-sessions',
    row: 34,
    what: 'a leader that was paused goes on counting, and hands the ends that it finds to its successor',
    edits: [
      {
        module: LEASE_DRIVER,
        find: 'if (readyTerm === undefined) leases.lostLeadership(); else',
        replace: 'if (readyTerm !== undefined)',
      },
      {
        module: 'lockd/dist/node/node-service',
        find: 'propose: (bytes, start, ends) => driver.propose(bytes, start, ends),',
        replace: `propose: (bytes, start, ends) => {
          const { leader } = driver.status();
          if (leader === undefined || leader === configuration.name) return driver.propose(bytes, start, ends);
          transport.sendApp(leader, { type: 'forward', batch: 0, start, ends, bytes });
          return { type: 'accepted' };
        },`,
      },
      { module: SESSIONS, find: 'term !== state.term || session.attachment', replace: 'session.attachment' },
    ],
    world: 'service',
    seed: 1,
  },
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
    world: 'service',
    seed: 1,
  },
  {
    name: 'renewed-before-term-start',
    row: undefined,
    what: 'a new leader acknowledges renewals, and the reads that share their rounds, before it has applied the first entry of its term',
    edits: [
      {
        module: LEASE_DRIVER,
        find: "const readyTerm = status.role === 'leader' && status.isReady ? status.term : undefined;",
        replace: "const readyTerm = status.role === 'leader' ? status.term : undefined;",
      },
      {
        module: 'raft/dist/core/read-index',
        find: 'this.#index = commitIndex > termStartIndex ? commitIndex : termStartIndex;',
        replace: 'this.#index = commitIndex;',
      },
      {
        module: 'raft/dist/core/roles/leader',
        find: 'return this.#state.commitIndex >= this.#termStartIndex ? this.#state.reads.take() : undefined;',
        replace: 'return this.#state.reads.take();',
      },
      {
        module: 'raft/dist/node/driver',
        find: 'if (!status.isReady) return; let confirmed;',
        replace: 'let confirmed;',
      },
    ],
    world: 'service',
    seed: 25,
  },
  {
    name: 'renewal-not-held-back',
    row: undefined,
    what: 'a renewal is acknowledged although the end of its session has been proposed',
    edits: [
      {
        module: LEASES,
        find: 'if (lease.isEndProposed) { lease.heldBack ??= [];',
        replace: 'if (lease.session < 0) { lease.heldBack ??= [];',
      },
      {
        module: LEASES,
        find: 'if (!lease.isEndProposed) return true;',
        replace: 'if (lease.session > 0) return true;',
      },
    ],
    world: 'service',
    seed: 27,
  },
  {
    name: 'late-open-revives',
    row: undefined,
    what: 'an open that comes again after its session has ended opens it once more',
    edits: [
      {
        module: SESSIONS,
        find: 'if (state.endedNonces.has(nonce) || openedAfter < state.endedNonces.watermark)',
        replace: 'if (openedAfter < 0)',
      },
    ],
    world: 'service',
    seed: 1,
  },
  {
    name: 'no-tombstone',
    row: undefined,
    what: 'a cancel that overtakes its acquire leaves nothing behind for it to find',
    edits: [
      {
        module: 'lockd/dist/lock-table/operations',
        find: "session.answers.set(handle, endedAnswer('cancelled'));",
        replace: '',
      },
    ],
    world: 'service',
    seed: 1,
  },
  {
    name: 'replicas-name-differently',
    row: undefined,
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
    world: 'service',
    seed: 1,
  },
  {
    name: 'token-reused-in-block',
    row: undefined,
    what: 'the entries of one block are applied under one index, so their grants share a token',
    edits: [
      {
        module: 'lockd/dist/node/lock-state-machine',
        find: 'this.#table.applyEntry(bytes, index, term, this.#sink, start + 1, end);',
        replace: 'this.#table.applyEntry(bytes, firstIndex, term, this.#sink, start + 1, end);',
      },
    ],
    world: 'service',
    seed: 1,
  },
  {
    name: 'held-cached',
    row: undefined,
    what: 'the SDK remembers that a lock is held until its signal says otherwise',
    edits: [
      {
        module: 'client/dist/held-lock',
        find: 'return this.#request.isHeld(this.#request.host.now());',
        replace: `this.wasHeld ??= this.#request.isHeld(this.#request.host.now());
        return this.wasHeld && !this.#request.isReleased && this.#request.lossReason === undefined;`,
      },
    ],
    world: 'service',
    seed: 6,
  },
];
