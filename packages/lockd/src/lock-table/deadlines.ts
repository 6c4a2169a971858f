import { dropCompletion } from './completions.ts';
import { dropGhost, endHold, endWaiting, RESERVE, reserveGeneration } from './grants.ts';
import { FLAG, type LockRequest } from './lock-request.ts';
import type { DeadlineKind } from './sink.ts';
import type { TableState } from './state.ts';

/** What a leader decided when a deadline of its own had passed. Void in another term: the next leader counts anew. */
function isVoid(state: TableState, term: number, stands: boolean): boolean {
  if (term === state.term && stands) return false;
  state.refusedEnds++;
  return true;
}

/** The hold of `handle`, also one that its owner has released while re-entries share it. */
function holdOf(state: TableState, session: number, handle: number): LockRequest | undefined {
  const owner = state.sessions.get(session);
  const request = owner?.requests.get(handle);
  if (request !== undefined) return request.isGranted && request.hold === request ? request : undefined;
  return owner?.orphans?.get(handle);
}

export function endLease(state: TableState, session: number, handle: number, term: number, generation: number): void {
  const request = holdOf(state, session, handle);
  const extra = request?.extra;
  const stands = extra !== undefined && extra.leaseMs > 0 && extra.generation === generation;
  if (isVoid(state, term, stands) || request === undefined) return;
  endHold(state, request, 'lease-expired', true);
}

export function endMaxHold(state: TableState, session: number, handle: number, term: number): void {
  const request = holdOf(state, session, handle);
  if (isVoid(state, term, (request?.extra?.maxHoldMs ?? 0) > 0) || request === undefined) return;
  endHold(state, request, 'max-hold', true);
}

export function endWait(state: TableState, session: number, handle: number, term: number): void {
  const request = state.sessions.get(session)?.requests.get(handle);
  if (isVoid(state, term, request?.isGranted === false) || request === undefined) return;
  endWaiting(state, request, 'wait-timeout');
}

/** `generation` names the grant and which of its reservations is over. */
export function endReserve(state: TableState, generation: number, term: number): void {
  const flag = generation % 4 === RESERVE.minHold ? FLAG.minHoldPending : FLAG.delayPending;
  const request = state.reserved.get(Math.floor(generation / 4));
  const stands = request !== undefined && (request.flags & flag) !== 0;
  if (isVoid(state, term, stands) || request === undefined) return;
  state.touchRequest(request);
  request.flags &= ~flag;
  state.sink.deadlineEnded('reserve', 0, request.handle, request.name.name);
  if ((request.flags & (FLAG.minHoldPending | FLAG.delayPending)) !== 0) return;
  if (request.isGhost) dropGhost(state, request);
  else state.reserved.delete(request.order);
}

export function endCompletion(state: TableState, key: string, generation: number, term: number): void {
  const completion = state.completions.get(key);
  if (isVoid(state, term, completion?.generation === generation) || completion === undefined) return;
  dropCompletion(state, completion);
}

/** Whether a deadline that was started still stands, with that generation. */
export function deadlineStands(
  state: TableState,
  kind: DeadlineKind,
  session: number,
  handle: number,
  key: string,
  generation: number,
): boolean {
  switch (kind) {
    case 'wait':
      return state.sessions.get(session)?.requests.get(handle)?.isGranted === false;
    case 'lease': {
      const extra = holdOf(state, session, handle)?.extra;
      return extra !== undefined && extra.leaseMs > 0 && extra.generation === generation;
    }
    case 'max-hold':
      return (holdOf(state, session, handle)?.extra?.maxHoldMs ?? 0) > 0;
    case 'reserve': {
      const flag = generation % 4 === RESERVE.minHold ? FLAG.minHoldPending : FLAG.delayPending;
      return ((state.reserved.get(Math.floor(generation / 4))?.flags ?? 0) & flag) !== 0;
    }
    default:
      return state.completions.get(key)?.generation === generation;
  }
}

export type DeadlineVisitor = (
  kind: DeadlineKind,
  session: number,
  handle: number,
  key: string,
  lengthMs: number,
  generation: number,
) => void;

/** Every deadline that stands, at its full length: what a new leader arms. */
export function forEachDeadline(state: TableState, visit: DeadlineVisitor): void {
  for (const session of state.sessions.values()) {
    // Most hold plain locks only, up to a million of them: a new leader has no time to look at each.
    if (session.isDead || (session.waitingCount === 0 && session.requests.timedCount === 0)) continue;
    session.requests.forEach((request) => {
      if (request.isGranted) visitHold(request, visit);
      else if (request.waitMs > 0) visit('wait', session.id, request.handle, request.name.name, request.waitMs, 0);
    });
  }
  for (const orphan of state.orphans) visitHold(orphan, visit);
  for (const request of state.reserved.values()) {
    const session = request.session.id;
    const name = request.name.name;
    const extra = request.extra;
    if (extra === undefined) continue;
    if ((request.flags & FLAG.minHoldPending) !== 0) {
      visit(
        'reserve',
        session,
        request.handle,
        name,
        extra.minHoldMs,
        reserveGeneration(request.order, RESERVE.minHold),
      );
    }
    if ((request.flags & FLAG.delayPending) !== 0) {
      visit(
        'reserve',
        session,
        request.handle,
        name,
        extra.lockDelayMs,
        reserveGeneration(request.order, RESERVE.delay),
      );
    }
  }
  for (const completion of state.completions.values()) {
    visit('once', 0, 0, completion.key, completion.keepMs, completion.generation);
  }
}

function visitHold(request: LockRequest, visit: DeadlineVisitor): void {
  const extra = request.extra;
  if (extra === undefined || extra.root !== undefined) return;
  const session = request.session.id;
  const name = request.name.name;
  if (extra.leaseMs > 0) visit('lease', session, request.handle, name, extra.leaseMs, extra.generation);
  if (extra.maxHoldMs > 0) visit('max-hold', session, request.handle, name, extra.maxHoldMs, 0);
}
