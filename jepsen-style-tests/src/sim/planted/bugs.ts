import { DISKS_BUGS } from './bugs/disks.ts';
import { ELECTIONS_BUGS } from './bugs/elections.ts';
import { LEASES_BUGS } from './bugs/leases.ts';
import { LOCK_TABLE_BUGS } from './bugs/lock-table.ts';
import { READS_BUGS } from './bugs/reads.ts';
import { REPLICATION_BUGS } from './bugs/replication.ts';
import { SDK_BUGS } from './bugs/sdk.ts';
import { SNAPSHOTS_BUGS } from './bugs/snapshots.ts';
import type { PlantedBug } from './planted-bug.ts';

/** Mistakes that others have made, put into the shipped code: from the log outwards to the client. */
export const PLANTED_BUGS: readonly PlantedBug[] = [
  ...ELECTIONS_BUGS,
  ...REPLICATION_BUGS,
  ...READS_BUGS,
  ...DISKS_BUGS,
  ...SNAPSHOTS_BUGS,
  ...LOCK_TABLE_BUGS,
  ...LEASES_BUGS,
  ...SDK_BUGS,
];

export function bugNamed(name: string | undefined): PlantedBug | undefined {
  return PLANTED_BUGS.find((bug) => bug.name === name);
}
