import { MODE } from './command.ts';
import { addOrphan } from './grants.ts';
import type { TableLimits } from './limits.ts';
import { FLAG, LockRequest, partsOf, RequestExtra } from './lock-request.ts';
import { NameMap } from './name-map.ts';
import { NameRecord } from './name-record.ts';
import { answerFrom, RECORD, type StateRecord } from './records.ts';
import { NOBODY, Session } from './session.ts';
import { TableState } from './state.ts';

/** Those who stand on names. */
type Lines = NameMap<{ readonly name: string; readonly record: NameRecord; readonly requests: LockRequest[] }>;

/** Makes a state of records in any order. Throws on records that fit no state. */
export class Restoration {
  readonly #state: TableState;
  /** Came before their session. */
  #early: StateRecord[] = [];
  readonly #waiters: Lines = new NameMap();
  /** Holders of names that several can hold. */
  readonly #crowds: Lines = new NameMap();
  readonly #limits: { readonly record: NameRecord; readonly limit: number }[] = [];
  /** Holds that were re-entered, by number of their grant; and who re-entered them. */
  readonly #roots: Map<number, LockRequest> = new Map();
  readonly #reentries: { readonly request: LockRequest; readonly root: number }[] = [];
  readonly #nonces: (readonly [nonce: string, endedAt: number])[] = [];
  readonly #work: StateRecord[] = [];
  readonly #remaining: Generator<void, void, void> = this.#join();
  #hasGlobals = false;
  #watermark = 0;

  constructor(limits: TableLimits) {
    this.#state = new TableState(limits);
  }

  add(record: StateRecord): void {
    const state = this.#state;
    switch (record[0]) {
      case RECORD.globals:
        [, state.index, state.term, state.grantCount, this.#watermark] = record as number[] as [
          number,
          number,
          number,
          number,
          number,
        ];
        this.#hasGlobals = true;
        return;
      case RECORD.session:
        this.#addSession(record);
        return;
      case RECORD.answer: {
        const session = state.sessions.get(record[1] as number);
        if (session === undefined) this.#early.push(record);
        else session.answers.set(record[2] as number, answerFrom(record.slice(3)));
        return;
      }
      case RECORD.request: {
        const id = record[1] as number;
        const session = id === 0 ? NOBODY : state.sessions.get(id);
        if (session === undefined) this.#early.push(record);
        else this.#addRequest(session, record);
        return;
      }
      case RECORD.limit:
        this.#limits.push({ record: this.#nameOf(record[1] as string), limit: record[2] as number });
        return;
      case RECORD.completion: {
        const [, key, keepMs, generation] = record as [number, string, number, number];
        state.completions.set(key, { key, keepMs, generation, stamp: 0 });
        return;
      }
      case RECORD.nonce:
        this.#nonces.push([record[1] as string, record[2] as number]);
        return;
      case RECORD.work:
        this.#work.push(record);
        return;
      default:
        throw new Error(`unknown kind of record in a snapshot: ${String(record[0])}`);
    }
  }

