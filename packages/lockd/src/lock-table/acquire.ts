import type { ErrorDetail, HolderInfo } from '@lockd/client/protocol';
import { LIVE } from './answers.ts';
import { MODE, type Options } from './command.ts';
import { completionKey } from './completions.ts';
import { grant, grantDetail, pump, settleDue } from './grants.ts';
import { FLAG, LockRequest, modeName, partsOf, RequestExtra } from './lock-request.ts';
import { NameRecord } from './name-record.ts';
import type { Session } from './session.ts';
import type { TableState } from './state.ts';

/** An acquire of one name. The caller has checked that `seq` is new. `options` undefined: plain exclusive. */
export function acquire(
  state: TableState,
  session: Session,
  seq: number,
  name: string,
  waitMs: number,
  leaseMs: number,
  options: Options | undefined,
): void {
  if (session.requests.size >= state.limits.maxRequestsPerSession) {
    state.refuse(
      session,
      seq,
      'LOCKD_LIMIT',
      `a session holds or waits for at most ${state.limits.maxRequestsPerSession} locks`,
    );
    return;
  }
  let record = state.names.get(name);
  if (options !== undefined && !passesOptions(state, session, seq, name, record, waitMs, options)) return;
  if (record === undefined) {
    if (!hasRoomForNames(state, session, seq, 1)) return;
    record = new NameRecord(name);
    state.names.add(record);
  }
  const limit = options === undefined || options[0] !== MODE.permit ? 0 : options[1];
  if (limit !== record.limit && !fixLimit(state, session, seq, record, limit)) return;

  const mode = options === undefined ? MODE.exclusive : options[0];
  const isStealing = options !== undefined && options[8] !== 0;
  const hasTurn = record.queue === undefined || record.firstListening === undefined;
  const isFree = hasTurn && record.hasRoomFor(mode);
  if (!isFree && !isStealing) {
    if (waitMs === 0) {
      state.refuse(session, seq, 'LOCKD_BUSY', `${JSON.stringify(name)} is taken`, obstacle(record, mode));
      return;
    }
    if (!hasRoomToWait(state, session, seq, record)) return;
  }
  const extra = leaseMs > 0 || options !== undefined ? extraOf(leaseMs, options) : undefined;
  const flags = isStealing ? mode | FLAG.steal : mode;
  const order = isStealing ? -state.index : state.index;
  const request = new LockRequest(session, seq, record, flags, order, waitMs, extra, state.freshStamp);
  session.requests.add(request);
  session.answers.set(seq, LIVE);
  if (isFree) {
    grant(state, request);
    return;
  }
  enqueue(state, request);
  if (isStealing) {
    // Ending the holders is work, and may take further entries; mostly it is one, and the grant is the answer.
    pump(state, record);
    settleDue(state);
    if (request.isGranted) return;
  }
  if (session.requests.get(seq) === request) state.sink.waiting(session.id, seq, record.positionOf(request));
}

/** All names at once, in one entry, under one token; or a wait in all their queues. */
export function acquireAll(
  state: TableState,
  session: Session,
  seq: number,
  names: readonly string[],
  waitMs: number,
  leaseMs: number,
  options: Options,
): void {
  if (names.length === 0 || new Set(names).size !== names.length || options[0] !== MODE.exclusive || options[8] !== 0) {
    state.refuse(session, seq, 'LOCKD_INVALID', 'acquire-all takes different names, exclusively, and does not steal');
    return;
  }
  if (session.requests.size >= state.limits.maxRequestsPerSession) {
    state.refuse(
      session,
      seq,
      'LOCKD_LIMIT',
      `a session holds or waits for at most ${state.limits.maxRequestsPerSession} locks`,
    );
    return;
  }
  let isFree = true;
  let missing = 0;
  for (const name of names) {
    const record = state.names.get(name);
    if (record === undefined) {
      missing++;
      continue;
    }
    if (record.limit > 0) {
      refuseKind(state, session, seq, record);
      return;
    }
    if (!record.hasRoomFor(MODE.exclusive) || record.firstListening !== undefined) {
      if (waitMs > 0) {
        if (holdsAgainst(session, options[7], record, MODE.exclusive)) {
          refuseSelfDeadlock(state, session, seq, name);
          return;
        }
        if (!hasRoomToWait(state, session, seq, record)) return;
      } else if (isFree) {
        state.refuse(session, seq, 'LOCKD_BUSY', `${JSON.stringify(name)} is taken`, obstacle(record, MODE.exclusive));
        return;
      }
      isFree = false;
    }
  }
  if (!hasRoomForNames(state, session, seq, missing)) return;

  const extra = extraOf(leaseMs, options);
  const parts = names.map((name) => {
    let record = state.names.get(name);
    if (record === undefined) {
      record = new NameRecord(name);
      state.names.add(record);
    }
    return new LockRequest(session, seq, record, MODE.exclusive, state.index, waitMs, extra, state.freshStamp);
  });
  if (parts.length > 1) extra.parts = parts;
  const main = parts[0] as LockRequest;
  session.requests.add(main);
  session.answers.set(seq, LIVE);
  if (isFree) {
    grant(state, main);
    return;
  }
  enqueue(state, main);
  state.sink.waiting(session.id, seq, positionOf(main));
}

