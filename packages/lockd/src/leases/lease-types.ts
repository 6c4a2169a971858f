import type { Command } from '../lock-table/command.ts';
import type { DeadlineVisitor } from '../lock-table/deadlines.ts';
import type { DeadlineKind } from '../lock-table/sink.ts';

/** What the leader's deadlines need to know of the applied state. `LockTable` is one. */
export interface LeaseTable {
  isAlive(session: number): boolean;
  isRenewable(session: number): boolean;
  /** Undefined: not alive. */
  attachmentOf(session: number): number | undefined;
  deadlineStands(kind: DeadlineKind, session: number, handle: number, key: string, generation: number): boolean;
  forEachSession(visit: (session: number, ttlMs: number) => void): void;
  forEachDeadline(visit: DeadlineVisitor): void;
  readonly hasWorkLeft: boolean;
  /** How many `continue-work` commands this replica has applied. */
  readonly workRounds: number;
}

export interface SessionLease {
  readonly session: number;
  readonly ttlMs: number;
  /** When it ends unless renewed. */
  expiresMs: number;
  /** When it would end had no end been proposed: what counts again if the proposal comes to nothing. */
  heardUntilMs: number;
  /** An end is on its way into the log, and nothing is acknowledged until its fate is known. */
  isEndProposed: boolean;
  /** Confirmed renewals that wait for that. */
  heldBack: RenewalAck[] | undefined;
}

/** One entry of the heap. A session has one, which follows its renewals lazily. */
export type Deadline = SessionDeadline | GrantDeadline;

export interface SessionDeadline {
  readonly type: 'session';
  readonly dueMs: number;
  readonly lease: SessionLease;
}

export interface GrantDeadline {
  readonly type: 'grant';
  readonly dueMs: number;
  readonly kind: DeadlineKind;
  readonly session: number;
  readonly handle: number;
  readonly key: string;
  readonly generation: number;
}

/** To be proposed at once by the leader that got it, or withdrawn. */
export interface Proposal {
  readonly command: Command;
  /** Undefined: not about a deadline. */
  readonly deadline: Deadline | undefined;
}

/** `renewed`: the client's lease begins with the sending of the renewal that had this stamp. */
export interface RenewalAck {
  readonly session: number;
  readonly stamp: number;
  /** What `renewalArrived` was given: where the answer goes. */
  readonly origin: unknown;
}
