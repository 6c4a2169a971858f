import type { ErrorCode, ErrorDetail } from '@lockd/client/protocol';
import { DONE } from './answers.ts';
import { EndedNonces } from './ended-nonces.ts';
import type { TableLimits } from './limits.ts';
import type { LockRequest } from './lock-request.ts';
import { NameMap } from './name-map.ts';
import type { Crowd, NameRecord } from './name-record.ts';
import {
  completionRecord,
  limitRecord,
  nonceRecord,
  requestRecord,
  type StateRecord,
  sessionRecords,
} from './records.ts';
import type { Session } from './session.ts';
import type { TableSink } from './sink.ts';

/** A completed `once`: stands until its deadline. */
export interface Completion {
  readonly key: string;
  readonly keepMs: number;
  /** Index of the entry that completed it: an end decided for an earlier one is void. */
  readonly generation: number;
  stamp: number;
}

/** Work that did not fit into its entry, done in order by `continue-work`. */
export type WorkItem =
  /** An ended session's requests. */
  | { readonly type: 'clear'; readonly session: Session; readonly isClean: boolean }
  /** The names for which a session waits, after its waiters began or ceased to be passed over. */
  | { readonly type: 'revisit'; readonly session: Session; after: number; upTo: number }
  /** A name with more to grant. */
  | { readonly type: 'pump'; readonly record: NameRecord };

/** Where a running snapshot wants records before they change. */
export interface SaveAside {
  /** Records with this stamp are contained already. */
  readonly id: number;
  /** Completions and nonces that the snapshot has not come to yet. */
  wantsNonce(endedAt: number): boolean;
  save(record: StateRecord): void;
}

const noop = (): void => {};

/** A sink for those who only want the state. */
export const SILENT_SINK: TableSink = {
  sessionOpened: noop,
  openRefused: noop,
  sessionAttached: noop,
  attachRefused: noop,
  sessionDetached: noop,
  sessionHeard: noop,
  sessionEnded: noop,
  answered: noop,
  refused: noop,
  granted: noop,
  waiting: noop,
  ended: noop,
  deadlineStarted: noop,
  deadlineEnded: noop,
  workLeft: noop,
};

/**
 * Everything the table knows, and the entry that is being applied. Replicated: two tables that applied the same
 * entries have the same content, whatever snapshots came between. Whoever changes a record calls its `touch` first.
 */
export class TableState {
  readonly limits: TableLimits;
  /** Ended sessions stay here until their last request is cleared away. */
  readonly sessions: Map<number, Session> = new Map();
  /** Live sessions by their secret. */
  readonly byNonce: Map<string, Session> = new Map();
  readonly endedNonces: EndedNonces;
  readonly names: NameMap<NameRecord> = new NameMap();
  /** Grants, and what is left of released ones, with a reservation that the leader has yet to end: by number of the grant. */
  readonly reserved: Map<number, LockRequest> = new Map();
  /** Holds released by their owner while re-entries share them. */
  readonly orphans: Set<LockRequest> = new Set();
  readonly completions: Map<string, Completion> = new Map();
  readonly work: WorkItem[] = [];
  /** Grants made so far: numbers them. */
  grantCount = 0;
  /** Sessions that are alive; handles that hold; handles that wait. */
  liveSessionCount = 0;
  heldCount = 0;
  waitingCount = 0;

  /** For people, and of this replica only: operations that came again or too late; ends that were void; entries nobody could read. */
  staleOperations = 0;
  refusedEnds = 0;
  unreadableCommands = 0;

  /** Of the last entry applied, or the one being applied. */
  index = 0;
  term = 0;
  sink: TableSink = SILENT_SINK;
  /** Grants and ends that this entry may still make. */
  budget = 0;
  /** Names whose queues must be looked at before this entry is done. */
  readonly due: NameRecord[] = [];

  /** The running snapshot, and how many were begun. */
  aside: SaveAside | undefined = undefined;
  snapshotCount = 0;

  constructor(limits: TableLimits) {
    this.limits = limits;
    this.endedNonces = new EndedNonces(limits.maxEndedNonces);
  }

  /** Stamp of a record made now: a running snapshot must not contain it. */
  get freshStamp(): number {
    return this.aside === undefined ? 0 : this.aside.id;
  }

  touchSession(session: Session): void {
    const aside = this.aside;
    if (aside === undefined || session.stamp === aside.id) return;
    session.stamp = aside.id;
    for (const record of sessionRecords(session)) aside.save(record);
  }

  touchRequest(request: LockRequest): void {
    const aside = this.aside;
    if (aside === undefined) return;
    const main = request.main;
    if (main.stamp === aside.id) return;
    // Further parts are ghosts of their own once the request is over, so each has its own stamp.
    for (const part of main.extra?.parts ?? [main]) part.stamp = aside.id;
    aside.save(requestRecord(main));
  }

  touchLimit(record: NameRecord, crowd: Crowd): void {
    const aside = this.aside;
    if (aside === undefined || crowd.stamp === aside.id) return;
    crowd.stamp = aside.id;
    aside.save(limitRecord(record.name, crowd.limit));
  }

  touchCompletion(completion: Completion): void {
    const aside = this.aside;
    if (aside === undefined || completion.stamp === aside.id) return;
    completion.stamp = aside.id;
    aside.save(completionRecord(completion));
  }

  /** Remembers the nonce of a session that ends in this entry. */
  rememberEnded(nonce: string): void {
    const forgotten = this.endedNonces.add(nonce, this.index);
    if (forgotten !== undefined && this.aside?.wantsNonce(forgotten[1]) === true) {
      this.aside.save(nonceRecord(forgotten[0], forgotten[1]));
    }
  }

  /** The operation took effect and there is nothing more to say. The caller has touched the session, here and below. */
  acknowledge(session: Session, seq: number): void {
    session.answers.set(seq, DONE);
    this.sink.answered(session.id, seq, null);
  }

  done(session: Session, seq: number, value: unknown): void {
    session.answers.set(seq, { type: 'done', value });
    this.sink.answered(session.id, seq, value);
  }

  refuse(session: Session, seq: number, code: ErrorCode, message: string, detail: ErrorDetail | null = null): void {
    session.answers.set(seq, { type: 'refused', code, message, detail });
    this.sink.refused(session.id, seq, code, message, detail);
  }

  /** The queue of `record` is to be looked at before this entry is done. */
  markDue(record: NameRecord): void {
    if (record.isDue) return;
    record.isDue = true;
    this.due.push(record);
  }
}
