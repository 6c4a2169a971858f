import type { NameInfo, RequestState } from '@lockd/client/protocol';
import { acquire, acquireAll } from './acquire.ts';
import { type Command, decodeCommand, OP, type SessionCommand } from './command.ts';
import {
  type DeadlineVisitor,
  deadlineStands,
  endCompletion,
  endLease,
  endMaxHold,
  endReserve,
  endWait,
  forEachDeadline,
} from './deadlines.ts';
import { settleDue } from './grants.ts';
import { inspectName, listNames, requestState } from './inspection.ts';
import { TABLE_LIMITS, type TableLimits } from './limits.ts';
import { cancel, completeOnce, downgrade, extend, release, setLimit, upgrade } from './operations.ts';
import { Restoration } from './restoration.ts';
import type { Session } from './session.ts';
import { admit, attach, detach, endSession, expireSession, liveSession, open } from './session-commands.ts';
import type { DeadlineKind, TableSink } from './sink.ts';
import { TableSnapshotReader } from './snapshot-reader.ts';
import { TableSnapshotWriter } from './snapshot-writer.ts';
import { SILENT_SINK, TableState } from './state.ts';
import { hashOf, stateLines } from './state-hash.ts';
import { continueWork } from './work-left.ts';

/** Counts for status and metrics. The last three are of this replica since it started. */
export interface TableCounters {
  readonly sessions: number;
  readonly names: number;
  readonly held: number;
  readonly waiting: number;
  readonly completions: number;
  readonly staleOperations: number;
  readonly refusedEnds: number;
  readonly unreadableCommands: number;
}

/**
 * The lock table: what the log says about sessions, locks and waiters. Pure and deterministic: no clock, no chance;
 * two tables that applied the same entries are equal, whatever snapshots came between.
 */
export class LockTable {
  #state: TableState;
  #workRounds = 0;

  /** Other limits than the program's are for tests: every replica must have the same. */
  constructor(limits: TableLimits = TABLE_LIMITS) {
    this.#state = new TableState(limits);
  }

  /**
   * Applies the encoded command (without its kind byte) that `bytes` hold from `start` up to `end`, of the entry `index`,
   * `term`. Never throws on any bytes: what cannot be read is counted and does nothing, on every replica.
   */
  applyEntry(
    bytes: Uint8Array,
    index: number,
    term: number,
    sink: TableSink,
    start = 0,
    end: number = bytes.length,
  ): void {
    const command = decodeCommand(bytes, start, end);
    if (command === undefined) {
      this.#state.unreadableCommands++;
      this.skip(index, term);
      return;
    }
    this.apply(command, index, term, sink);
  }

  /** An entry that is no command has been applied: the state is now that of `index`. */
  skip(index: number, term: number): void {
    this.#state.index = index;
    this.#state.term = term;
  }

  /** Indices ascend; each is applied once. */
  apply(command: Command, index: number, term: number, sink: TableSink): void {
    const state = this.#state;
    state.index = index;
    state.term = term;
    state.sink = sink;
    state.budget = state.limits.maxWorkPerEntry;
    const hadWork = state.work.length > 0;
    this.#dispatch(state, command);
    if (state.due.length > 0) settleDue(state);
    if (state.work.length > 0) {
      // Work that was left earlier comes first, and only in entries made for it.
      if (!hadWork || command[0] === OP.continueWork) continueWork(state);
      if (state.work.length > 0) sink.workLeft();
    }
    // Not to keep alive whoever listened.
    state.sink = SILENT_SINK;
  }

