/**
 * Nonces of ended sessions, so that a late duplicate of an `open` never revives one. Bounded: what was dropped is covered
 * by a watermark. An `open` says which index its sender had seen before (`openedAfter`), and a session can only have ended
 * after that; so an `open` that had seen the end of the newest dropped session cannot be a duplicate of a dropped one.
 */
export class EndedNonces {
  readonly #max: number;
  /** Nonce to the index at which its session ended: ascending, because a Map keeps the order of insertion. */
  readonly #ended: Map<string, number> = new Map();
  /** Index at which the newest forgotten session ended. */
  watermark = 0;

  constructor(max: number) {
    this.#max = max;
  }

  has(nonce: string): boolean {
    return this.#ended.has(nonce);
  }

  /** Remembers, and returns what it forgot for that. */
  add(nonce: string, index: number): readonly [nonce: string, index: number] | undefined {
    this.#ended.set(nonce, index);
    if (this.#ended.size <= this.#max) return undefined;
    const oldest = this.#ended.entries().next().value as [string, number];
    this.#ended.delete(oldest[0]);
    this.watermark = oldest[1];
    return oldest;
  }

  entries(): IterableIterator<[string, number]> {
    return this.#ended.entries();
  }

  get size(): number {
    return this.#ended.size;
  }
}
