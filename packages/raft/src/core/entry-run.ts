import { type LogIndex, logIndex, type Term } from './ids.ts';
import { invariant } from './invariant.ts';

/**
 * First byte of every entry's bytes. The rest belongs to whoever made the entry.
 * - `termStart`: the entry with which a leader opens its term (§8); the rest is `RaftOptions.termStartPayload`.
 * - `command`: what `propose` was given.
 * - `configuration`: an encoded `Configuration` (see configuration.ts).
 * - `registration`: the driver's own: which data directory a member's name stands for (see ../node/registry.ts).
 */
export const ENTRY_KIND = { termStart: 0, command: 1, configuration: 2, registration: 3 } as const;
export type EntryKind = (typeof ENTRY_KIND)[keyof typeof ENTRY_KIND];

/**
 * Consecutive entries of one term in one buffer: the unit in memory, in storage and on the network.
 *
 * Entry `i` (0-based) is `bytes[ends[i - 1] ?? start, ends[i])`. A slice shares the buffer. Neither the
 * buffer nor the offsets may be changed after construction; whoever passes a buffer in gives it away.
 */
export class EntryRun {
  readonly firstIndex: LogIndex;
  readonly term: Term;
  readonly bytes: Uint8Array;
  /** Offset in `bytes` at which the first entry begins. */
  readonly start: number;
  /** Offset in `bytes` at which each entry ends: ascending, at least one. */
  readonly ends: Uint32Array;

  constructor(firstIndex: LogIndex, term: Term, bytes: Uint8Array, start: number, ends: Uint32Array) {
    invariant(ends.length > 0, 'a run has at least one entry');
    this.firstIndex = firstIndex;
    this.term = term;
    this.bytes = bytes;
    this.start = start;
    this.ends = ends;
  }

  get count(): number {
    return this.ends.length;
  }

  get lastIndex(): LogIndex {
    return (this.firstIndex + this.ends.length - 1) as LogIndex;
  }

  /** Sum of the entries' sizes in bytes. */
  get byteLength(): number {
    return (this.ends[this.ends.length - 1] as number) - this.start;
  }

  /** The bytes of all entries, without copying. */
  payload(): Uint8Array {
    return this.bytes.subarray(this.start, this.ends[this.ends.length - 1]);
  }

  startOf(index: LogIndex): number {
    const position = index - this.firstIndex;
    return position === 0 ? this.start : (this.ends[position - 1] as number);
  }

  endOf(index: LogIndex): number {
    return this.ends[index - this.firstIndex] as number;
  }

  /** The bytes of one entry, kind byte included, without copying. */
  entry(index: LogIndex): Uint8Array {
    return this.bytes.subarray(this.startOf(index), this.endOf(index));
  }

  kindOf(index: LogIndex): number {
    return this.bytes[this.startOf(index)] as number;
  }

  /** Entries `from` to `to`, both inside this run and included, sharing the buffer. */
  slice(from: LogIndex, to: LogIndex): EntryRun {
    invariant(
      from >= this.firstIndex && to <= this.lastIndex && from <= to,
      `slice ${from}..${to} of ${this.firstIndex}..${this.lastIndex}`,
    );
    if (from === this.firstIndex && to === this.lastIndex) return this;
    const first = from - this.firstIndex;
    return new EntryRun(
      from,
      this.term,
      this.bytes,
      this.startOf(from),
      this.ends.subarray(first, first + (to - from) + 1),
    );
  }
}

/** Joins runs that follow each other and share a term into one with a buffer of its own. */
export function joinRuns(runs: readonly EntryRun[]): EntryRun {
  const first = runs[0];
  invariant(first !== undefined, 'nothing to join');
  if (runs.length === 1) return first;
  let byteLength = 0;
  let count = 0;
  for (const run of runs) {
    invariant(
      run.term === first.term && run.firstIndex === first.firstIndex + count,
      'runs to join follow each other in one term',
    );
    byteLength += run.byteLength;
    count += run.count;
  }
  const bytes = new Uint8Array(byteLength);
  const ends = new Uint32Array(count);
  let offset = 0;
  let position = 0;
  for (const run of runs) {
    bytes.set(run.payload(), offset);
    for (const end of run.ends) ends[position++] = end - run.start + offset;
    offset += run.byteLength;
  }
  return new EntryRun(first.firstIndex, first.term, bytes, 0, ends);
}

/** A run from separate entries (each with its kind byte): for tests and for the rare single entry. */
export function runOf(firstIndex: number, runTerm: Term, entries: readonly Uint8Array[]): EntryRun {
  let byteLength = 0;
  for (const entry of entries) byteLength += entry.length;
  const bytes = new Uint8Array(byteLength);
  const ends = new Uint32Array(entries.length);
  let offset = 0;
  entries.forEach((entry, position) => {
    bytes.set(entry, offset);
    offset += entry.length;
    ends[position] = offset;
  });
  return new EntryRun(logIndex(firstIndex), runTerm, bytes, 0, ends);
}