  #dispatch(state: TableState, command: Command): void {
    switch (command[0]) {
      case OP.open:
        open(state, command);
        return;
      case OP.attach:
        attach(state, command);
        return;
      case OP.detach:
        detach(state, command[1], command[2]);
        return;
      case OP.endSession:
        expireSession(state, command[1], command[2], command[3]);
        return;
      case OP.endGrant:
        endLease(state, command[1], command[2], command[3], command[4]);
        return;
      case OP.endWait:
        endWait(state, command[1], command[2], command[3]);
        return;
      case OP.endMaxHold:
        endMaxHold(state, command[1], command[2], command[3]);
        return;
      case OP.endReserve:
        endReserve(state, command[1], command[2]);
        return;
      case OP.endOnce:
        endCompletion(state, command[1], command[2], command[3]);
        return;
      case OP.continueWork:
        this.#workRounds++;
        return;
      default: {
        const session = admit(state, command);
        if (session !== undefined) operate(state, session, command);
      }
    }
  }

  /** Index of the last entry applied. */
  get index(): number {
    return this.#state.index;
  }

  /** There is work for a `continue-work` command: a leader proposes one whenever this is so. */
  get hasWorkLeft(): boolean {
    return this.#state.work.length > 0;
  }

  /** How many `continue-work` commands this replica has applied: while it does not change, the one proposed is on its way. */
  get workRounds(): number {
    return this.#workRounds;
  }

  isAlive(session: number): boolean {
    return liveSession(this.#state, session) !== undefined;
  }

  /** Alive, and not bound to a connection that is closed. */
  isRenewable(session: number): boolean {
    const found = liveSession(this.#state, session);
    return found !== undefined && !(found.isDetached && found.isConnectionBound);
  }

  /** Index of the entry that last attached a live session: goes into a proposal to end it. Undefined: not alive. */
  attachmentOf(session: number): number | undefined {
    return liveSession(this.#state, session)?.attachment;
  }

  /** Number of the connection that speaks for a live session. */
  epochOf(session: number): number | undefined {
    return liveSession(this.#state, session)?.epoch;
  }

  deadlineStands(kind: DeadlineKind, session: number, handle: number, key: string, generation: number): boolean {
    return deadlineStands(this.#state, kind, session, handle, key, generation);
  }

  forEachSession(visit: (session: number, ttlMs: number) => void): void {
    for (const session of this.#state.sessions.values()) if (!session.isDead) visit(session.id, session.ttlMs);
  }

  /** Every deadline that stands, with its full length. */
  forEachDeadline(visit: DeadlineVisitor): void {
    forEachDeadline(this.#state, visit);
  }

  /** What stands on a name (its first 1,000 holders and waiters), or undefined where nothing does. */
  inspect(name: string): NameInfo | undefined {
    return inspectName(this.#state, name);
  }

  /** Names with the prefix after `after`, ordered by UTF-16 code units. */
  list(prefix: string, limit: number, after: string | undefined): NameInfo[] {
    return listNames(this.#state, prefix, limit, after);
  }

  askRequest(session: number, handle: number): RequestState {
    return requestState(this.#state, session, handle);
  }

  /** The whole replicated state, one record a line, sorted: equal exactly where two tables are equal. */
  describe(): string[] {
    return stateLines(this.#state);
  }

  /** Hash of `describe`: equal on all replicas at equal indices. */
  stateHash(): string {
    return hashOf(this.describe());
  }

  /** The operation has been applied, and a repetition of it would get its answer: it cannot be refused as not applied. */
  hasAnswer(session: number, seq: number): boolean {
    return liveSession(this.#state, session)?.answers.get(seq) !== undefined;
  }

  /** Back to before the first entry: the log is going to be read again. */
  reset(): void {
    this.#state = new TableState(this.#state.limits);
  }

  /** The state as it is now, to be read in slices while `apply` goes on. One at a time. */
  beginSnapshot(sliceRecords?: number): TableSnapshotReader {
    return new TableSnapshotReader(this.#state, sliceRecords);
  }

  /** Replaces the whole state by a snapshot's content, at once, when that is complete. */
  beginRestore(): TableSnapshotWriter {
    return new TableSnapshotWriter(new Restoration(this.#state.limits), (state) => {
      this.#state = state;
    });
  }

  counters(): TableCounters {
    const state = this.#state;
    return {
      sessions: state.liveSessionCount,
      names: state.names.size,
      held: state.heldCount,
      waiting: state.waitingCount,
      completions: state.completions.size,
      staleOperations: state.staleOperations,
      refusedEnds: state.refusedEnds,
      unreadableCommands: state.unreadableCommands,
    };
  }
}

function operate(state: TableState, session: Session, command: SessionCommand): void {
  const seq = command[3];
  if (!session.isListening && command[0] <= OP.acquireAll) {
    state.refuse(session, seq, 'LOCKD_SESSION_EXPIRED', 'the connection to which this session belongs is closed');
    return;
  }
  switch (command[0]) {
    case OP.acquire:
      acquire(state, session, seq, command[5], command[6], command[7] ?? 0, command[8]);
      return;
    case OP.acquireAll:
      acquireAll(state, session, seq, command[5], command[6], command[7], command[8]);
      return;
    case OP.release:
      release(state, session, seq, command[5]);
      return;
    case OP.cancel:
      cancel(state, session, seq, command[5]);
      return;
    case OP.extend:
      extend(state, session, seq, command[5], command[6]);
      return;
    case OP.downgrade:
      downgrade(state, session, seq, command[5]);
      return;
    case OP.upgrade:
      upgrade(state, session, seq, command[5]);
      return;
    case OP.setLimit:
      setLimit(state, session, seq, command[5], command[6]);
      return;
    case OP.complete:
      completeOnce(state, session, seq, command[5], command[6], command[7]);
      return;
    default:
      state.acknowledge(session, seq);
      endSession(state, session, 'closed', true);
  }
}