  /** All records were added: joins up to so many of them to what belongs to them. True when nothing is left to join. */
  settle(count: number): boolean {
    for (let joined = 0; joined < count; joined++) if (this.#remaining.next().done === true) return true;
    return false;
  }

  /** All records were added. */
  finish(): TableState {
    while (!this.settle(Number.POSITIVE_INFINITY));
    return this.#state;
  }

  *#join(): Generator<void, void, void> {
    const state = this.#state;
    if (!this.#hasGlobals) throw new Error('the snapshot has no record of its index');
    const early = this.#early;
    this.#early = [];
    for (const record of early) yield this.add(record);
    if (this.#early.length > 0) throw new Error(`the snapshot lacks session ${String(this.#early[0]?.[1])}`);

    for (const { record, limit } of this.#limits) yield void record.crowdOf(limit);
    for (const { record, requests } of this.#crowds.values()) yield* this.#line(record, requests);
    for (const { record, requests } of this.#waiters.values()) yield* this.#queue(record, requests);
    yield* this.#joinReentries();
    this.#nonces.sort((a, b) => a[1] - b[1]);
    for (const [nonce, endedAt] of this.#nonces) yield void state.endedNonces.add(nonce, endedAt);
    state.endedNonces.watermark = this.#watermark;
    for (const record of this.#work.sort((a, b) => (a[1] as number) - (b[1] as number))) yield this.#addWork(record);
  }

  #addSession(record: StateRecord): void {
    const [, id, nonce, ttlMs, flags, metadata, epoch, attachment, isDetached, isDead, acked, highestSeq] = record as [
      number,
      number,
      string,
      number,
      number,
      string[],
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const session = new Session(id, nonce, ttlMs, flags, metadata, attachment);
    session.epoch = epoch;
    session.isDetached = isDetached === 1;
    session.isDead = isDead === 1;
    session.answers.acknowledge(acked);
    session.highestSeq = highestSeq;
    this.#state.sessions.set(id, session);
    if (session.isDead) return;
    this.#state.byNonce.set(nonce, session);
    this.#state.liveSessionCount++;
  }

  #addRequest(session: Session, record: StateRecord): void {
    const state = this.#state;
    const [, , handle, name, flags, token, order, waitMs] = record as [
      number,
      number,
      number,
      string,
      number,
      number,
      number,
      number,
    ];
    const extra = record.length > 8 ? extraFrom(record) : undefined;
    const request = new LockRequest(session, handle, this.#nameOf(name), flags, order, waitMs, extra, 0);
    request.token = token;
    const parts = record[19] as readonly (readonly [string, number, number])[] | undefined;
    if (parts !== undefined && extra !== undefined) {
      extra.parts = parts.map(([partName, partOrder, partFlags], place) => {
        if (place === 0) return request;
        const part = new LockRequest(session, handle, this.#nameOf(partName), partFlags, partOrder, waitMs, extra, 0);
        part.token = token;
        return part;
      });
    }
    if ((flags & FLAG.orphan) !== 0) addOrphan(state, request);
    else if ((flags & FLAG.ghost) === 0) this.#giveTo(session, request);
    if ((flags & FLAG.shared) !== 0) this.#roots.set(order, request);
    if ((flags & FLAG.reentry) !== 0) {
      this.#reentries.push({ request, root: record[18] as number });
      return;
    }
    for (const part of partsOf(request)) this.#place(part);
  }

  #giveTo(session: Session, request: LockRequest): void {
    session.requests.add(request);
    if (request.isGranted) {
      this.#state.heldCount++;
    } else {
      session.waitingCount++;
      this.#state.waitingCount++;
    }
  }

  /** Among the holders or the waiters of its name. */
  #place(part: LockRequest): void {
    const record = part.name;
    if (!part.isGranted) pushTo(this.#waiters, record, part);
    else if (part.mode === MODE.exclusive) record.addHolder(part);
    else pushTo(this.#crowds, record, part);
    if ((part.flags & (FLAG.minHoldPending | FLAG.delayPending)) !== 0) this.#state.reserved.set(part.order, part);
  }

  *#line(record: NameRecord, holders: LockRequest[]): Generator<void, void, void> {
    const crowd = record.crowdOf(0);
    for (const holder of holders.sort(byOrder)) {
      yield;
      record.addHolder(holder);
      if (holder.mode === MODE.permit) {
        crowd.slots?.take(holder.extra?.slot ?? 1);
      } else if (!holder.isGhost) {
        crowd.sharedCount++;
        crowd.phaseToken = holder.token;
      }
    }
  }

  *#queue(record: NameRecord, waiters: LockRequest[]): Generator<void, void, void> {
    for (const waiter of waiters.sort(byOrder)) {
      yield;
      const { order } = waiter;
      // `addWaiter` puts negative orders first, and these come sorted.
      waiter.order = 1;
      record.addWaiter(waiter);
      waiter.order = order;
    }
  }

  *#joinReentries(): Generator<void, void, void> {
    for (const { request, root } of this.#reentries.sort((a, b) => byOrder(a.request, b.request))) {
      yield;
      const holder = this.#roots.get(root);
      if (holder?.extra === undefined || request.extra === undefined)
        throw new Error(`the snapshot lacks the hold of grant ${root}`);
      request.extra.root = holder;
      holder.extra.children.push(request);
    }
  }

  #addWork(record: StateRecord): void {
    const state = this.#state;
    const [, , type, subject, first, second] = record as [number, number, string, unknown, number, number];
    if (type === 'pump') {
      const name = this.#nameOf(subject as string);
      name.isDue = true;
      state.work.push({ type, record: name });
      return;
    }
    const session = state.sessions.get(subject as number);
    if (session === undefined) throw new Error('the snapshot has work for a session that it lacks');
    if (type === 'clear') state.work.push({ type, session, isClean: first === 1 });
    else state.work.push({ type: 'revisit', session, after: first, upTo: second });
  }

  #nameOf(name: string): NameRecord {
    let record = this.#state.names.get(name);
    if (record === undefined) {
      record = new NameRecord(name);
      this.#state.names.add(record);
    }
    return record;
  }
}

function byOrder(a: LockRequest, b: LockRequest): number {
  return a.order - b.order;
}

function pushTo(lines: Lines, record: NameRecord, request: LockRequest): void {
  const line = lines.get(record.name);
  if (line === undefined) lines.add({ name: record.name, record, requests: [request] });
  else line.requests.push(request);
}

/** The fields after the plain ones, as `requestRecord` writes them. */
function extraFrom(record: StateRecord): RequestExtra {
  const extra = new RequestExtra();
  extra.leaseMs = record[8] as number;
  extra.generation = record[9] as number;
  extra.after = record[10] as number;
  extra.maxHoldMs = record[11] as number;
  extra.minHoldMs = record[12] as number;
  extra.lockDelayMs = record[13] as number;
  extra.slot = record[14] as number;
  extra.onceKey = record[15] as string;
  extra.metadata = record[16] as string[];
  extra.holding = record[17] as number[];
  return extra;
}
