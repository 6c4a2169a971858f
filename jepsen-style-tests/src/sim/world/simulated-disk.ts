import { SimulatedDisk } from '@lockd/raft/testing';
import type { Chance } from './chance.ts';
import type { World } from './world.ts';

/** An empty disk in this world's time. `syncUs` says how long each sync takes, in microseconds. */
export function newDisk(world: World, chance: Chance, syncUs: () => number): SimulatedDisk {
  return new SimulatedDisk({
    random: chance.below,
    // The disk's clock counts microseconds: a sync takes less than a millisecond.
    clock: {
      nowMs: () => world.nowUs,
      after: (delayUs, callback) => {
        const scheduled = world.in(delayUs, () => {
          callback();
          world.touch();
        });
        return () => scheduled.cancel();
      },
      endOfTurn: (callback) => {
        world.in(0, callback);
      },
    },
    syncDelayMs: syncUs,
  });
}
