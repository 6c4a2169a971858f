import type { EndReason, ErrorCode } from '@lockd/client/protocol';
import { type Answer, DONE, endedAnswer, LIVE } from './answers.ts';
import { type LockRequest, partsOf } from './lock-request.ts';
import type { Session } from './session.ts';
import type { Completion, TableState, WorkItem } from './state.ts';

/**
 * The state as flat tuples: what a snapshot contains, and what two replicas compare. First element: the kind.
 * All of the replicated state is in these records and nothing else; what is not here is derived from them.
 */
export const RECORD = {
  session: 1,
  answer: 2,
  request: 3,
  limit: 4,
  completion: 5,
  nonce: 6,
  work: 7,
  globals: 8,
} as const;

export type StateRecord = readonly unknown[];

export function sessionRecords(session: Session): StateRecord[] {
  const records: StateRecord[] = [
    [
      RECORD.session,
      session.id,
      session.nonce,
      session.ttlMs,
      session.flags,
      session.metadata,
      session.epoch,
      session.attachment,
      session.isDetached ? 1 : 0,
      session.isDead ? 1 : 0,
      session.answers.acked,
      session.highestSeq,
    ],
  ];
  session.answers.forEach((seq, answer) => records.push([RECORD.answer, session.id, seq, ...answerFields(answer)]));
  return records;
}

// Values and details as JSON: keys of metadata are anybody's, and MessagePack libraries rename `__proto__`.
function answerFields(answer: Answer): readonly unknown[] {
  switch (answer.type) {
    case 'live':
      return ['live'];
    case 'done':
      return answer.value === null ? ['done'] : ['done', JSON.stringify(answer.value)];
    case 'refused':
      return ['refused', answer.code, answer.message, JSON.stringify(answer.detail)];
    default:
      return ['ended', answer.reason];
  }
}

export function answerFrom(fields: readonly unknown[]): Answer {
  const [type, first, second, third] = fields as string[];
  switch (type) {
    case 'live':
      return LIVE;
    case 'done':
      return first === undefined ? DONE : { type, value: JSON.parse(first) };
    case 'refused':
      return { type, code: first as ErrorCode, message: second ?? '', detail: JSON.parse(third ?? 'null') };
    case 'ended':
      return endedAnswer(first as EndReason);
    default:
      throw new Error(`unknown kind of answer in a snapshot: ${type}`);
  }
}

/** Record of a whole request (the main part of an acquire-all), of a ghost, or of an orphaned hold. */
export function requestRecord(request: LockRequest): StateRecord {
  const extra = request.extra;
  const head = [RECORD.request, request.session.id, request.handle, request.name.name, request.flags];
  if (extra === undefined) return [...head, request.token, request.order, request.waitMs];
  // A ghost stands alone, also when it is what is left of one name of an acquire-all.
  const parts = request.isGhost ? [request] : partsOf(request);
  const fields: readonly unknown[] = [
    extra.leaseMs,
    extra.generation,
    extra.after,
    extra.maxHoldMs,
    extra.minHoldMs,
    extra.lockDelayMs,
    extra.slot,
    extra.onceKey,
    extra.metadata,
    extra.holding,
    extra.root === undefined ? 0 : extra.root.order,
  ];
  const record: unknown[] = [...head, request.token, request.order, request.waitMs, ...fields];
  if (parts.length > 1) record.push(parts.map((part) => [part.name.name, part.order, part.flags]));
  return record;
}

export function limitRecord(name: string, limit: number): StateRecord {
  return [RECORD.limit, name, limit];
}

export function completionRecord(completion: Completion): StateRecord {
  return [RECORD.completion, completion.key, completion.keepMs, completion.generation];
}

export function nonceRecord(nonce: string, endedAt: number): StateRecord {
  return [RECORD.nonce, nonce, endedAt];
}

/** `place` orders the items. */
export function workRecord(place: number, item: WorkItem): StateRecord {
  switch (item.type) {
    case 'clear':
      return [RECORD.work, place, item.type, item.session.id, item.isClean ? 1 : 0];
    case 'revisit':
      return [RECORD.work, place, item.type, item.session.id, item.after, item.upTo];
    default:
      return [RECORD.work, place, item.type, item.record.name];
  }
}

/** Where the next table begins: its counters, as of `index`. */
export function globalsRecord(state: TableState): StateRecord {
  return [RECORD.globals, state.index, state.term, state.grantCount, state.endedNonces.watermark];
}
