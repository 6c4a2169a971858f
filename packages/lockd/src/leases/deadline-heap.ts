/** What a heap orders. */
export interface Timed {
  readonly dueMs: number;
}

/** Binary min-heap by `dueMs`: O(log n) to add and to take the first. Entries are removed lazily, by `retain`. */
export class DeadlineHeap<Entry extends Timed> {
  #entries: Entry[] = [];

  get size(): number {
    return this.#entries.length;
  }

  get first(): Entry | undefined {
    return this.#entries[0];
  }

  add(entry: Entry): void {
    this.#entries.push(entry);
    this.#up(this.#entries.length - 1);
  }

  takeFirst(): Entry | undefined {
    const entries = this.#entries;
    const first = entries[0];
    const last = entries.pop();
    if (first === undefined || last === undefined) return undefined;
    if (entries.length > 0) {
      entries[0] = last;
      this.#down(0);
    }
    return first;
  }

  /** Drops what is not kept, in O(n). */
  retain(isKept: (entry: Entry) => boolean): void {
    this.#entries = this.#entries.filter(isKept);
    for (let position = (this.#entries.length >> 1) - 1; position >= 0; position--) this.#down(position);
  }

  clear(): void {
    this.#entries = [];
  }

  #up(from: number): void {
    const entries = this.#entries;
    const entry = entries[from] as Entry;
    let position = from;
    while (position > 0) {
      const above = (position - 1) >> 1;
      const parent = entries[above] as Entry;
      if (parent.dueMs <= entry.dueMs) break;
      entries[position] = parent;
      position = above;
    }
    entries[position] = entry;
  }

  #down(from: number): void {
    const entries = this.#entries;
    const entry = entries[from] as Entry;
    let position = from;
    for (;;) {
      let below = 2 * position + 1;
      if (below >= entries.length) break;
      if (below + 1 < entries.length && (entries[below + 1] as Entry).dueMs < (entries[below] as Entry).dueMs) below++;
      const child = entries[below] as Entry;
      if (child.dueMs >= entry.dueMs) break;
      entries[position] = child;
      position = below;
    }
    entries[position] = entry;
  }
}