function enqueue(state: TableState, request: LockRequest): void {
  for (const part of partsOf(request)) part.name.addWaiter(part);
  request.session.waitingCount++;
  state.waitingCount++;
  if (request.waitMs > 0) {
    state.sink.deadlineStarted('wait', request.session.id, request.handle, request.name.name, request.waitMs, 0);
  }
}

/** Where a waiting request stands, 1 for next; of an acquire-all, in the longest of its queues. */
export function positionOf(request: LockRequest): number {
  let position = 0;
  for (const part of partsOf(request)) position = Math.max(position, part.name.positionOf(part));
  return position;
}

/** Tells how a request stands now: the answer to a repeated acquire. */
export function reportRequest(state: TableState, request: LockRequest): void {
  const session = request.session.id;
  if (request.isGranted) state.sink.granted(session, request.handle, request.hold.token, grantDetail(request));
  else state.sink.waiting(session, request.handle, positionOf(request));
}

/** What the options alone decide. False: the acquire has been answered. */
function passesOptions(
  state: TableState,
  session: Session,
  seq: number,
  name: string,
  record: NameRecord | undefined,
  waitMs: number,
  options: Options,
): boolean {
  const [mode, permits, , , , , reenter, holding, steal, onceKey] = options;
  if ((mode === MODE.permit) !== permits > 0 || (steal !== 0 && mode !== MODE.exclusive)) {
    state.refuse(
      session,
      seq,
      'LOCKD_INVALID',
      'permits belong to permit mode, and only an exclusive request can steal',
    );
    return false;
  }
  if (onceKey !== '' && state.completions.has(completionKey(name, onceKey))) {
    state.done(session, seq, { done: true });
    return false;
  }
  if (record === undefined) return true;
  for (const handle of reenter) {
    const held = grantOn(session, handle, record);
    if (held === undefined) continue;
    reenterHold(state, session, seq, held, mode);
    return false;
  }
  // A request that does not wait deadlocks nobody: it is told BUSY.
  if (waitMs > 0 && steal === 0 && holdsAgainst(session, holding, record, mode)) {
    refuseSelfDeadlock(state, session, seq, name);
    return false;
  }
  return true;
}

/** The request of `handle` that holds `record`, whichever of an acquire-all's names it is. */
function grantOn(session: Session, handle: number, record: NameRecord): LockRequest | undefined {
  const request = session.requests.get(handle);
  if (request === undefined || !request.isGranted) return undefined;
  return partsOf(request.hold).find((part) => part.name === record);
}

/** Whether one of the handles the caller says it holds would keep it waiting for ever. */
function holdsAgainst(session: Session, holding: readonly number[], record: NameRecord, mode: number): boolean {
  if (mode === MODE.permit) return false;
  return holding.some((handle) => {
    const held = grantOn(session, handle, record);
    return held !== undefined && (mode === MODE.exclusive || held.mode === MODE.exclusive);
  });
}

/** Shares the hold of `held`: same token, counted; over when the last handle is given up. */
function reenterHold(state: TableState, session: Session, seq: number, held: LockRequest, mode: number): void {
  if (mode === MODE.exclusive && held.mode === MODE.shared) {
    const message = 'a shared hold cannot be re-entered exclusively: upgrade it';
    state.refuse(session, seq, 'LOCKD_CONFLICT', message);
    return;
  }
  if ((mode === MODE.permit) !== (held.mode === MODE.permit)) {
    refuseKind(state, session, seq, held.name);
    return;
  }
  const root = held.main;
  if ((root.extra?.children.length ?? 0) >= state.limits.maxReentries) {
    state.refuse(session, seq, 'LOCKD_LIMIT', `at most ${state.limits.maxReentries} re-entries share a hold`);
    return;
  }
  state.touchRequest(root);
  root.extra ??= new RequestExtra();
  root.flags |= FLAG.shared;
  const extra = new RequestExtra();
  extra.root = root;
  const flags = held.mode | FLAG.granted | FLAG.reentry;
  const request = new LockRequest(session, seq, held.name, flags, ++state.grantCount, 0, extra, state.freshStamp);
  request.token = held.token;
  root.extra.children.push(request);
  session.requests.add(request);
  session.answers.set(seq, LIVE);
  state.heldCount++;
  state.sink.granted(session.id, seq, held.token, grantDetail(request));
}

