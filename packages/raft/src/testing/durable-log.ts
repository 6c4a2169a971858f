import type { EntryRun } from '../core/entry-run.ts';
import type { HardState } from '../core/ready.ts';
import { decodeBlock } from '../node/block-codec.ts';
import type { DatabaseOperation } from '../node/disk.ts';
import { decodeHardState, decodeNamedSnapshot, firstIndexOfKey, KEYS } from '../node/log-records.ts';
import type { SimulatedDisk } from './simulated-disk.ts';

/**
 * The log that would be found on a simulated disk after a loss of power: follows every batch as it becomes durable.
 * For judging what is durable without believing the code that says so.
 */
export class DurableLog {
  readonly #disk: SimulatedDisk;
  readonly #onRun: (run: EntryRun, previousTerm: number) => void;
  /** By index; 0 where no block holds the entry. */
  #terms: number[] = [];
  /** Where blocks begin, ascending. */
  #firsts: number[] = [];
  #snapshotIndex = 0;
  #hardState: HardState | undefined;

  /** `onRun` sees every block that becomes durable, with the term of the entry before it. */
  constructor(disk: SimulatedDisk, onRun: (run: EntryRun, previousTerm: number) => void = () => undefined) {
    this.#disk = disk;
    this.#onRun = onRun;
    disk.onDurable = (operations) => {
      if (operations === undefined) this.#reread();
      else this.#take(operations);
    };
    this.#reread();
  }

  /** Everything up to here is in a snapshot. */
  get snapshotIndex(): number {
    return this.#snapshotIndex;
  }

  get hardState(): HardState | undefined {
    return this.#hardState;
  }

  get lastIndex(): number {
    return Math.max(this.#snapshotIndex, this.#terms.length - 1);
  }

  /** Of an entry in the log; undefined where none is, also where only the snapshot has it. */
  termAt(index: number): number | undefined {
    const found = this.#terms[index];
    return found === undefined || found === 0 ? undefined : found;
  }

  /** Whether the disk has this committed entry: in the log, or as part of the snapshot. */
  hasCommitted(index: number, term: number): boolean {
    return index <= this.#snapshotIndex || this.#terms[index] === term;
  }

  #reread(): void {
    this.#terms = [];
    this.#firsts = [];
    this.#snapshotIndex = 0;
    this.#hardState = undefined;
    for (const [key, value] of this.#disk.durableRecords()) this.#put(key, value);
  }

  #take(operations: readonly DatabaseOperation[]): void {
    for (const operation of operations) {
      if (operation.type === 'put') this.#put(operation.key, operation.value);
      else this.#delete(operation.key);
    }
  }

  #put(key: string, value: Uint8Array): void {
    if (key === KEYS.hardState) this.#hardState = decodeHardState(value);
    else if (key === KEYS.snapshot) this.#snapshotIndex = decodeNamedSnapshot(value)?.metadata.index ?? 0;
    const first = firstIndexOfKey(key);
    if (first === undefined) return;
    const block = decodeBlock(value, first);
    if (typeof block === 'string') return;
    this.#cut(first);
    this.#firsts.push(first);
    while (this.#terms.length < first) this.#terms.push(0);
    for (let count = block.run.count; count > 0; count -= 1) this.#terms.push(block.run.term);
    this.#onRun(block.run, block.previousTerm);
  }

  #delete(key: string): void {
    const first = firstIndexOfKey(key);
    const position = first === undefined ? -1 : this.#firsts.lastIndexOf(first);
    if (position < 0) return;
    const next = this.#firsts[position + 1];
    if (next === undefined) this.#cut(first as number);
    else {
      this.#terms.fill(0, first, next);
      this.#firsts.splice(position, 1);
    }
  }

  /** Drops what stands from `index` on: the log ends where its last block does. */
  #cut(index: number): void {
    while ((this.#firsts.at(-1) ?? -1) >= index) this.#firsts.pop();
    if (this.#terms.length > index) this.#terms.length = index;
  }
}
