import type { Edit } from '../sim/planted/edit.ts';

/** A mistake put into the shipped code of real nodes while they load it: the harness must see it. */
export interface PlantedInNodes {
  readonly name: string;
  readonly what: string;
  readonly edits: readonly Edit[];
  /** The verdict that fails. */
  readonly check: string;
  /** What the run needs to see it. */
  readonly faults: readonly string[];
  readonly seconds: number;
}

const NAME_RECORD = 'lockd/dist/lock-table/name-record';
const SESSION_COMMANDS = 'lockd/dist/lock-table/session-commands';
const GRANTS = 'lockd/dist/lock-table/grants';
const LEASES = 'lockd/dist/leases/lease-manager';

export const PLANTED_IN_NODES: readonly PlantedInNodes[] = [
  {
    name: 'last-come-first-served',
    what: 'a waiter goes to the front of the queue',
    edits: [
      {
        module: NAME_RECORD,
        find: 'else if (request.order < 0 && queue.head !== undefined)',
        replace: 'else if (queue.head !== undefined)',
      },
    ],
    check: 'first come, first served',
    faults: ['none'],
    seconds: 10,
  },
  {
    name: 'lease-cut-short',
    what: 'the leader counts half of the TTL',
    edits: [
      {
        module: LEASES,
        find: 'lease.heardUntilMs = Math.max(lease.heardUntilMs, this.#local(nowMs) + lease.ttlMs);',
        replace: 'lease.heardUntilMs = this.#local(nowMs) + lease.ttlMs / 2;',
      },
    ],
    check: 'told before lost',
    faults: ['isolate-client'],
    seconds: 25,
  },
  {
    name: 'repeated-applied-again',
    what: 'what is sent again after a lost answer is carried out again',
    edits: [
      {
        module: SESSION_COMMANDS,
        find: 'state.staleOperations++; repeatAnswer(state, session, seq); return undefined;',
        replace: 'return session;',
      },
    ],
    check: 'linearizability',
    faults: ['cut-acks'],
    seconds: 25,
  },
  {
    name: 'tokens-begin-again',
    what: 'tokens are counted for each name, and forgotten with it',
    edits: [
      {
        module: GRANTS,
        find: 'part.token = state.index;',
        replace: 'part.token = record.tokens = (record.tokens ?? 0) + 1;',
      },
    ],
    check: 'token monotonicity',
    faults: ['none'],
    seconds: 10,
  },
];
