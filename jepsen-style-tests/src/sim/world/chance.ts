import { seededRandom } from '@lockd/raft/testing';

/**
 * A source of whole numbers for one concern of a simulation. One master seed is split by name, so that a fault which
 * draws more numbers does not reshuffle the network or the workload. Integers only: the same on every machine.
 */
export class Chance {
  /** Uniform in [0, bound). */
  readonly below: (bound: number) => number;
  readonly #seed: number;

  private constructor(seed: number) {
    this.#seed = seed;
    this.below = seededRandom(seed);
  }

  static of(seed: number, concern: string): Chance {
    // Both halves of the seed count: seeds above 2^32 must not repeat those below.
    return new Chance(
      mix(Math.imul((seed >>> 0) ^ 0x9e3779b9, 0x85ebca6b) ^ Math.floor(seed / 0x1_0000_0000), concern),
    );
  }

  /**
   * A source of its own for a part of this concern: one node, one strike. Nothing is drawn from this one, so what one
   * part draws, and whether it is there at all, changes nothing for the others.
   */
  split(part: string): Chance {
    return new Chance(mix(Math.imul(this.#seed ^ 0x9e3779b9, 0x85ebca6b), part));
  }

  /** Both ends are possible. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  perMille(share: number): boolean {
    return this.below(1000) < share;
  }

  oneIn(count: number): boolean {
    return this.below(count) === 0;
  }

  /** One of `items`, which must not be empty. */
  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)] as Item;
  }

  /** So many of them, in random order. */
  sample<Item>(items: readonly Item[], count: number): Item[] {
    const left = [...items];
    const taken: Item[] = [];
    while (taken.length < count && left.length > 0) taken.push(...left.splice(this.below(left.length), 1));
    return taken;
  }
}

function mix(start: number, name: string): number {
  let hash = start;
  for (let at = 0; at < name.length; at += 1) {
    hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
    hash ^= hash >>> 15;
  }
  return Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35) >>> 0;
}
