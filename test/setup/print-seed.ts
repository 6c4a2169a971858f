import { propertySeed } from '../../scripts/property-seed.mjs';

/** A run prints its seed first, once for all its projects: `FC_SEED=<seed>` replays it. */
export function setup(): void {
  if (process.env['FC_SEED_PRINTED'] !== undefined) return;
  process.env['FC_SEED_PRINTED'] = '1';
  process.stdout.write(`property tests: FC_SEED=${propertySeed()}\n`);
}
