import { endHold, endWaiting, pump, settleDue } from './grants.ts';
import { type LockRequest, partsOf } from './lock-request.ts';
import type { TableState, WorkItem } from './state.ts';

const anyRequest = (): boolean => true;
const waits = (request: LockRequest): boolean => !request.isGranted;

/** Goes on with the work that did not fit into earlier entries, in order, as far as this entry's budget goes. */
export function continueWork(state: TableState): void {
  for (;;) {
    const item = state.work[0];
    if (item === undefined || state.budget <= 0) return;
    if (!step(state, item)) return;
    state.work.shift();
    settleDue(state);
  }
}

/** True when the item is finished. Otherwise the budget is used up. */
function step(state: TableState, item: WorkItem): boolean {
  switch (item.type) {
    case 'clear': {
      const { session } = item;
      for (const request of session.next(0, state.budget, anyRequest)) {
        if (state.budget <= 0) return false;
        // It may have gone with another: a re-entry goes with its hold.
        if (session.requests.get(request.handle) !== request) continue;
        state.budget -= partsOf(request).length;
        if (request.isGranted) endHold(state, request.hold, 'session-ended', !item.isClean);
        else endWaiting(state, request, 'session-ended');
        settleDue(state);
      }
      if (session.requests.size > 0) return false;
      state.touchSession(session);
      state.sessions.delete(session.id);
      return true;
    }
    case 'revisit': {
      const { session } = item;
      // Who died meanwhile is cleared by an item of its own.
      if (session.isDead) return true;
      const visited = session.next(item.after, state.budget, waits);
      for (const request of visited) {
        if (state.budget <= 0) return false;
        if (request.handle > item.upTo) return true;
        item.after = request.handle;
        state.budget--;
        if (request.isGranted) continue;
        for (const part of partsOf(request)) state.markDue(part.name);
        settleDue(state);
      }
      return state.budget > 0;
    }
    default:
      // If it still has more to grant, it queues again, behind the others.
      item.record.isDue = false;
      pump(state, item.record);
      return true;
  }
}
