import { ENTRY_KIND, type EntryRun } from './entry-run.ts';
import { type LogIndex, type Term, ZERO_TERM } from './ids.ts';
import { invariant } from './invariant.ts';

/** A point in a log. Two logs that share one are equal up to it (§5.3, Log Matching). */
export interface LogPoint {
  readonly index: LogIndex;
  readonly term: Term;
}

/**
 * The log in memory: runs of entries after a base point (the compacted part ends there).
 *
 * It also knows how far it has been handed to storage and how far storage has it:
 * `baseIndex <= stableIndex <= lastIndex` and `stableIndex < unwrittenFrom <= lastIndex + 1`.
 */
export class RaftLog {
  #runs: EntryRun[] = [];
  #baseIndex: LogIndex;
  #baseTerm: Term;
  #lastIndex: LogIndex;
  #lastTerm: Term;
  #stableIndex: LogIndex;
  #unwrittenFrom: LogIndex;
  /** Where configuration entries stand, ascending. Kept so that applying never has to look for them. */
  #configurationIndexes: LogIndex[] = [];

  /** A recovered log: all of it is durable. Entries at or before the base are left out. */
  constructor(base: LogPoint, runs: readonly EntryRun[]) {
    this.#baseIndex = base.index;
    this.#baseTerm = base.term;
    this.#lastIndex = base.index;
    this.#lastTerm = base.term;
    this.#stableIndex = base.index;
    this.#unwrittenFrom = (base.index + 1) as LogIndex;
    for (const run of runs) {
      if (run.lastIndex <= base.index) continue;
      this.append(run.firstIndex > base.index ? run : run.slice((base.index + 1) as LogIndex, run.lastIndex));
    }
    this.#stableIndex = this.#lastIndex;
    this.#unwrittenFrom = (this.#lastIndex + 1) as LogIndex;
  }

  /** The point before the first entry kept. */
  get baseIndex(): LogIndex {
    return this.#baseIndex;
  }

  get lastIndex(): LogIndex {
    return this.#lastIndex;
  }

  get lastTerm(): Term {
    return this.#lastTerm;
  }

  /** Everything up to here is durable on this node. */
  get stableIndex(): LogIndex {
    return this.#stableIndex;
  }

  /** The first entry that no write contains yet. */
  get unwrittenFrom(): LogIndex {
    return this.#unwrittenFrom;
  }

  get hasUnwritten(): boolean {
    return this.#unwrittenFrom <= this.#lastIndex;
  }

