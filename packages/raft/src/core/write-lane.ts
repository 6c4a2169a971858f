import type { EntryRun } from './entry-run.ts';
import type { LogIndex, Term } from './ids.ts';
import { invariant } from './invariant.ts';
import type { RaftLog } from './log.ts';
import type { Message, SnapshotMetadata } from './message.ts';
import type { HardState, PersistDuty } from './ready.ts';

interface HeldMessage {
  readonly write: number;
  readonly message: Message;
}

const NO_RUNS: readonly EntryRun[] = [];

/**
 * The node's one way to stable storage. At most one write is out; what is decided meanwhile forms the next. The
 * installation of a snapshot is a write too, so that it can never overtake or be overtaken by one.
 *
 * Votes, acknowledgements and vote requests are promises about stable state (§5, figure 2: "updated on stable
 * storage before responding"). They are held here under the number of the write that makes them true.
 */
export class WriteLane {
  #lastWrite = 0;
  #durableWrite = 0;
  #isInFlight = false;
  #isHardStateDirty = false;
  #install: SnapshotMetadata | undefined;
  #isInstallOut = false;
  /** In order of their writes. */
  #held: HeldMessage[] = [];

  get isInstalling(): boolean {
    return this.#install !== undefined;
  }

  hardStateChanged(): void {
    this.#isHardStateDirty = true;
  }

  /** The snapshot replaces the log as soon as the writes before it are done. */
  install(metadata: SnapshotMetadata): void {
    invariant(this.#install === undefined, 'a snapshot is being installed');
    // The installation takes the number of the next write and stores neither term nor vote: who waits for these waits for the
    // write after it. What waits for entries alone is true once the snapshot is there.
    if (this.#isHardStateDirty) {
      this.#held = this.#held.map(({ write, message }) => ({
        write: write > this.#lastWrite ? write + 1 : write,
        message,
      }));
    }
    this.#install = metadata;
  }

  /**
   * The number of the write that makes everything decided so far durable. An installation that is due takes the next
   * number; hard state and entries go after it in one write, whatever else is decided until then.
   */
  coveringWrite(log: RaftLog): number {
    const isInstallDue = this.#install !== undefined && !this.#isInstallOut;
    const isDirty = this.#isHardStateDirty || log.hasUnwritten;
    return this.#lastWrite + (isInstallDue ? 1 : 0) + (isDirty ? 1 : 0);
  }

  isDurable(write: number): boolean {
    return write <= this.#durableWrite;
  }

  hold(write: number, message: Message): void {
    this.#held.push({ write, message });
  }

  /** The next write, if one is due and none is out. */
  takeWrite(log: RaftLog, source: { hardState(): HardState }): PersistDuty | undefined {
    if (this.#isInFlight || this.#install !== undefined) return undefined;
    if (!this.#isHardStateDirty && !log.hasUnwritten) return undefined;
    const duty: PersistDuty = {
      write: this.#begin(),
      hardState: this.#isHardStateDirty ? source.hardState() : undefined,
      runs: log.hasUnwritten ? log.runsBetween(log.unwrittenFrom, log.lastIndex) : NO_RUNS,
      term: log.lastTerm,
      lastIndex: log.lastIndex,
    };
    this.#isHardStateDirty = false;
    log.markWritten();
    return duty;
  }

  /** The snapshot to install, once, when no write is out. It goes before any write that is due. */
  takeInstall(): SnapshotMetadata | undefined {
    if (this.#isInFlight || this.#install === undefined) return undefined;
    this.#begin();
    this.#isInstallOut = true;
    return this.#install;
  }

  /** A write is durable. False for a number that is not out: a repeated or foreign acknowledgement. */
  written(write: number): boolean {
    if (!this.#isInFlight || this.#isInstallOut || write !== this.#lastWrite) return false;
    this.#finish();
    return true;
  }

  /** The snapshot that was out is installed; undefined where none at this index was. */
  installed(index: LogIndex): SnapshotMetadata | undefined {
    const metadata = this.#install;
    if (!this.#isInstallOut || metadata === undefined || metadata.index !== index) return undefined;
    this.#isInstallOut = false;
    this.#install = undefined;
    this.#finish();
    return metadata;
  }

  /**
   * The held messages that have become true. Those of an older term are dropped: what they acknowledge may have
   * been replaced by the new term's leader before it was ever durable (row 22).
   */
  release(term: Term, send: (message: Message) => void): void {
    let released = 0;
    while (released < this.#held.length) {
      const { write, message } = this.#held[released] as HeldMessage;
      if (write > this.#durableWrite) break;
      if (message.term === term) send(message);
      released += 1;
    }
    if (released > 0) this.#held.splice(0, released);
  }

  #begin(): number {
    this.#isInFlight = true;
    this.#lastWrite += 1;
    return this.#lastWrite;
  }

  #finish(): void {
    this.#isInFlight = false;
    this.#durableWrite = this.#lastWrite;
  }
}
