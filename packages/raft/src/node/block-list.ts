import { type EntryRun, joinRuns } from '../core/entry-run.ts';
import type { LogIndex, Term } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import { type Block, cutIntoBlocks, decodeBlock, encodeBlock } from './block-codec.ts';
import { DIGEST_BYTES, equalBytes, NO_DIGEST } from './digest.ts';
import type { DatabaseOperation } from './disk.ts';
import { blockKey, firstIndexOfKey } from './log-records.ts';

/** Runs handed out by recovery are joined up to this size. */
const JOINED_RUN_BYTES = 256 * 1024;

/**
 * Which blocks the database holds, in order. A block ends where the next begins; a write at `i` deletes, in the same
 * batch, every block key above `i`. Kept as parallel arrays: about 30 bytes a block.
 */
export class BlockList {
  #firsts: number[] = [];
  #terms: number[] = [];
  #digestsHigh: number[] = [];
  #digestsLow: number[] = [];
  /** The last entry, or the snapshot's where there is none after it. */
  #lastIndex: LogIndex;
  #lastTerm: Term;

  constructor(lastIndex: LogIndex, lastTerm: Term) {
    this.#lastIndex = lastIndex;
    this.#lastTerm = lastTerm;
  }

  get lastIndex(): LogIndex {
    return this.#lastIndex;
  }

  get lastTerm(): Term {
    return this.#lastTerm;
  }

  get count(): number {
    return this.#firsts.length;
  }

