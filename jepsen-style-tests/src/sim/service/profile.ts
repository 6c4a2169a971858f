import type { CalmParts } from '../world/calm.ts';
import type { Chance } from '../world/chance.ts';
import type { StreamShape } from './internet.ts';

/** What a seed makes of the cluster, its clients and their surroundings. */
export interface ServiceProfile {
  readonly nodes: number;
  /** Nodes that are not members at first. */
  readonly spares: number;
  readonly electionTimeoutMs: number;
  readonly heartbeatMs: number;
  readonly snapshotMinBytes: number;
  readonly maxBlockBytes: number;
  readonly maxAppendBytes: number;
  readonly syncMinUs: number;
  readonly syncMaxUs: number;
  /** Clocks run fast or slow by at most this much: two of them never differ by the drift bound of the design. */
  readonly driftPpm: number;
  readonly streams: StreamShape;
  readonly faultEveryUs: number;
  readonly ambushPerMille: number;
  readonly faults: ReadonlySet<string>;
  readonly clients: number;
  /** Lanes of each client at once. */
  readonly lanesPerClient: number;
  readonly ttlMs: number;
}

export function drawServiceProfile(
  chance: Chance,
  faultNames: readonly string[],
  nodes: number | undefined,
): ServiceProfile {
  const electionTimeoutMs = chance.pick([250, 500, 500]);
  const isCalm = chance.oneIn(12);
  // Swarm testing: what is missing from a run matters as much as what is in it.
  const share = chance.pick([250, 500, 750, 1000]);
  return {
    nodes: nodes ?? chance.pick([3, 3, 3, 3, 3, 4, 5, 5, 7]),
    spares: chance.pick([0, 0, 1]),
    electionTimeoutMs,
    heartbeatMs: Math.floor(electionTimeoutMs / 5),
    snapshotMinBytes: chance.pick([4_000, 20_000, 1_000_000]),
    maxBlockBytes: chance.pick([2_000, 1_048_576]),
    maxAppendBytes: chance.pick([2_000, 262_144]),
    syncMinUs: 100,
    syncMaxUs: chance.pick([500, 2_000, 5_000]),
    driftPpm: chance.pick([0, 100, 4_000]),
    streams: {
      minDelayUs: chance.pick([50, 300]),
      maxDelayUs: chance.pick([400, 1_000, 5_000, 20_000]),
      retransmitPerMille: chance.pick([0, 0, 1, 5]),
      extraDelayUs: 0,
    },
    faultEveryUs: isCalm ? 15_000_000 : chance.pick([500_000, 1_000_000, 2_000_000, 4_000_000]),
    ambushPerMille: isCalm ? 0 : chance.pick([0, 30, 100]),
    faults: new Set(faultNames.filter(() => chance.perMille(share))),
    clients: chance.between(3, 5),
    lanesPerClient: chance.between(2, 3),
    ttlMs: 4 * electionTimeoutMs * chance.pick([1, 1, 1, 2]),
  };
}

/** Parts of the surroundings that a run can do without, and what is left of the profile then. */
export const SERVICE_CALM: CalmParts<ServiceProfile> = {
  loss: ({ streams }) => ({ streams: { ...streams, retransmitPerMille: 0 } }),
  delay: ({ streams }) => ({ streams: { ...streams, minDelayUs: 300, maxDelayUs: 300 } }),
  syncs: ({ syncMinUs }) => ({ syncMaxUs: syncMinUs }),
  drift: () => ({ driftPpm: 0 }),
  snapshots: () => ({ snapshotMinBytes: 1_000_000 }),
  spares: () => ({ spares: 0 }),
  lanes: () => ({ lanesPerClient: 1 }),
};
