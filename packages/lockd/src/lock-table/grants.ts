import type { EndReason, GrantDetail } from '@lockd/client/protocol';
import { endedAnswer } from './answers.ts';
import { MODE } from './command.ts';
import { completionKey } from './completions.ts';
import { FLAG, type LockRequest, partsOf, RequestExtra } from './lock-request.ts';
import type { NameRecord } from './name-record.ts';
import { NOBODY } from './session.ts';
import type { TableState } from './state.ts';

/** What of a name is reserved after its release, and why: two bits of a reservation's generation. */
export const RESERVE = { minHold: 0, delay: 1 } as const;

export function reserveGeneration(grant: number, what: number): number {
  return grant * 4 + what;
}

/** Whether `waiter`, the first that listens in its queue, can have what it wants now. */
function canGrant(waiter: LockRequest): boolean {
  const parts = waiter.extra?.parts;
  if (parts === undefined) return waiter.name.hasRoomFor(waiter.mode);
  // All at once, and in no name before somebody who waits there already.
  for (const part of parts) {
    if (part.name.holder !== undefined || part.name.firstListening !== part) return false;
  }
  return true;
}

/** Looks at every name that is due, in the order in which they became due. */
export function settleDue(state: TableState): void {
  const due = state.due;
  // `pump` can make further names due.
  for (let position = 0; position < due.length; position++) {
    const record = due[position] as NameRecord;
    record.isDue = false;
    pump(state, record);
  }
  due.length = 0;
}

/** Grants what can be granted now, head first, as far as the entry's budget goes; the rest becomes work that is left. */
export function pump(state: TableState, record: NameRecord): void {
  for (;;) {
    const waiter = record.firstListening;
    if (waiter === undefined) break;
    const victim = (waiter.flags & FLAG.steal) === 0 ? undefined : record.holder;
    if (victim === undefined && !canGrant(waiter)) break;
    if (state.budget <= 0) {
      if (!record.isDue) {
        record.isDue = true;
        state.work.push({ type: 'pump', record });
      }
      return;
    }
    if (victim !== undefined) {
      takeAway(state, victim);
      continue;
    }
    state.budget -= partsOf(waiter).length;
    const onceKey = waiter.extra?.onceKey ?? '';
    if (onceKey !== '' && state.completions.has(completionKey(record.name, onceKey))) {
      endWaiting(state, waiter, 'done');
    } else {
      leaveQueue(state, waiter);
      grant(state, waiter);
    }
  }
  dropIfEmpty(state, record);
}

/** Ends a holder, or a reservation, for one who steals. */
function takeAway(state: TableState, holder: LockRequest): void {
  state.budget -= partsOf(holder.main).length;
  if (!holder.isGhost) {
    endHold(state, holder.main, 'stolen', true);
    return;
  }
  state.touchRequest(holder);
  for (const flag of [FLAG.minHoldPending, FLAG.delayPending]) {
    if ((holder.flags & flag) !== 0) state.sink.deadlineEnded('reserve', 0, holder.handle, holder.name.name);
    holder.flags &= ~flag;
  }
  dropGhost(state, holder);
}

export function dropIfEmpty(state: TableState, record: NameRecord): void {
  // A name with work that is left goes when that is done: a snapshot made before then must know both or neither.
  if (!record.isEmpty || record.isDue || state.names.get(record.name) !== record) return;
  const crowd = record.crowd;
  if (crowd !== undefined && crowd.limit > 0) state.touchLimit(record, crowd);
  state.names.delete(record.name);
}

/** Gives the request what it wants. The caller has checked that it can have it, and taken it from its queues. */
export function grant(state: TableState, request: LockRequest): void {
  const extra = request.extra;
  state.heldCount++;
  if (extra === undefined) {
    hold(state, request);
    state.sink.granted(request.session.id, request.handle, request.token, null);
    return;
  }
  for (const part of partsOf(request)) hold(state, part);
  const session = request.session.id;
  const { handle, name } = request;
  if (extra.leaseMs > 0 || extra.maxHoldMs > 0) extra.after = request.session.highestSeq;
  if (extra.leaseMs > 0) {
    state.sink.deadlineStarted('lease', session, handle, name.name, extra.leaseMs, extra.generation);
  }
  if (extra.maxHoldMs > 0) state.sink.deadlineStarted('max-hold', session, handle, name.name, extra.maxHoldMs, 0);
  if (extra.minHoldMs > 0) {
    for (const part of partsOf(request)) {
      part.flags |= FLAG.minHoldPending;
      state.reserved.set(part.order, part);
      const generation = reserveGeneration(part.order, RESERVE.minHold);
      state.sink.deadlineStarted('reserve', session, handle, part.name.name, extra.minHoldMs, generation);
    }
  }
  state.sink.granted(session, handle, request.token, grantDetail(request));
}