  /** The term of the entry at `index`, or undefined where no block holds it. */
  termAt(index: LogIndex): Term | undefined {
    if (index > this.#lastIndex) return undefined;
    const position = this.#positionOf(index);
    return position < 0 ? undefined : (this.#terms[position] as Term);
  }

  /**
   * The operations that append `runs`, replacing everything from the first one's index on; the list changes at once.
   * `termBefore` is the term of the entry before the first.
   */
  write(runs: readonly EntryRun[], termBefore: Term, maxBlockBytes: number): DatabaseOperation[] {
    const first = runs[0];
    invariant(first !== undefined, 'a write of entries has some');
    const operations: DatabaseOperation[] = [];
    while (this.#firsts.length > 0 && (this.#firsts[this.#firsts.length - 1] as number) >= first.firstIndex) {
      const dropped = this.#firsts[this.#firsts.length - 1] as number;
      // The key at the index itself is overwritten.
      if (dropped > first.firstIndex) operations.push({ type: 'del', key: blockKey(dropped) });
      this.#pop();
    }
    let previousTerm = termBefore;
    let previousDigest = this.#lastDigest();
    for (const block of cutIntoBlocks(runs, maxBlockBytes)) {
      const head = block[0] as EntryRun;
      const { record, digest } = encodeBlock(block, previousTerm, previousDigest);
      const key = blockKey(head.firstIndex);
      // Of two operations on one key the later holds: a cut may begin where a deleted block did.
      operations.push({ type: 'put', key, value: record });
      this.#push(head.firstIndex, head.term, digest);
      previousTerm = head.term;
      previousDigest = digest;
    }
    const last = runs[runs.length - 1] as EntryRun;
    this.#lastIndex = last.lastIndex;
    this.#lastTerm = last.term;
    return operations;
  }

  /** Forgets the blocks that end at or before `index`, at most `limit`, oldest first. Their deletions, in order. */
  dropBefore(index: LogIndex, limit: number): DatabaseOperation[] {
    let dropped = 0;
    while (dropped < limit && this.#lastOf(dropped) <= index) dropped += 1;
    const operations = this.#firsts
      .slice(0, dropped)
      .map((first): DatabaseOperation => ({ type: 'del', key: blockKey(first) }));
    for (const array of [this.#firsts, this.#terms, this.#digestsHigh, this.#digestsLow]) array.splice(0, dropped);
    return operations;
  }

  /** Forgets all blocks: the log now is a snapshot that ends here. Their deletions, of which there may be very many. */
  clear(lastIndex: LogIndex, lastTerm: Term): Iterable<DatabaseOperation> {
    const firsts = this.#firsts;
    this.#firsts = [];
    this.#terms = [];
    this.#digestsHigh = [];
    this.#digestsLow = [];
    this.#lastIndex = lastIndex;
    this.#lastTerm = lastTerm;
    return deletions(firsts);
  }

  /** Adds a block that recovery has read. */
  recovered(block: Block): void {
    this.#push(block.run.firstIndex, block.run.term, block.digest);
    this.#lastIndex = block.run.lastIndex;
    this.#lastTerm = block.run.term;
  }

  #lastOf(position: number): number {
    if (position >= this.#firsts.length) return Number.POSITIVE_INFINITY;
    const next = this.#firsts[position + 1];
    return next === undefined ? this.#lastIndex : next - 1;
  }

  /** Position of the block that holds `index`, or -1. */
  #positionOf(index: number): number {
    let low = 0;
    let high = this.#firsts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#firsts[middle] as number) <= index) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #push(first: number, term: Term, digest: Uint8Array): void {
    const view = new DataView(digest.buffer, digest.byteOffset, DIGEST_BYTES);
    this.#firsts.push(first);
    this.#terms.push(term);
    this.#digestsHigh.push(view.getUint32(0));
    this.#digestsLow.push(view.getUint32(4));
  }

  #pop(): void {
    for (const array of [this.#firsts, this.#terms, this.#digestsHigh, this.#digestsLow]) array.pop();
  }

  #lastDigest(): Uint8Array {
    const position = this.#firsts.length - 1;
    if (position < 0) return NO_DIGEST;
    const digest = new Uint8Array(DIGEST_BYTES);
    const view = new DataView(digest.buffer);
    view.setUint32(0, this.#digestsHigh[position] as number);
    view.setUint32(4, this.#digestsLow[position] as number);
    return digest;
  }
}

function* deletions(firsts: readonly number[]): Generator<DatabaseOperation, void, void> {
  for (const first of firsts) yield { type: 'del', key: blockKey(first) };
}

/** What the blocks of a database add up to. */
export interface RecoveredBlocks {
  readonly list: BlockList;
  /** The entries after the snapshot. */
  readonly runs: readonly EntryRun[];
}

/** Checks records as they come, in the order of keys: each by itself, each against the one before. */
export class BlockReader {
  readonly #snapshotIndex: LogIndex;
  readonly #snapshotTerm: Term;
  readonly #blocks: Block[] = [];

  constructor(snapshotIndex: LogIndex, snapshotTerm: Term) {
    this.#snapshotIndex = snapshotIndex;
    this.#snapshotTerm = snapshotTerm;
  }

  /** In words what is wrong with the record, or undefined. */
  read(key: string, record: Uint8Array): string | undefined {
    const first = firstIndexOfKey(key);
    if (first === undefined) return `the log holds an unknown record ${JSON.stringify(key)}`;
    const block = decodeBlock(record, first);
    if (typeof block === 'string') return `the block at index ${first} ${block}`;
    const previous = this.#blocks[this.#blocks.length - 1];
    if (previous === undefined) {
      if (first > this.#snapshotIndex + 1) {
        return `the log begins at index ${first}, but what is before it ends at ${this.#snapshotIndex}`;
      }
      if (first === this.#snapshotIndex + 1 && block.previousTerm !== this.#snapshotTerm) {
        return `the log does not follow the snapshot at index ${this.#snapshotIndex}`;
      }
    } else {
      if (first > previous.run.lastIndex + 1)
        return `the log has a gap: indexes ${previous.run.lastIndex + 1} to ${first - 1} are missing`;
      if (block.previousTerm !== previous.run.term || !equalBytes(block.previousDigest, previous.digest)) {
        return `the block at index ${first} does not follow the one before it`;
      }
    }
    this.#blocks.push(block);
    return undefined;
  }

  /** Call after the last record. In words what is wrong with the whole, or the whole. */
  finish(): RecoveredBlocks | string {
    const list = new BlockList(this.#snapshotIndex, this.#snapshotTerm);
    const runs: EntryRun[] = [];
    this.#blocks.forEach((block, position) => {
      list.recovered(block);
      const next = this.#blocks[position + 1];
      const last = (next === undefined ? block.run.lastIndex : next.run.firstIndex - 1) as LogIndex;
      const from = Math.max(block.run.firstIndex, this.#snapshotIndex + 1) as LogIndex;
      if (from <= last) runs.push(block.run.slice(from, last));
    });
    if (this.#blocks.length > 0) {
      if (list.lastIndex < this.#snapshotIndex) {
        // A snapshot never covers what is not in the log, except when it replaced the log, and then there are no blocks.
        return `the log ends at index ${list.lastIndex}, before the snapshot at ${this.#snapshotIndex}`;
      }
      const termAtSnapshot = list.termAt(this.#snapshotIndex);
      if (termAtSnapshot !== undefined && termAtSnapshot !== this.#snapshotTerm) {
        return `the log and the snapshot disagree about index ${this.#snapshotIndex}`;
      }
    }
    return { list, runs: joinNeighbours(runs) };
  }
}

/** Joins small neighbours of one term: a log of single-entry blocks would otherwise be as many objects. */
function joinNeighbours(runs: readonly EntryRun[]): EntryRun[] {
  const joined: EntryRun[] = [];
  let group: EntryRun[] = [];
  let bytes = 0;
  const close = (): void => {
    if (group.length > 0) joined.push(joinRuns(group));
    group = [];
    bytes = 0;
  };
  for (const run of runs) {
    if (group[0] !== undefined && (group[0].term !== run.term || bytes + run.byteLength > JOINED_RUN_BYTES)) close();
    group.push(run);
    bytes += run.byteLength;
  }
  close();
  return joined;
}
