import { refuseKind } from './acquire.ts';
import { endedAnswer } from './answers.ts';
import { MODE } from './command.ts';
import { complete, completionKey } from './completions.ts';
import { endWaiting, releaseGrant } from './grants.ts';
import { FLAG, type LockRequest, partsOf } from './lock-request.ts';
import type { Crowd } from './name-record.ts';
import type { Session } from './session.ts';
import type { TableState } from './state.ts';

/** The session's grant of that handle; otherwise answers that there is none. */
function heldBy(state: TableState, session: Session, seq: number, handle: number): LockRequest | undefined {
  const request = session.requests.get(handle);
  if (request?.isGranted === true) return request;
  const message =
    request === undefined ? `this session holds nothing as ${handle}` : `${handle} still waits: cancel it instead`;
  state.refuse(session, seq, 'LOCKD_NOT_HELD', message);
  return undefined;
}

export function release(state: TableState, session: Session, seq: number, handle: number): void {
  const request = heldBy(state, session, seq, handle);
  if (request === undefined) return;
  releaseGrant(state, request);
  state.acknowledge(session, seq);
}

/** Always succeeds: afterwards the request of `handle` neither waits nor holds, and never will. */
export function cancel(state: TableState, session: Session, seq: number, handle: number): void {
  if (handle >= seq) {
    state.refuse(session, seq, 'LOCKD_INVALID', `${handle} is no earlier operation than ${seq}`);
    return;
  }
  const request = session.requests.get(handle);
  if (request === undefined) {
    // It may have overtaken its acquire: the tombstone is the answer that the acquire will find.
    if (session.answers.get(handle) === undefined && handle <= session.answers.acked + state.limits.window) {
      session.answers.set(handle, endedAnswer('cancelled'));
    }
  } else if (request.isGranted) {
    releaseGrant(state, request);
  } else {
    endWaiting(state, request, 'cancelled');
  }
  state.acknowledge(session, seq);
}

/** Restarts an own lease. Every handle that shares a hold extends the hold. */
export function extend(state: TableState, session: Session, seq: number, handle: number, leaseMs: number): void {
  const request = heldBy(state, session, seq, handle);
  if (request === undefined) return;
  const holder = request.hold.main;
  const extra = holder.extra;
  if (extra === undefined || extra.leaseMs === 0 || leaseMs === 0) {
    state.refuse(session, seq, 'LOCKD_INVALID', `${handle} has no lease of its own: the session keeps it`);
    return;
  }
  state.touchRequest(holder);
  extra.leaseMs = leaseMs;
  extra.generation++;
  extra.after = session.highestSeq;
  state.sink.deadlineStarted('lease', session.id, holder.handle, holder.name.name, leaseMs, extra.generation);
  state.done(session, seq, { leaseMs });
}

/** Exclusive to shared, keeping the token, which opens the phase; those who wait for their share at the head join it. */
export function downgrade(state: TableState, session: Session, seq: number, handle: number): void {
  const request = heldBy(state, session, seq, handle);
  if (request === undefined) return;
  const holder = request.hold.main;
  if (holder.mode === MODE.permit) {
    state.refuse(session, seq, 'LOCKD_INVALID', 'a permit cannot be downgraded');
    return;
  }
  if (holder.mode === MODE.exclusive) {
    state.touchRequest(holder);
    for (const part of partsOf(holder)) {
      const crowd = part.name.crowdOf(0);
      crowd.sharedCount = 1;
      crowd.phaseToken = part.token;
      setMode(state, part, MODE.shared);
      state.markDue(part.name);
    }
  }
  state.done(session, seq, { token: holder.token });
}

/** Shared to exclusive with a new token, for one that shares with nobody. It never waits: two that wait would deadlock. */
export function upgrade(state: TableState, session: Session, seq: number, handle: number): void {
  const request = heldBy(state, session, seq, handle);
  if (request === undefined) return;
  const holder = request.hold.main;
  if (holder.mode === MODE.permit) {
    state.refuse(session, seq, 'LOCKD_INVALID', 'a permit cannot be upgraded');
    return;
  }
  if (holder.mode === MODE.shared) {
    const parts = partsOf(holder);
    if (parts.some((part) => part.prev !== undefined || part.next !== undefined)) {
      const message = 'others share this lock, or it is reserved after them';
      state.refuse(session, seq, 'LOCKD_CONFLICT', message);
      return;
    }
    state.touchRequest(holder);
    for (const part of parts) {
      (part.name.crowd as Crowd).sharedCount = 0;
      setMode(state, part, MODE.exclusive);
      part.token = state.index;
    }
  }
  state.done(session, seq, { token: holder.token });
}

function setMode(state: TableState, part: LockRequest, mode: number): void {
  part.flags = (part.flags & ~FLAG.mode) | mode;
  for (const child of part.extra?.children ?? []) {
    state.touchRequest(child);
    child.flags = (child.flags & ~FLAG.mode) | mode;
  }
}

/** Changes a semaphore's slots. Fewer take nothing away: slots in use stay until they are given back. */
export function setLimit(state: TableState, session: Session, seq: number, name: string, limit: number): void {
  const record = state.names.get(name);
  const crowd = record?.crowd;
  if (record === undefined || record.isEmpty) {
    const message = `nothing stands in ${JSON.stringify(name)}: its limit is what the next acquire says`;
    state.refuse(session, seq, 'LOCKD_CONFLICT', message);
    return;
  }
  if (crowd === undefined || crowd.limit === 0) {
    refuseKind(state, session, seq, record);
    return;
  }
  if (limit === 0) {
    state.refuse(session, seq, 'LOCKD_INVALID', 'a semaphore has at least one slot');
    return;
  }
  state.touchLimit(record, crowd);
  crowd.limit = limit;
  state.markDue(record);
  state.done(session, seq, { limit });
}

/** Records that the work of `once` is done, while its caller still holds the lock. The lock stays until it is released. */
export function completeOnce(
  state: TableState,
  session: Session,
  seq: number,
  handle: number,
  onceKey: string,
  keepMs: number,
): void {
  const request = heldBy(state, session, seq, handle);
  if (request === undefined) return;
  if (onceKey === '' || keepMs === 0 || request.extra?.parts !== undefined) {
    state.refuse(session, seq, 'LOCKD_INVALID', 'once needs a key, a time to keep its record, and a single name');
    return;
  }
  if (complete(state, completionKey(request.name.name, onceKey), keepMs) === undefined) {
    state.refuse(session, seq, 'LOCKD_LIMIT', `at most ${state.limits.maxCompletions} completion records are kept`);
    return;
  }
  state.acknowledge(session, seq);
}
