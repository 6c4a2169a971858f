import { reportRequest } from './acquire.ts';
import type { AttachCommand, OpenCommand, SessionCommand } from './command.ts';
import { Session } from './session.ts';
import type { TableState, WorkItem } from './state.ts';

/** Opens a session named by this entry's index; a repeated open of a live session finds it. */
export function open(state: TableState, command: OpenCommand): void {
  const [, nonce, ttlMs, openedAfter, flags, metadata] = command;
  const { sink, index } = state;
  const before = state.byNonce.get(nonce);
  if (before !== undefined) {
    if (before.isDetached && before.isConnectionBound) {
      const message = 'this session belongs to a connection that is closed';
      sink.openRefused(nonce, 'LOCKD_SESSION_EXPIRED', message);
      return;
    }
    // The first answer was lost with its connection, and the next connection asks: it speaks as epoch 1 too.
    if (before.epoch === 1 && before.isDetached) listenAgain(state, before);
    sink.sessionOpened(before.id, nonce, before.ttlMs);
    return;
  }
  if (openedAfter > index) {
    sink.openRefused(
      nonce,
      'LOCKD_INVALID',
      `openedAfter ${openedAfter} is not an index that anybody can have seen yet`,
    );
    return;
  }
  // It may be a late duplicate of an open whose session has ended, and must not revive it.
  if (state.endedNonces.has(nonce) || openedAfter < state.endedNonces.watermark) {
    sink.openRefused(nonce, 'LOCKD_SESSION_EXPIRED', 'this open is too old: open with a new nonce');
    return;
  }
  if (state.liveSessionCount >= state.limits.maxSessions) {
    sink.openRefused(nonce, 'LOCKD_LIMIT', `at most ${state.limits.maxSessions} sessions are open at a time`);
    return;
  }
  const session = new Session(index, nonce, ttlMs, flags, metadata, index);
  session.stamp = state.freshStamp;
  state.sessions.set(index, session);
  state.byNonce.set(nonce, session);
  state.liveSessionCount++;
  sink.sessionOpened(index, nonce, ttlMs);
}

/** A new connection takes the session over. */
export function attach(state: TableState, command: AttachCommand): void {
  const [, id, nonce, epoch] = command;
  const { sink } = state;
  const session = liveSession(state, id);
  if (session === undefined) {
    sink.attachRefused(id, epoch, 'LOCKD_SESSION_EXPIRED', missing(state, id));
    return;
  }
  if (session.nonce !== nonce) {
    sink.attachRefused(id, epoch, 'LOCKD_UNAUTHORIZED', `wrong nonce for session ${id}`);
    return;
  }
  if (session.isConnectionBound) {
    sink.attachRefused(id, epoch, 'LOCKD_INVALID', `session ${id} belongs to the connection that opened it`);
    return;
  }
  if (epoch <= session.epoch) {
    sink.attachRefused(
      id,
      epoch,
      'LOCKD_CONFLICT',
      `session ${id} has been attached as epoch ${session.epoch} already`,
    );
    return;
  }
  state.touchSession(session);
  session.epoch = epoch;
  listenAgain(state, session);
  sink.sessionAttached(id, epoch, session.ttlMs);
}

/** Its connection is closed, says the node that had it. */
export function detach(state: TableState, id: number, epoch: number): void {
  const session = liveSession(state, id);
  if (session === undefined || session.epoch !== epoch || session.isDetached) return;
  if (session.isReleasedOnDisconnect) {
    endSession(state, session, 'disconnected', false);
    return;
  }
  state.touchSession(session);
  session.isDetached = true;
  state.sink.sessionDetached(id);
  // Those behind its waiters may have their turn now.
  revisit(state, session);
}

/** A live connection speaks for the session again: an expiry decided before is void, and its waiters get what is free. */
function listenAgain(state: TableState, session: Session): void {
  state.touchSession(session);
  session.attachment = state.index;
  state.sink.sessionHeard(session.id);
  if (!session.isDetached) return;
  session.isDetached = false;
  revisit(state, session);
}

