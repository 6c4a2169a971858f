import { propertySeed } from '../../scripts/property-seed.mjs';

/** A run prints its seed first: `FC_SEED=<seed>` replays it. */
export function setup(): void {
  process.stdout.write(`property tests: FC_SEED=${propertySeed()}\n`);
}
