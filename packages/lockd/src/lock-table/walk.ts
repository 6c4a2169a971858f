import { type LockRequest, partsOf } from './lock-request.ts';
import {
  completionRecord,
  globalsRecord,
  limitRecord,
  nonceRecord,
  requestRecord,
  type StateRecord,
  sessionRecords,
  workRecord,
} from './records.ts';
import type { TableState } from './state.ts';

/** Keeps count of what a walk has contained: see `SnapshotReader`. `take` is false for what must not be contained (again). */
export interface Visits {
  take(record: { stamp: number }): boolean;
  takeNonce(endedAt: number): boolean;
}

/**
 * All records of the state, lazily: the table may change between two steps, as long as whoever changes a record tells
 * the visits first. Maps may be changed while they are iterated; what is added meanwhile is visited and not taken.
 * Yields undefined for what was not taken, so that a step is always short.
 */
export function* walk(state: TableState, visits: Visits): Generator<StateRecord | undefined, void, void> {
  // These are small and taken at once, at the index of the snapshot.
  const first = [globalsRecord(state), ...state.work.map((item, place) => workRecord(place, item))];
  yield* first;
  for (const session of state.sessions.values()) {
    if (visits.take(session)) yield* sessionRecords(session);
    else yield undefined;
    for (const request of session.requests.values()) {
      if (visits.take(request)) {
        yield takeParts(request, visits);
      } else {
        yield undefined;
      }
    }
  }
  for (const request of state.reserved.values()) {
    yield request.isGhost && visits.take(request) ? requestRecord(request) : undefined;
  }
  for (const orphan of state.orphans) yield visits.take(orphan) ? takeParts(orphan, visits) : undefined;
  for (const record of state.names.values()) {
    const crowd = record.crowd;
    const isTaken = crowd !== undefined && crowd.limit > 0 && visits.take(crowd);
    yield isTaken ? limitRecord(record.name, crowd.limit) : undefined;
  }
  for (const completion of state.completions.values()) {
    yield visits.take(completion) ? completionRecord(completion) : undefined;
  }
  for (const [nonce, endedAt] of state.endedNonces.entries()) {
    yield visits.takeNonce(endedAt) ? nonceRecord(nonce, endedAt) : undefined;
  }
}

/** A request is contained with all its parts. */
function takeParts(request: LockRequest, visits: Visits): StateRecord {
  for (const part of partsOf(request)) visits.take(part);
  return requestRecord(request);
}
