import type { EndReason, ErrorCode, ErrorDetail, GrantDetail } from '@lockd/client/protocol';
import type { Sessions } from '../gateway/sessions.ts';
import type { LeaseManager } from '../leases/lease-manager.ts';
import type { DeadlineKind, TableSink } from '../lock-table/sink.ts';

/** Passes on what the table tells: to the gateway's sessions what clients hear, to the lease manager what has a deadline. */
export class NodeSink implements TableSink {
  /** Undefined while the node recovers: nobody is connected then. */
  sessions: Sessions | undefined;
  /** Time of the turn, for deadlines that begin in it. */
  nowMs = 0;
  /** Of all commands applied by this process; for metrics. */
  grants = 0;
  readonly #leases: LeaseManager;

  constructor(leases: LeaseManager) {
    this.#leases = leases;
  }

  sessionOpened(session: number, nonce: string, ttlMs: number): void {
    this.#leases.sessionOpened(session, ttlMs, this.nowMs);
    this.sessions?.sessionOpened(session, nonce, ttlMs);
  }

  openRefused(nonce: string, code: ErrorCode, message: string): void {
    this.sessions?.openRefused(nonce, code, message);
  }

  sessionAttached(session: number, epoch: number, ttlMs: number): void {
    this.sessions?.sessionAttached(session, epoch, ttlMs);
  }

  attachRefused(session: number, epoch: number, code: ErrorCode, message: string): void {
    this.sessions?.attachRefused(session, epoch, code, message);
  }

  sessionDetached(session: number): void {
    this.sessions?.sessionDetached(session);
  }

  sessionHeard(session: number): void {
    this.#leases.sessionHeard(session, this.nowMs);
  }

  sessionEnded(session: number, reason: string): void {
    this.#leases.sessionEnded(session);
    this.sessions?.sessionEnded(session, reason);
  }

  answered(session: number, seq: number, value: unknown): void {
    this.sessions?.answered(session, seq, value);
  }

  refused(session: number, seq: number, code: ErrorCode, message: string, detail: ErrorDetail | null): void {
    this.sessions?.refused(session, seq, code, message, detail);
  }

  granted(session: number, handle: number, token: number, detail: GrantDetail | null): void {
    this.grants++;
    this.sessions?.granted(session, handle, token, detail);
  }

  waiting(session: number, handle: number, position: number): void {
    this.sessions?.waiting(session, handle, position);
  }

  ended(session: number, handle: number, reason: EndReason): void {
    this.sessions?.ended(session, handle, reason);
  }

  deadlineStarted(
    kind: DeadlineKind,
    session: number,
    handle: number,
    key: string,
    lengthMs: number,
    generation: number,
  ): void {
    this.#leases.deadlineStarted(kind, session, handle, key, lengthMs, generation, this.nowMs);
  }

  deadlineEnded(): void {
    this.#leases.deadlineEnded();
  }

  /** The lease manager sees it in the table when the node asks for its next deadline. */
  workLeft(): void {}
}
