import { seededRandom } from '@lockd/raft/testing';

/**
 * A source of whole numbers for one concern of a simulation. One master seed is split by name, so that a fault which
 * draws more numbers does not reshuffle the network or the workload. Integers only: the same on every machine.
 */
export class Chance {
  /** Uniform in [0, bound). */
  readonly below: (bound: number) => number;

  private constructor(seed: number) {
    this.below = seededRandom(seed);
  }

  static of(seed: number, concern: string): Chance {
    // Both halves of the seed count: seeds above 2^32 must not repeat those below.
    let hash = Math.imul((seed >>> 0) ^ 0x9e3779b9, 0x85ebca6b) ^ Math.floor(seed / 0x1_0000_0000);
    for (let at = 0; at < concern.length; at += 1) {
      hash = Math.imul(hash ^ concern.charCodeAt(at), 0x01000193);
      hash ^= hash >>> 15;
    }
    return new Chance(Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35) >>> 0);
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
