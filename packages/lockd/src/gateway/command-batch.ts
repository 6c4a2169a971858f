import { ENTRY_KIND } from '@lockd/raft';

/** Who is told when a command does not get into the log. */
export interface CommandOwner {
  /** Its commands are not sent any more: the client will send them again after it has attached. */
  readonly isStale: boolean;
  /** `tag` is what `add` was given. The command is in no log. */
  notProposed(tag: number, reason: 'no-leader' | 'invalid'): void;
}

/** Commands of one turn, ready for `propose` or for the way to the leader. */
export interface TakenBatch {
  readonly bytes: Uint8Array;
  readonly ends: Uint32Array;
  /** Parallel to `ends`. Undefined: nobody waits for it. */
  readonly owners: readonly (CommandOwner | undefined)[];
  readonly tags: readonly number[];
}

/** Collects encoded commands in one buffer that is used again and again. */
export class CommandBatch {
  #bytes: Uint8Array = new Uint8Array(64 * 1024);
  #length = 0;
  #ends: number[] = [];
  #owners: (CommandOwner | undefined)[] = [];
  #tags: number[] = [];

  get count(): number {
    return this.#ends.length;
  }

  get byteLength(): number {
    return this.#length;
  }

  /** `body` is copied. */
  add(body: Uint8Array, owner: CommandOwner | undefined, tag: number): void {
    const end = this.#length + 1 + body.length;
    if (end > this.#bytes.length) this.#grow(end);
    this.#bytes[this.#length] = ENTRY_KIND.command;
    this.#bytes.set(body, this.#length + 1);
    this.#length = end;
    this.#ends.push(end);
    this.#owners.push(owner);
    this.#tags.push(tag);
  }

  /** What was collected, in buffers of its own; this one is empty again. */
  take(): TakenBatch {
    const taken = {
      bytes: this.#bytes.slice(0, this.#length),
      ends: Uint32Array.from(this.#ends),
      owners: this.#owners,
      tags: this.#tags,
    };
    this.#length = 0;
    this.#ends = [];
    this.#owners = [];
    this.#tags = [];
    return taken;
  }

  #grow(atLeast: number): void {
    const larger = new Uint8Array(Math.max(atLeast, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}

/** The same batch without the commands of stale owners; undefined where nothing is left. */
export function withoutStale(batch: TakenBatch): TakenBatch | undefined {
  if (!batch.owners.some((owner) => owner?.isStale === true)) return batch;
  const kept = new CommandBatch();
  let start = 0;
  for (let i = 0; i < batch.ends.length; i++) {
    const end = batch.ends[i] as number;
    const owner = batch.owners[i];
    if (owner?.isStale !== true) kept.add(batch.bytes.subarray(start + 1, end), owner, batch.tags[i] as number);
    start = end;
  }
  return kept.count === 0 ? undefined : kept.take();
}
