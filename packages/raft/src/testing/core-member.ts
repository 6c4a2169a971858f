import type { Configuration } from '../core/configuration.ts';
import { configurationEntry } from '../core/configuration-codec.ts';
import { ENTRY_KIND, type EntryRun, runOf } from '../core/entry-run.ts';
import { type LogIndex, logIndex, type NodeId, type Term, term, ZERO_INDEX, ZERO_TERM } from '../core/ids.ts';
import type { Input } from '../core/input.ts';
import type { Message, SnapshotMetadata } from '../core/message.ts';
import type { InitialState, ProposeResult, RaftOptions } from '../core/options.ts';
import { RaftNode } from '../core/raft-node.ts';
import type { ForgottenLog, HardState, PersistDuty, Ready } from '../core/ready.ts';

export interface StoredEntry {
  readonly term: Term;
  readonly bytes: Uint8Array;
}

/** What a state machine of these tests is: the entries applied, by index, from 1 on. */
export type AppliedEntries = readonly StoredEntry[];

export interface StoredSnapshot {
  readonly metadata: SnapshotMetadata;
  readonly state: AppliedEntries;
}

/** A disk that keeps what was written, and nothing else. */
export interface DurableState {
  hardState: HardState;
  /** The entry before the first one of `entries`. */
  baseIndex: number;
  entries: StoredEntry[];
  snapshot: StoredSnapshot;
}

/** A disk on which the cluster's bootstrap configuration is entry 1 of term 1. */
export function bootstrappedDisk(configuration: Configuration): DurableState {
  return { ...emptyDisk(configuration), entries: [{ term: term(1), bytes: configurationEntry(configuration) }] };
}

/** An empty disk: of a member that joins, or of a cluster whose configuration stands before its log. */
export function emptyDisk(configuration: Configuration): DurableState {
  return {
    hardState: { term: ZERO_TERM, votedFor: undefined, commitIndex: ZERO_INDEX },
    baseIndex: 0,
    entries: [],
    snapshot: { metadata: { index: ZERO_INDEX, term: ZERO_TERM, configuration }, state: [] },
  };
}

/** Makes an entry of kind `command` from ASCII text. */
export function commandOf(text: string): Uint8Array {
  return Uint8Array.from([ENTRY_KIND.command, ...Array.from(text, (character) => character.charCodeAt(0))]);
}

/** The text of a command, or a name for the other kinds. */
export function textOf(entry: Uint8Array): string {
  if (entry[0] === ENTRY_KIND.termStart) return '(term-start)';
  if (entry[0] === ENTRY_KIND.configuration) return '(configuration)';
  return String.fromCharCode(...entry.subarray(1));
}

/**
 * One node of the core with a simulated disk and state machine, and every duty in the test's hands: nothing is sent,
 * written or applied until the test says so. A driver in miniature.
 */
export class CoreMember {
  readonly id: NodeId;
  readonly disk: DurableState;
  /** Messages not yet taken by the network. */
  outbox: Message[] = [];
  /** The write or the installation that is out. */
  write: PersistDuty | undefined;
  install: SnapshotMetadata | undefined;
  /** Committed and not yet applied. */
  toApply: EntryRun[] = [];
  applied: StoredEntry[] = [];
  reads: NonNullable<Ready['reads']>[] = [];
  snapshotsToSend: { readonly to: NodeId; readonly atLeast: LogIndex }[] = [];
  forgotten: ForgottenLog | undefined;
  /** Received contents, for the installation that follows. */
  receivedSnapshot: StoredSnapshot | undefined;
  #node: RaftNode | undefined;
  readonly #options: RaftOptions;

  constructor(options: RaftOptions, disk: DurableState, nowMs: number) {
    this.id = options.id;
    this.#options = options;
    this.disk = disk;
    this.start(nowMs);
  }

  get isUp(): boolean {
    return this.#node !== undefined;
  }

