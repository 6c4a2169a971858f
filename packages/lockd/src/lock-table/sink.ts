import type { EndReason, ErrorCode, ErrorDetail, GrantDetail } from '@lockd/client/protocol';

/**
 * What applying a command tells the node, call by call, in log order. Every replica makes the same calls; the node
 * that has the session's connection turns them into answers, the leader's lease manager into deadlines. Arguments
 * are primitives wherever the path is hot, so that nodes that do not answer allocate nothing.
 * Implementations must not call back into the table.
 */
export interface TableSink {
  /** `nonce` tells which connection asked. A repeated open of a live session is reported again with the same id. */
  sessionOpened(session: number, nonce: string, ttlMs: number): void;
  openRefused(nonce: string, code: ErrorCode, message: string): void;
  sessionAttached(session: number, epoch: number, ttlMs: number): void;
  attachRefused(session: number, epoch: number, code: ErrorCode, message: string): void;
  sessionDetached(session: number): void;
  /** The log shows that its client is there: an end decided before this entry is void. */
  sessionHeard(session: number): void;
  sessionEnded(session: number, reason: string): void;

  /** The operation `seq` took effect and has no further answer; `value` is null where there is none. */
  answered(session: number, seq: number, value: unknown): void;
  /** The operation `seq` was refused and had no effect. */
  refused(session: number, seq: number, code: ErrorCode, message: string, detail: ErrorDetail | null): void;
  /** The request has a grant: the answer to its acquire, a repeated one's, or a push. */
  granted(session: number, handle: number, token: number, detail: GrantDetail | null): void;
  waiting(session: number, handle: number, position: number): void;
  /** The request or grant is over, not by its owner's release. */
  ended(session: number, handle: number, reason: EndReason): void;

  /** A deadline that the leader keeps: started (or restarted with another length). `kind` and `key` name it. */
  deadlineStarted(
    kind: DeadlineKind,
    session: number,
    handle: number,
    key: string,
    lengthMs: number,
    generation: number,
  ): void;
  deadlineEnded(kind: DeadlineKind, session: number, handle: number, key: string): void;
  /** The entry's bounded work is not finished: the leader proposes to continue. */
  workLeft(): void;
}

/**
 * - `wait`: a waiter's own patience; `lease`, `max-hold`: a grant's; named by session and handle.
 * - `reserve`: minHold, lock-delay or a break period on a name; `once`: a completion record; named by `key`.
 */
export type DeadlineKind = 'wait' | 'lease' | 'max-hold' | 'reserve' | 'once';