function hold(state: TableState, part: LockRequest): void {
  const record = part.name;
  const mode = part.mode;
  part.flags |= FLAG.granted;
  part.order = ++state.grantCount;
  part.token = state.index;
  if (mode === MODE.shared) {
    const crowd = record.crowdOf(0);
    // Shared grants that overlap are one phase, fenced by the token of the entry that opened it.
    if (crowd.sharedCount++ === 0 || !isReallyShared(record)) crowd.phaseToken = state.index;
    part.token = crowd.phaseToken;
  } else if (mode === MODE.permit) {
    (part.extra as RequestExtra).slot = record.crowd?.slots?.takeLowest() ?? 0;
  }
  record.addHolder(part);
}

/** Whether somebody alive shares the name: what is left of ended sessions keeps no phase open. */
function isReallyShared(record: NameRecord): boolean {
  for (let holder = record.holder; holder !== undefined; holder = holder.next) {
    if (!holder.isGhost && !holder.session.isDead) return true;
  }
  return false;
}

export function grantDetail(request: LockRequest): GrantDetail | null {
  const holder = request.hold;
  const extra = holder.extra;
  if (extra === undefined) return null;
  const isReentry = holder !== request;
  const hasDeadline = extra.leaseMs > 0 || extra.maxHoldMs > 0;
  if (extra.slot === 0 && !hasDeadline && !isReentry) return null;
  return {
    ...(extra.slot > 0 ? { slot: extra.slot } : {}),
    ...(extra.leaseMs > 0 ? { leaseMs: extra.leaseMs } : {}),
    ...(hasDeadline ? { after: extra.after } : {}),
    ...(isReentry ? { shares: holder.handle, holdCount: holdCount(holder) } : {}),
  };
}

/** How many handles share a hold. */
export function holdCount(holder: LockRequest): number {
  return ((holder.flags & FLAG.orphan) === 0 ? 1 : 0) + (holder.extra?.children.length ?? 0);
}

/** Takes a waiter out of its queues and ends its wait deadline; it stays its session's request. */
export function leaveQueue(state: TableState, request: LockRequest): void {
  state.touchRequest(request);
  for (const part of partsOf(request)) part.name.removeWaiter(part);
  request.session.waitingCount--;
  state.waitingCount--;
  if (request.waitMs > 0) state.sink.deadlineEnded('wait', request.session.id, request.handle, request.name.name);
}

/**
 * A waiting request is over. `cancelled` is its owner's doing and is answered by the operation that did it;
 * `done` answers an acquire of `once` whose work somebody else completed.
 */
export function endWaiting(state: TableState, request: LockRequest, reason: EndReason | 'done'): void {
  const { session, handle } = request;
  leaveQueue(state, request);
  state.touchSession(session);
  session.requests.delete(request);
  if (reason === 'done') {
    state.done(session, handle, { done: true });
  } else {
    session.answers.set(handle, endedAnswer(reason));
    if (reason !== 'cancelled') state.sink.ended(session.id, handle, reason);
  }
  // Those behind it may now be first.
  for (const part of partsOf(request)) state.markDue(part.name);
}

/** The owner gives up one handle: a hold ends when the last handle that shares it is given up. */
export function releaseGrant(state: TableState, request: LockRequest): void {
  const extra = request.extra;
  if (extra === undefined || (extra.root === undefined && extra.children.length === 0)) {
    endHold(state, request, undefined, false);
    return;
  }
  const { session, handle } = request;
  state.touchSession(session);
  state.touchRequest(request);
  session.requests.delete(request);
  session.answers.set(handle, endedAnswer('cancelled'));
  state.heldCount--;
  const root = extra.root;
  if (root === undefined) {
    request.flags |= FLAG.orphan;
    addOrphan(state, request);
    return;
  }
  state.touchRequest(root);
  const siblings = (root.extra as RequestExtra).children;
  siblings.splice(siblings.indexOf(request), 1);
  if (siblings.length === 0 && (root.flags & FLAG.orphan) !== 0) endHold(state, root, undefined, false);
}