  /** Undefined where the log has no entry: compacted away, or beyond the end. */
  termAt(index: LogIndex): Term | undefined {
    if (index === this.#lastIndex) return this.#lastTerm;
    if (index === this.#baseIndex) return this.#baseTerm;
    if (index < this.#baseIndex || index > this.#lastIndex) return undefined;
    return this.#runAt(this.#position(index)).term;
  }

  hasPoint(index: LogIndex, term: Term): boolean {
    return this.termAt(index) === term;
  }

  /** Whether a log that ends at the given point has at least what this one has (§5.4.1). */
  isUpToDate(index: LogIndex, term: Term): boolean {
    return term > this.#lastTerm || (term === this.#lastTerm && index >= this.#lastIndex);
  }

  /** Adds a run at the end. */
  append(run: EntryRun): void {
    invariant(run.firstIndex === this.#lastIndex + 1, `run at ${run.firstIndex} does not follow ${this.#lastIndex}`);
    invariant(run.term >= this.#lastTerm, `term ${run.term} after ${this.#lastTerm}`);
    this.#runs.push(run);
    const { bytes, ends } = run;
    let start = run.start;
    for (let position = 0; position < ends.length; position += 1) {
      if (bytes[start] === ENTRY_KIND.configuration)
        this.#configurationIndexes.push((run.firstIndex + position) as LogIndex);
      start = ends[position] as number;
    }
    this.#lastIndex = run.lastIndex;
    this.#lastTerm = run.term;
  }

  /**
   * The first entry among `runs` (in order, without gaps, none at or before the base) that this log lacks or holds
   * with another term; undefined where it has all of them.
   */
  findConflict(runs: readonly EntryRun[]): LogIndex | undefined {
    for (const run of runs) {
      let index = run.firstIndex;
      while (index <= run.lastIndex) {
        if (index > this.#lastIndex) return index;
        const own = this.#runAt(this.#position(index));
        if (own.term !== run.term) return index;
        index = (own.lastIndex + 1) as LogIndex;
      }
    }
    return undefined;
  }

  /** Drops this entry and all after it. What storage has of them no longer counts as durable. */
  truncateFrom(index: LogIndex): void {
    invariant(index > this.#baseIndex, `truncation at ${index} reaches below the base ${this.#baseIndex}`);
    if (index > this.#lastIndex) return;
    const position = this.#position(index);
    const run = this.#runAt(position);
    this.#runs.length = position;
    if (run.firstIndex < index) this.#runs.push(run.slice(run.firstIndex, (index - 1) as LogIndex));
    this.#lastIndex = (index - 1) as LogIndex;
    const last = this.#runs[this.#runs.length - 1];
    this.#lastTerm = last === undefined ? this.#baseTerm : last.term;
    while ((this.#configurationIndexes.at(-1) ?? 0) >= index) this.#configurationIndexes.pop();
    if (this.#stableIndex > this.#lastIndex) this.#stableIndex = this.#lastIndex;
    if (this.#unwrittenFrom > index) this.#unwrittenFrom = index;
  }

  /** Entries `from` to `to`, both included, sharing the buffers. Empty where `from > to`. */
  runsBetween(from: LogIndex, to: LogIndex): EntryRun[] {
    const found: EntryRun[] = [];
    if (from > to) return found;
    invariant(
      from > this.#baseIndex && to <= this.#lastIndex,
      `no entries ${from}..${to} in ${this.#baseIndex + 1}..${this.#lastIndex}`,
    );
    let index = from;
    for (let position = this.#position(from); index <= to; position += 1) {
      const run = this.#runAt(position);
      const last = run.lastIndex <= to ? run.lastIndex : to;
      found.push(run.slice(index, last));
      index = (last + 1) as LogIndex;
    }
    return found;
  }

  /** Entries from `from` on, at most `maxBytes` together but at least one. `from` is within the log. */
  runsUpToBytes(from: LogIndex, maxBytes: number): EntryRun[] {
    const found: EntryRun[] = [];
    let left = maxBytes;
    let index = from;
    for (let position = this.#position(from); position < this.#runs.length; position += 1) {
      const run = this.#runAt(position);
      const start = run.startOf(index);
      const fitting = lastEndingBy(run, index, start + left);
      if (fitting === run.lastIndex) {
        found.push(run.slice(index, fitting));
        left -= run.endOf(fitting) - start;
        index = (fitting + 1) as LogIndex;
        continue;
      }
      if (fitting >= index) found.push(run.slice(index, fitting));
      else if (found.length === 0) found.push(run.slice(index, index));
      break;
    }
    return found;
  }

  /** Size of the entries `from` to `to`, both included. */
  bytesBetween(from: LogIndex, to: LogIndex): number {
    if (from > to) return 0;
    let bytes = 0;
    let index = from;
    for (let position = this.#position(from); index <= to; position += 1) {
      const run = this.#runAt(position);
      const last = run.lastIndex <= to ? run.lastIndex : to;
      bytes += run.endOf(last) - run.startOf(index);
      index = (last + 1) as LogIndex;
    }
    return bytes;
  }

  /** One entry, kind byte included. */
  entryAt(index: LogIndex): Uint8Array {
    return this.#runAt(this.#position(index)).entry(index);
  }

  /**
   * The largest point at or before `index` whose term is at most `term`: no point between can be shared with a log
   * that has `term` at `index` (§5.3, skipping whole terms). Term 0 where it lies in the compacted part.
   */
  lastPointWithin(index: LogIndex, term: Term): LogPoint {
    const from = index < this.#lastIndex ? index : this.#lastIndex;
    if (from > this.#baseIndex) {
      for (let position = this.#position(from); position >= 0; position -= 1) {
        const run = this.#runAt(position);
        if (run.term <= term) return { index: run.lastIndex < from ? run.lastIndex : from, term: run.term };
      }
    }
    if (from >= this.#baseIndex && this.#baseTerm <= term) return { index: this.#baseIndex, term: this.#baseTerm };
    return { index: Math.max(0, Math.min(from, this.#baseIndex - 1)) as LogIndex, term: ZERO_TERM };
  }

  /** Says that everything written so far by the caller is out: the next write starts after the end. */
  markWritten(): void {
    this.#unwrittenFrom = (this.#lastIndex + 1) as LogIndex;
  }

  /**
   * A write that ended the log at this point is durable. An entry that was replaced meanwhile is told apart by its
   * term: then this says nothing, and the write that contains the replacement will.
   */
  markStable(index: LogIndex, term: Term): void {
    if (index > this.#stableIndex && index < this.#unwrittenFrom && this.hasPoint(index, term))
      this.#stableIndex = index;
  }

  /** Forgets entries up to `index`, which must be durable. */
  compactTo(index: LogIndex): void {
    if (index <= this.#baseIndex) return;
    invariant(index <= this.#stableIndex, `compaction to ${index} beyond durable ${this.#stableIndex}`);
    const position = this.#position(index);
    const run = this.#runAt(position);
    this.#baseIndex = index;
    this.#baseTerm = run.term;
    this.#runs.splice(0, run.lastIndex === index ? position + 1 : position);
    if (run.lastIndex > index) this.#runs[0] = run.slice((index + 1) as LogIndex, run.lastIndex);
    const kept = this.#configurationIndexes.findIndex((found) => found > index);
    this.#configurationIndexes.splice(0, kept === -1 ? this.#configurationIndexes.length : kept);
  }

  /** Replaces everything by a snapshot that ends at this point. It counts as durable once its installation does. */
  reset(point: LogPoint): void {
    this.#runs = [];
    this.#configurationIndexes = [];
    this.#baseIndex = point.index;
    this.#baseTerm = point.term;
    this.#lastIndex = point.index;
    this.#lastTerm = point.term;
    this.#stableIndex = point.index;
    this.#unwrittenFrom = (point.index + 1) as LogIndex;
  }

  /** The last configuration entry in `(after, upTo]`, or undefined. */
  lastConfigurationIndex(after: LogIndex, upTo: LogIndex): LogIndex | undefined {
    for (let position = this.#configurationIndexes.length - 1; position >= 0; position -= 1) {
      const index = this.#configurationIndexes[position] as LogIndex;
      if (index <= after) return undefined;
      if (index <= upTo) return index;
    }
    return undefined;
  }

  /**
   * The last configuration entry but one, or the base where there are fewer. It is committed, whoever knows: a leader
   * appends a configuration only when it has applied the one before it, and logs with the later one share the earlier.
   */
  get supersededConfigurationIndex(): LogIndex {
    return this.#configurationIndexes.at(-2) ?? this.#baseIndex;
  }

  #runAt(position: number): EntryRun {
    return this.#runs[position] as EntryRun;
  }

  /** Position of the run that holds `index`, which the log has. */
  #position(index: LogIndex): number {
    let low = 0;
    let high = this.#runs.length - 1;
    if (high >= 0 && this.#runAt(high).firstIndex <= index) return high;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#runAt(middle).firstIndex <= index) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** The last entry of `run`, from `from` on, that ends at or before `offset`; `from - 1` where none does. */
function lastEndingBy(run: EntryRun, from: LogIndex, offset: number): LogIndex {
  if (run.endOf(run.lastIndex) <= offset) return run.lastIndex;
  let low = from - 1;
  let high = run.lastIndex - 1;
  while (low < high) {
    const middle = Math.floor((low + high + 1) / 2);
    if (run.endOf(middle as LogIndex) <= offset) low = middle;
    else high = middle - 1;
  }
  return low as LogIndex;
}
