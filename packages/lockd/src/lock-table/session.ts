import { AnswerWindow } from './answers.ts';
import { OPEN_FLAG } from './command.ts';
import type { LockRequest } from './lock-request.ts';
import { RequestMap } from './request-map.ts';

/** One client's session. Everything it holds or waits for hangs on it. Named by the index of the entry that opened it. */
export class Session {
  readonly id: number;
  /** Secret: who knows it may attach. */
  readonly nonce: string;
  readonly ttlMs: number;
  /** Bits of OPEN_FLAG. */
  readonly flags: number;
  /** Key, value, key, value: for people. */
  readonly metadata: readonly string[];
  /** Number of the connection that speaks for it. */
  epoch = 1;
  /** Index of the entry that opened or last attached it: an expiry decided before that one is void. */
  attachment: number;
  /** Its connection is known to be closed: its waiters are passed over. */
  isDetached = false;
  /** Ended; what is left of it is cleared away in pieces, and it gets nothing any more. */
  isDead = false;
  /** The highest seq the log has shown. */
  highestSeq = 0;
  readonly answers: AnswerWindow = new AnswerWindow();
  /** By handle: what it holds and waits for. */
  readonly requests: RequestMap = new RequestMap();
  waitingCount = 0;
  /** Those of `TableState.orphans` that are its own, by handle. */
  orphans: Map<number, LockRequest> | undefined = undefined;
  /** Snapshot in which this record is already contained (see save-aside.ts). */
  stamp = 0;

  constructor(
    id: number,
    nonce: string,
    ttlMs: number,
    flags: number,
    metadata: readonly string[],
    attachment: number,
  ) {
    this.id = id;
    this.nonce = nonce;
    this.ttlMs = ttlMs;
    this.flags = flags;
    this.metadata = metadata;
    this.attachment = attachment;
  }

  get isConnectionBound(): boolean {
    return (this.flags & (OPEN_FLAG.connectionBound | OPEN_FLAG.releaseOnDisconnect)) !== 0;
  }

  get isReleasedOnDisconnect(): boolean {
    return (this.flags & OPEN_FLAG.releaseOnDisconnect) !== 0;
  }

  /** Whether a waiter of this session can be granted anything. */
  get isListening(): boolean {
    return !this.isDetached && !this.isDead;
  }

  /**
   * Up to `count` of its requests that `select` takes, by ascending handle from `after` on. Whatever is done to a
   * session in pieces is done in this order, because a Map's own order is lost in a snapshot.
   */
  next(after: number, count: number, select: (request: LockRequest) => boolean): LockRequest[] {
    const found: LockRequest[] = [];
    for (const request of this.requests.after(after)) {
      if (!select(request)) continue;
      if (found.length === count) break;
      found.push(request);
    }
    return found;
  }
}

/** Owner of what stands on a name without a session: reservations after a release. */
export const NOBODY: Session = new Session(0, '', 0, 0, [], 0);