/** A hold without its owner's handle: its re-entries keep it. */
export function addOrphan(state: TableState, request: LockRequest): void {
  state.orphans.add(request);
  request.session.orphans ??= new Map();
  request.session.orphans.set(request.handle, request);
}

/**
 * The hold is over for every handle that shares it. `reason` undefined: by its owner's release. Unclean: its owner
 * may still act as if it held, so a lock-delay begins.
 */
export function endHold(
  state: TableState,
  request: LockRequest,
  reason: EndReason | undefined,
  isUnclean: boolean,
): void {
  const { session, handle } = request;
  state.touchSession(session);
  state.touchRequest(request);
  if ((request.flags & FLAG.orphan) === 0) {
    state.heldCount--;
    session.requests.delete(request);
    session.answers.set(handle, endedAnswer(reason ?? 'cancelled'));
    if (reason !== undefined) state.sink.ended(session.id, handle, reason);
  } else {
    state.orphans.delete(request);
    session.orphans?.delete(handle);
  }
  const extra = request.extra;
  if (extra === undefined) {
    letGo(state, request);
    return;
  }
  for (const child of extra.children) {
    state.touchRequest(child);
    state.heldCount--;
    session.requests.delete(child);
    session.answers.set(child.handle, endedAnswer(reason ?? 'cancelled'));
    if (reason !== undefined) state.sink.ended(session.id, child.handle, reason);
  }
  extra.children = [];
  if (extra.leaseMs > 0) state.sink.deadlineEnded('lease', session.id, handle, request.name.name);
  if (extra.maxHoldMs > 0) state.sink.deadlineEnded('max-hold', session.id, handle, request.name.name);
  // `stolen` is somebody's express wish to have the name now.
  const delayMs = isUnclean && reason !== 'stolen' ? extra.lockDelayMs : 0;
  for (const part of partsOf(request)) {
    if (delayMs > 0) part.flags |= FLAG.delayPending;
    const isReserved = reason !== 'stolen' && (part.flags & (FLAG.minHoldPending | FLAG.delayPending)) !== 0;
    if (isReserved) {
      becomeGhost(state, part, delayMs);
    } else {
      if ((part.flags & FLAG.minHoldPending) !== 0) {
        state.reserved.delete(part.order);
        state.sink.deadlineEnded('reserve', session.id, handle, part.name.name);
      }
      letGo(state, part);
    }
  }
}

/** The grant is over, the name stays reserved: what is left keeps its place among the holders. */
function becomeGhost(state: TableState, part: LockRequest, delayMs: number): void {
  const crowd = part.name.crowd;
  if (part.mode === MODE.shared && crowd !== undefined) crowd.sharedCount--;
  const remains = new RequestExtra();
  remains.slot = part.extra?.slot ?? 0;
  remains.minHoldMs = part.extra?.minHoldMs ?? 0;
  remains.lockDelayMs = delayMs;
  part.session = NOBODY;
  part.extra = remains;
  part.flags = (part.flags & (FLAG.mode | FLAG.granted | FLAG.minHoldPending | FLAG.delayPending)) | FLAG.ghost;
  state.reserved.set(part.order, part);
  if (delayMs > 0) {
    const generation = reserveGeneration(part.order, RESERVE.delay);
    state.sink.deadlineStarted('reserve', 0, part.handle, part.name.name, delayMs, generation);
  }
}

/** A reservation of `part` is over. The caller has touched it and cleared the flag. */
export function dropGhost(state: TableState, part: LockRequest): void {
  state.reserved.delete(part.order);
  const crowd = part.name.crowd;
  if (crowd?.slots !== undefined) crowd.slots.free(part.extra?.slot ?? 0);
  part.name.removeHolder(part);
  state.markDue(part.name);
}

/** The part no longer stands in its name's way. */
function letGo(state: TableState, part: LockRequest): void {
  const record = part.name;
  const crowd = record.crowd;
  if (crowd !== undefined) {
    if (part.mode === MODE.shared) crowd.sharedCount--;
    else if (crowd.slots !== undefined) crowd.slots.free(part.extra?.slot ?? 0);
  }
  record.removeHolder(part);
  if (record.queue !== undefined) state.markDue(record);
  else if (record.holder === undefined) dropIfEmpty(state, record);
}