/** Ends a live session. `isClean`: by its owner, so that no lock-delay begins. What does not fit into this entry is left as work. */
export function endSession(state: TableState, session: Session, reason: string, isClean: boolean): void {
  state.touchSession(session);
  session.isDead = true;
  state.liveSessionCount--;
  state.byNonce.delete(session.nonce);
  state.rememberEnded(session.nonce);
  state.sink.sessionEnded(session.id, reason);
  // Planned work goes before the session does.
  if (session.requests.size === 0 && plannedRevisit(state, session) === undefined) state.sessions.delete(session.id);
  else state.work.push({ type: 'clear', session, isClean });
}

/** The leader of `term` found the session expired, `seenAttachment` being its last. */
export function expireSession(state: TableState, id: number, term: number, seenAttachment: number): void {
  const session = liveSession(state, id);
  if (session === undefined || term !== state.term || session.attachment !== seenAttachment) {
    state.refusedEnds++;
    return;
  }
  endSession(state, session, 'expired', false);
}

function revisit(state: TableState, session: Session): void {
  if (session.waitingCount === 0) return;
  const upTo = session.highestSeq;
  const planned = plannedRevisit(state, session);
  if (planned === undefined) {
    state.work.push({ type: 'revisit', session, after: 0, upTo });
  } else {
    planned.after = 0;
    planned.upTo = upTo;
  }
}

function plannedRevisit(state: TableState, session: Session): (WorkItem & { type: 'revisit' }) | undefined {
  return state.work.find(
    (item): item is WorkItem & { type: 'revisit' } => item.type === 'revisit' && item.session === session,
  );
}

export function liveSession(state: TableState, id: number): Session | undefined {
  const session = state.sessions.get(id);
  return session === undefined || session.isDead ? undefined : session;
}

function missing(state: TableState, id: number): string {
  return id < state.index ? `session ${id} has ended` : `there is no session ${id}`;
}

/**
 * The session of an operation that shall take effect now, with everything about at-most-once done; undefined where it
 * shall not: repeated, stale, refused.
 */
export function admit(state: TableState, command: SessionCommand): Session | undefined {
  const id = command[1];
  const seq = command[3];
  const acked = command[4];
  const session = state.sessions.get(id);
  if (session === undefined || session.isDead) {
    state.sink.refused(id, seq, 'LOCKD_SESSION_EXPIRED', missing(state, id), null);
    return undefined;
  }
  // A connection that has been replaced. Silence: an answer would go to the new one, which has sent this operation
  // again and would take the refusal for its fate.
  if (command[2] !== session.epoch || acked >= seq) {
    state.staleOperations++;
    return undefined;
  }
  state.touchSession(session);
  // Only a connection that is alive can have sent it (a repeated open gives epoch 1 a second connection).
  if (session.isDetached && !session.isConnectionBound) listenAgain(state, session);
  const answers = session.answers;
  if (acked > answers.acked) answers.acknowledge(acked);
  if (seq > answers.acked + state.limits.window) {
    const message = `at most ${state.limits.window} operations may be unacknowledged: ${seq} is too far after ${answers.acked}`;
    state.sink.refused(id, seq, 'LOCKD_LIMIT', message, null);
    return undefined;
  }
  if (seq > session.highestSeq) {
    session.highestSeq = seq;
    return session;
  }
  if (seq > answers.acked && answers.get(seq) === undefined) return session;
  state.staleOperations++;
  repeatAnswer(state, session, seq);
  return undefined;
}

/** What became of an operation that took effect before; silence where its client has the answer. */
function repeatAnswer(state: TableState, session: Session, seq: number): void {
  const request = session.requests.get(seq);
  if (request !== undefined) {
    reportRequest(state, request);
    return;
  }
  const answer = session.answers.get(seq);
  switch (answer?.type) {
    case 'done':
      state.sink.answered(session.id, seq, answer.value);
      return;
    case 'refused':
      state.sink.refused(session.id, seq, answer.code, answer.message, answer.detail);
      return;
    case 'ended':
      state.sink.ended(session.id, seq, answer.reason);
      return;
    default:
  }
}
