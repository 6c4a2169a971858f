import { execFileSync } from 'node:child_process';

let chosen;

/**
 * The seed of all property tests in this run: FC_SEED, or in a development run a random one.
 * CI refuses to run without an explicit seed, so that every failure there can be replayed.
 */
export function propertySeed() {
  if (chosen !== undefined) return chosen;
  const given = process.env.FC_SEED;
  if (given !== undefined && given !== '') {
    const seed = Number(given);
    if (!Number.isInteger(seed) || seed !== (seed | 0)) throw new Error(`FC_SEED is not a 32-bit integer: ${given}`);
    chosen = seed;
  } else {
    if (process.env.CI)
      throw new Error('CI needs an explicit seed: set FC_SEED, or run `npm test`, which takes it from the commit');
    chosen = (Math.random() * 0x1_0000_0000) | 0;
    // The same seed for whatever process of this run asks next.
    process.env.FC_SEED = String(chosen);
  }
  return chosen;
}

/** A seed from the commit: each commit explores new cases, and its hash alone replays them. `undefined` outside a repository. */
export function seedFromCommit() {
  try {
    const hash = execFileSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return Number.parseInt(hash.slice(0, 8), 16) | 0;
  } catch {
    return undefined;
  }
}
