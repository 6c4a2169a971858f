import type { HolderInfo, NameInfo, RequestState } from '@lockd/client/protocol';
import { holderInfo, positionOf } from './acquire.ts';
import { grantDetail } from './grants.ts';
import { type LockRequest, modeName } from './lock-request.ts';
import type { NameRecord } from './name-record.ts';
import type { TableState } from './state.ts';

/** Holders and waiters shown of one name: the first ones, and in a list fewer. */
const SHOWN = 1000;
const SHOWN_IN_LIST = 20;
/** Keys and values of holders' metadata in one answer, in UTF-16 code units; further holders are shown without theirs. */
export const SHOWN_METADATA_LENGTH = 262_144;

/** What of the answer's room for metadata is left. */
interface Room {
  metadata: number;
}

export function inspectName(state: TableState, name: string): NameInfo | undefined {
  const record = state.names.get(name);
  return record === undefined ? undefined : nameInfo(state, record, SHOWN, { metadata: SHOWN_METADATA_LENGTH });
}

/**
 * The first `limit` names with the prefix that come after `after`, by UTF-16 code units. Looks at every name: some 30 ms
 * for a million, because a sorted structure would cost every acquire and release.
 */
export function listNames(state: TableState, prefix: string, limit: number, after: string | undefined): NameInfo[] {
  if (limit <= 0) return [];
  const found: string[] = [];
  let worst: string | undefined;
  for (const name of state.names.keys()) {
    if (!name.startsWith(prefix) || (after !== undefined && name <= after)) continue;
    if (worst !== undefined && name >= worst) continue;
    found.push(name);
    // Twice the limit, then sorted and cut: a comparison or two for each name, on average.
    if (found.length >= 2 * limit) {
      found.sort(byCodeUnits);
      found.length = limit;
      worst = found[limit - 1];
    }
  }
  found.sort(byCodeUnits);
  const room: Room = { metadata: SHOWN_METADATA_LENGTH };
  return found.slice(0, limit).map((name) => nameInfo(state, state.names.get(name) as NameRecord, SHOWN_IN_LIST, room));
}

export function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function nameInfo(state: TableState, record: NameRecord, shown: number, room: Room): NameInfo {
  const holders = [];
  let holderCount = 0;
  for (let holder = record.holder; holder !== undefined; holder = holder.next) {
    if (holder.isGhost) continue;
    holderCount++;
    if (holders.length < shown) holders.push(shownHolder(holder, room));
  }
  const waiters = [];
  for (let waiter = record.queue?.head; waiter !== undefined && waiters.length < shown; waiter = waiter.next) {
    const mode = modeName(waiter.mode);
    waiters.push({ session: waiter.session.id, handle: waiter.handle, mode, position: waiters.length + 1 });
  }
  return {
    name: record.name,
    kind: record.limit > 0 ? 'semaphore' : 'lock',
    limit: record.limit > 0 ? record.limit : null,
    holders,
    waiters,
    holderCount,
    waiterCount: record.queue?.count ?? 0,
    index: state.index,
  };
}

function shownHolder(holder: LockRequest, room: Room): HolderInfo {
  const info = holderInfo(holder);
  if (info.metadata === undefined) return info;
  for (const [key, value] of Object.entries(info.metadata)) room.metadata -= key.length + value.length;
  if (room.metadata >= 0) return info;
  const { session, handle, token, mode } = info;
  return { session, handle, token, mode };
}

/** How a request stands: the answer to `ask`. What nobody knows any more is ended, for an unknown reason. */
export function requestState(state: TableState, session: number, handle: number): RequestState {
  const owner = state.sessions.get(session);
  if (owner === undefined || owner.isDead) return [handle, 'ended', 'session-ended'];
  const request = owner.requests.get(handle);
  if (request === undefined) {
    const answer = owner.answers.get(handle);
    return [handle, 'ended', answer?.type === 'ended' ? answer.reason : 'unknown'];
  }
  if (!request.isGranted) return [handle, 'waiting', positionOf(request)];
  return [handle, 'granted', request.hold.token, grantDetail(request)];
}
