import type { CalmParts } from '../world/calm.ts';
import type { Chance } from '../world/chance.ts';
import type { NetworkShape } from '../world/network.ts';

/** What a seed makes of the cluster and its surroundings: some runs are calm in one respect and wild in another. */
export interface Profile {
  readonly nodes: number;
  /** Nodes that are not members at first. */
  readonly spares: number;
  readonly electionTimeoutMs: number;
  readonly heartbeatMs: number;
  readonly maxInflightMessages: number;
  readonly maxAppendBytes: number;
  readonly maxBlockBytes: number;
  readonly snapshotMinBytes: number;
  readonly snapshotRatio: number;
  readonly applySliceBytes: number;
  /** Of a sync, in microseconds. */
  readonly syncMinUs: number;
  readonly syncMaxUs: number;
  /** Clocks run fast or slow by at most this much. */
  readonly driftPpm: number;
  readonly network: NetworkShape;
  /** Mean time between faults, microseconds. */
  readonly faultEveryUs: number;
  /** In a thousand: that a telling moment (a vote, a new leader, a snapshot) is met with a fault of its own. */
  readonly ambushPerMille: number;
  readonly faults: ReadonlySet<string>;
  readonly clients: number;
  /** Mean time between a client's answer and its next request, microseconds. */
  readonly thinkUs: number;
  readonly commandBytes: number;
  readonly readPerMille: number;
}

/** Draws it. The number of nodes is drawn also where it is given: the rest stays what it is. */
export function drawProfile(chance: Chance, faultNames: readonly string[], nodes: number | undefined): Profile {
  const fast = chance.oneIn(3);
  const electionTimeoutMs = chance.pick([200, 500, 500, 500, 500, 1000]);
  const isCalm = chance.oneIn(12);
  // Swarm testing: what is missing from a run matters as much as what is in it.
  const share = chance.pick([250, 500, 750, 1000]);
  const network: NetworkShape = {
    minDelayUs: fast ? 50 : 300,
    maxDelayUs: fast ? 400 : Math.min(chance.pick([1_000, 3_000, 10_000, 30_000]), electionTimeoutMs * 30),
    lossPerMille: chance.pick([0, 0, 0, 5, 20]),
    duplicatePerMille: chance.pick([0, 0, 10, 50]),
    reorderPerMille: chance.pick([0, 0, 20, 100]),
    reorderUs: chance.pick([5_000, 50_000, 400_000]),
    extraDelayUs: 0,
  };
  const drawnNodes = chance.pick([3, 3, 3, 3, 4, 5, 5, 5, 6, 7]);
  return {
    nodes: nodes ?? drawnNodes,
    spares: chance.pick([0, 1, 1, 2]),
    electionTimeoutMs,
    heartbeatMs: Math.floor(electionTimeoutMs / 5),
    maxInflightMessages: chance.pick([1, 2, 8, 8]),
    maxAppendBytes: chance.pick([200, 2_000, 262_144]),
    maxBlockBytes: chance.pick([400, 4_000, 1_048_576]),
    snapshotMinBytes: chance.pick([300, 1_500, 6_000, 1_000_000]),
    snapshotRatio: chance.pick([0, 1]),
    applySliceBytes: chance.pick([100, 65_536]),
    syncMinUs: 100,
    // Timing is stable when nothing is at fault (§5.6): an election is a few writes and messages, and takes a fraction of T.
    syncMaxUs: Math.min(chance.pick([500, 2_000, 20_000]), electionTimeoutMs * 20),
    driftPpm: chance.pick([0, 100, 5_000, 200_000]),
    network,
    faultEveryUs: isCalm ? 20_000_000 : chance.pick([300_000, 800_000, 2_000_000, 4_000_000]),
    ambushPerMille: isCalm ? 0 : chance.pick([0, 20, 80, 250]),
    faults: new Set(faultNames.filter(() => chance.perMille(share))),
    clients: chance.between(2, 5),
    thinkUs: chance.pick([150_000, 300_000, 800_000]),
    commandBytes: chance.pick([8, 40, 40, 400]),
    readPerMille: chance.pick([100, 300, 500]),
  };
}

/** Parts of the surroundings that a run can do without, and what is left of the profile then. */
export const RAFT_CALM: CalmParts<Profile> = {
  loss: ({ network }) => ({ network: { ...network, lossPerMille: 0 } }),
  duplicates: ({ network }) => ({ network: { ...network, duplicatePerMille: 0 } }),
  reordering: ({ network }) => ({ network: { ...network, reorderPerMille: 0 } }),
  delay: ({ network }) => ({ network: { ...network, minDelayUs: 300, maxDelayUs: 300 } }),
  syncs: ({ syncMinUs }) => ({ syncMaxUs: syncMinUs }),
  drift: () => ({ driftPpm: 0 }),
  spares: () => ({ spares: 0 }),
  snapshots: () => ({ snapshotMinBytes: 1_000_000 }),
};