  /** The running node. Throws while it is down. */
  get node(): RaftNode {
    if (this.#node === undefined) throw new Error(`${this.id} is down`);
    return this.#node;
  }

  start(nowMs: number): void {
    const { snapshot } = this.disk;
    this.applied = [...snapshot.state];
    this.#node = new RaftNode(this.#options, this.#recovered(), nowMs);
  }

  /** Loses everything that was not durable. With `isWriteKept` the write that was out had arrived unnoticed. */
  crash(isWriteKept = false): void {
    if (isWriteKept && this.write !== undefined) this.#store(this.write);
    this.#node = undefined;
    this.outbox = [];
    this.write = undefined;
    this.install = undefined;
    this.toApply = [];
    this.reads = [];
    this.snapshotsToSend = [];
    this.receivedSnapshot = undefined;
  }

  step(input: Input, nowMs: number): void {
    this.node.step(input, nowMs);
  }

  /** Each text is one command; all of them are one proposal. */
  propose(texts: readonly string[], nowMs: number, awaitedBy?: NodeId): ProposeResult {
    const run = runOf(1, term(1), texts.map(commandOf));
    return this.node.propose(run.bytes, run.start, run.ends, nowMs, awaitedBy);
  }

  /** Takes over what the node owes. True where there was something. */
  pull(): boolean {
    let isAny = false;
    for (let ready = this.#node?.takeReady(); ready !== undefined; ready = this.#node?.takeReady()) {
      isAny = true;
      this.outbox.push(...ready.messages);
      if (ready.persist !== undefined) this.write = ready.persist;
      if (ready.install !== undefined) this.install = ready.install;
      this.toApply.push(...ready.committed);
      if (ready.reads !== undefined) this.reads.push(ready.reads);
      if (ready.forgotten !== undefined) this.forgotten = ready.forgotten;
      this.snapshotsToSend.push(...ready.sendSnapshots);
    }
    return isAny;
  }

  /** The write that is out becomes durable, and the node hears of it. */
  completeWrite(nowMs: number): boolean {
    const { write } = this;
    if (write === undefined) return false;
    this.storeWrite();
    this.step({ type: 'persisted', write: write.write, term: write.term, lastIndex: write.lastIndex }, nowMs);
    return true;
  }

  /** The write becomes durable, but its acknowledgement is still on its way: the caller steps it. */
  storeWrite(): void {
    if (this.write !== undefined) this.#store(this.write);
    this.write = undefined;
  }

  /** Applies what is committed. */
  completeApply(nowMs: number): boolean {
    const runs = this.toApply;
    if (runs.length === 0) return false;
    this.toApply = [];
    let lastIndex = ZERO_INDEX;
    for (const run of runs) {
      for (let index = run.firstIndex; index <= run.lastIndex; index = (index + 1) as LogIndex) {
        this.applied[index - 1] = { term: run.term, bytes: run.entry(index) };
      }
      lastIndex = run.lastIndex;
    }
    this.step({ type: 'applied', lastIndex }, nowMs);
    return true;
  }

  completeInstall(nowMs: number): boolean {
    const { install, receivedSnapshot } = this;
    if (install === undefined || receivedSnapshot === undefined) return false;
    this.install = undefined;
    this.disk.snapshot = receivedSnapshot;
    this.disk.baseIndex = install.index;
    this.disk.entries = [];
    this.applied = [...receivedSnapshot.state];
    this.toApply = [];
    this.step({ type: 'snapshot-installed', index: install.index }, nowMs);
    return true;
  }

  /** Takes a snapshot of what is applied and drops the log up to `keep` entries before it. */
  createSnapshot(nowMs: number, keep = 0): void {
    const { appliedIndex, stableIndex, configuration } = this.node.status();
    const index = Math.min(appliedIndex, stableIndex);
    const entry = this.applied[index - 1];
    if (
      index !== appliedIndex ||
      entry === undefined ||
      this.install !== undefined ||
      index <= this.disk.snapshot.metadata.index
    )
      return;
    const metadata: SnapshotMetadata = { index: logIndex(index), term: entry.term, configuration };
    this.disk.snapshot = { metadata, state: this.applied.slice(0, index) };
    const compactTo = Math.max(this.disk.baseIndex, index - keep);
    this.disk.entries.splice(0, compactTo - this.disk.baseIndex);
    this.disk.baseIndex = compactTo;
    this.step({ type: 'snapshot-created', metadata, compactTo: logIndex(compactTo) }, nowMs);
  }

  durableEntry(index: number): StoredEntry | undefined {
    return index <= this.disk.snapshot.metadata.index
      ? this.disk.snapshot.state[index - 1]
      : this.disk.entries[index - this.disk.baseIndex - 1];
  }

  /** The log in memory as text, from its base on: one term:command for each entry. */
  logText(): string {
    const last = this.node.status().lastIndex;
    const first = logIndex(this.node.baseIndex + 1);
    const entries: string[] = [];
    for (const run of this.node.entriesBetween(first, last)) {
      for (let index = run.firstIndex; index <= run.lastIndex; index = (index + 1) as LogIndex)
        entries.push(`${run.term}:${textOf(run.entry(index))}`);
    }
    return entries.join(' ');
  }

  /** The commands applied, in order, without the entries Raft adds. */
  appliedCommands(): string[] {
    return this.applied.filter((entry) => entry.bytes[0] === ENTRY_KIND.command).map((entry) => textOf(entry.bytes));
  }

  #store(write: PersistDuty): void {
    const { disk } = this;
    if (write.hardState !== undefined) disk.hardState = write.hardState;
    const first = write.runs[0];
    if (first !== undefined) disk.entries.length = first.firstIndex - disk.baseIndex - 1;
    for (const run of write.runs) {
      for (let index = run.firstIndex; index <= run.lastIndex; index = (index + 1) as LogIndex)
        disk.entries.push({ term: run.term, bytes: run.entry(index) });
    }
  }

  #recovered(): InitialState {
    const { hardState, snapshot, baseIndex, entries } = this.disk;
    const { index, term: snapshotTerm, configuration } = snapshot.metadata;
    return {
      hardState,
      runs: runsOf(index + 1, entries.slice(index - baseIndex)),
      snapshotIndex: index,
      snapshotTerm,
      configuration,
      appliedIndex: index,
    };
  }
}

/** Entries as runs, one for each stretch of a term. */
export function runsOf(firstIndex: number, entries: readonly StoredEntry[]): EntryRun[] {
  const runs: EntryRun[] = [];
  let from = 0;
  while (from < entries.length) {
    const first = entries[from] as StoredEntry;
    let to = from;
    while (entries[to]?.term === first.term) to += 1;
    runs.push(
      runOf(
        firstIndex + from,
        first.term,
        entries.slice(from, to).map((entry) => entry.bytes),
      ),
    );
    from = to;
  }
  return runs;
}
