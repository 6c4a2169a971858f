import { MODE, type Mode } from './command.ts';
import type { NameRecord } from './name-record.ts';
import type { Session } from './session.ts';

/** Bits of `LockRequest.flags` above the two of the mode. */
export const FLAG = {
  mode: 3,
  granted: 4,
  /** Goes first and ends the holders. */
  steal: 8,
  /** Released, but the name stays reserved until its pending reservations are over. */
  ghost: 16,
  /** Shares the hold of `extra.root`; stands in no list of the name. */
  reentry: 32,
  /** Has been re-entered: `extra.children` counts. */
  shared: 64,
  /** Released by its owner while re-entries still share it: no longer in its session's map. */
  orphan: 128,
  /** Reservations that the leader has yet to end. */
  minHoldPending: 256,
  delayPending: 512,
} as const;

/** What a plain exclusive lock that its session keeps does not need. Shared by the parts of an acquire-all. */
export class RequestExtra {
  /** Own lease, milliseconds; 0: kept by the session. */
  leaseMs = 0;
  /** Of the own lease: an end decided for an earlier one is void. */
  generation = 0;
  /** GrantDetail.after. */
  after = 0;
  maxHoldMs = 0;
  minHoldMs = 0;
  lockDelayMs = 0;
  slot = 0;
  onceKey = '';
  metadata: readonly string[] = [];
  /** Handles the caller says it holds: the edges that deadlock detection will follow. */
  holding: readonly number[] = [];
  /** Acquire-all: one request for each name, in the order asked; the first is the one the session knows. */
  parts: readonly LockRequest[] | undefined = undefined;
  /** Re-entry: the request that holds. */
  root: LockRequest | undefined = undefined;
  /** The re-entries that share this hold, in the order granted. */
  children: LockRequest[] = [];
}

/**
 * A request for a name, for its whole life: first as a waiter in the name's queue, then as a grant in its list of holders.
 * One small object, because a node holds hundreds of thousands.
 */
export class LockRequest {
  session: Session;
  readonly handle: number;
  readonly name: NameRecord;
  flags: number;
  /** Fencing token; 0 while waiting. */
  token = 0;
  /** Waiting: place in the queue, ascending (the index of its entry; negative for `steal`). Granted: number of the grant. */
  order: number;
  waitMs: number;
  next: LockRequest | undefined = undefined;
  prev: LockRequest | undefined = undefined;
  extra: RequestExtra | undefined;
  /** Snapshot in which this record is already contained (see save-aside.ts). */
  stamp: number;

  constructor(
    session: Session,
    handle: number,
    name: NameRecord,
    flags: number,
    order: number,
    waitMs: number,
    extra: RequestExtra | undefined,
    stamp: number,
  ) {
    this.session = session;
    this.handle = handle;
    this.name = name;
    this.flags = flags;
    this.order = order;
    this.waitMs = waitMs;
    this.extra = extra;
    this.stamp = stamp;
  }

  get mode(): Mode {
    return (this.flags & FLAG.mode) as Mode;
  }

  get isGranted(): boolean {
    return (this.flags & FLAG.granted) !== 0;
  }

  get isGhost(): boolean {
    return (this.flags & FLAG.ghost) !== 0;
  }

  /** The request that its session knows by the handle: itself, unless it is a further part of an acquire-all. */
  get main(): LockRequest {
    return this.extra?.parts?.[0] ?? this;
  }

  /** The request that really holds: itself unless it is a re-entry. */
  get hold(): LockRequest {
    return this.extra?.root ?? this;
  }
}

/** Itself, or the parts of an acquire-all. */
export function partsOf(request: LockRequest): readonly LockRequest[] {
  return request.extra?.parts ?? [request];
}

export function modeName(mode: number): 'exclusive' | 'shared' | 'permit' {
  return mode === MODE.exclusive ? 'exclusive' : mode === MODE.shared ? 'shared' : 'permit';
}