function extraOf(leaseMs: number, options: Options | undefined): RequestExtra {
  const extra = new RequestExtra();
  extra.leaseMs = leaseMs;
  if (options === undefined) return extra;
  extra.maxHoldMs = options[2];
  extra.minHoldMs = options[3];
  extra.lockDelayMs = options[4];
  extra.metadata = options[5];
  extra.holding = options[7];
  extra.onceKey = options[9];
  return extra;
}

/** Makes a fresh name a semaphore of `limit`, or answers why the request does not fit what stands there. */
function fixLimit(state: TableState, session: Session, seq: number, record: NameRecord, limit: number): boolean {
  if (record.isEmpty) {
    // Of a name that is empty and not dropped yet, the former limit means nothing any more.
    if (record.crowd !== undefined) state.touchLimit(record, record.crowd);
    record.crowd = undefined;
    if (limit > 0) record.crowdOf(limit).stamp = state.freshStamp;
    return true;
  }
  if (limit === 0 || record.limit === 0) {
    refuseKind(state, session, seq, record);
    return false;
  }
  const message = `${JSON.stringify(record.name)} is a semaphore of ${record.limit}, not ${limit}`;
  state.refuse(session, seq, 'LOCKD_CONFLICT', message, { limit: record.limit });
  return false;
}

export function refuseKind(state: TableState, session: Session, seq: number, record: NameRecord): void {
  const kind = record.limit > 0 ? `a semaphore of ${record.limit}` : 'a lock';
  state.refuse(
    session,
    seq,
    'LOCKD_KIND_MISMATCH',
    `${JSON.stringify(record.name)} is ${kind} while anything stands in it`,
  );
}

function refuseSelfDeadlock(state: TableState, session: Session, seq: number, name: string): void {
  const message = `the caller holds ${JSON.stringify(name)} itself and would wait for ever: re-enter it, or do not say it is held`;
  state.refuse(session, seq, 'LOCKD_SELF_DEADLOCK', message);
}

function hasRoomForNames(state: TableState, session: Session, seq: number, count: number): boolean {
  if (state.names.size + count <= state.limits.maxNames) return true;
  state.refuse(session, seq, 'LOCKD_LIMIT', `at most ${state.limits.maxNames} names are locked at a time`);
  return false;
}

function hasRoomToWait(state: TableState, session: Session, seq: number, record: NameRecord): boolean {
  const count = record.queue?.count ?? 0;
  if (count < state.limits.maxWaitersPerName) return true;
  const message = `at most ${state.limits.maxWaitersPerName} requests wait for one name`;
  state.refuse(session, seq, 'LOCKD_LIMIT', message);
  return false;
}

/** What stands in the way of a request that does not want to wait. */
function obstacle(record: NameRecord, mode: number): ErrorDetail {
  if (record.hasRoomFor(mode)) return { because: 'waiter' };
  let reservation: LockRequest | undefined;
  for (let holder = record.holder; holder !== undefined; holder = holder.next) {
    if (!holder.isGhost) return { because: 'holder', holder: holderInfo(holder) };
    reservation ??= holder;
  }
  if (reservation === undefined) return {};
  return { because: (reservation.flags & FLAG.delayPending) !== 0 ? 'delay' : 'minHold' };
}

export function holderInfo(holder: LockRequest): HolderInfo {
  const metadata = holder.extra?.metadata ?? [];
  const info = { session: holder.session.id, handle: holder.handle, token: holder.token, mode: modeName(holder.mode) };
  return metadata.length === 0 ? info : { ...info, metadata: metadataOf(metadata) };
}

/** Flat list to record. `fromEntries` defines own properties, so a key `__proto__` is only a key. */
export function metadataOf(flat: readonly string[]): Readonly<Record<string, string>> {
  const entries: [string, string][] = [];
  for (let position = 0; position + 1 < flat.length; position += 2) {
    entries.push([flat[position] as string, flat[position + 1] as string]);
  }
  return Object.fromEntries(entries);
}
