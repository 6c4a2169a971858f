import type { PlantedBug } from '../planted-bug.ts';
import { READS_BEFORE_TERM_START } from './reads.ts';

const LEASES = 'lockd/dist/leases/lease-manager';
const LEASE_DRIVER = 'lockd/dist/node/lease-driver';

/** Who may end what, and when. */
export const LEASES_BUGS: readonly PlantedBug[] = [
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
      {
        module: 'lockd/dist/lock-table/session-commands',
        find: 'term !== state.term || session.attachment',
        replace: 'session.attachment',
      },
    ],
    shownBy: { world: 'service', seed: 2 },
  },
  {
    name: 'renewed-before-term-start',
    what: 'a new leader acknowledges renewals, and the reads that share their rounds, before it has applied the first entry of its term',
    edits: [
      {
        module: LEASE_DRIVER,
        find: "const readyTerm = status.role === 'leader' && status.isReady ? status.term : undefined;",
        replace: "const readyTerm = status.role === 'leader' ? status.term : undefined;",
      },
      ...READS_BEFORE_TERM_START,
    ],
    shownBy: { world: 'service', seed: 61, faults: ['client behind a follower that is not heard'] },
  },
  {
    name: 'renewal-not-held-back',
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
    shownBy: { world: 'service', seed: 1, faults: ['client wakes up at the last moment'] },
  },
];
