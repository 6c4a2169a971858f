const SHARDS = 256;

/**
 * What stands on names, as many small maps: a Map of a million entries stops the world for 50 ms and more whenever it
 * grows, or clears away what was deleted, and names come and go with every acquire and release.
 */
export class NameMap<Entry extends { readonly name: string }> {
  readonly #shards: Map<string, Entry>[] = [];
  #size = 0;

  constructor() {
    for (let shard = 0; shard < SHARDS; shard++) this.#shards.push(new Map());
  }

  get size(): number {
    return this.#size;
  }

  get(name: string): Entry | undefined {
    return this.#shardOf(name).get(name);
  }

  /** It stands under its own name, which is free. */
  add(entry: Entry): void {
    this.#shardOf(entry.name).set(entry.name, entry);
    this.#size++;
  }

  delete(name: string): void {
    if (this.#shardOf(name).delete(name)) this.#size--;
  }

  /** In no order that means anything. May be added to and deleted from meanwhile. */
  *values(): Generator<Entry, void, void> {
    for (const shard of this.#shards) yield* shard.values();
  }

  *keys(): Generator<string, void, void> {
    for (const shard of this.#shards) yield* shard.keys();
  }

  #shardOf(name: string): Map<string, Entry> {
    // The ends of names differ, the beginnings are prefixes. Spread, not security: each shard hashes for itself.
    let hash = name.length;
    for (let position = Math.max(0, name.length - 8); position < name.length; position++) {
      hash = (hash * 31 + name.charCodeAt(position)) | 0;
    }
    return this.#shards[(hash ^ (hash >>> 8)) & (SHARDS - 1)] as Map<string, Entry>;
  }
}
