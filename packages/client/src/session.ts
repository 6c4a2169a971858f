import type { Instant } from './clock.ts';
import type { LockdError, LossReason, Refusal } from './errors.ts';
import { laterOf } from './lease-clock.ts';
import { LeaseRenewer, type LeaseState } from './lease-renewer.ts';
import { LockRequest } from './lock-request.ts';
import { isWorthRetrying, type Operation } from './operation.ts';
import { type ClientMessage, type EndReason, type GrantDetail, LIMITS, type RequestState } from './protocol/index.ts';

const WINDOW = LIMITS.window;
const MASK = WINDOW - 1;

/**
 * One session: what was sent, what was answered, what is held. No IO and no clock: `take` says what to send, the
 * methods named after messages take what came, and the caller flushes.
 *
 * Invariant: `acked < every unanswered seq < nextSeq <= acked + WINDOW + 1`.
 */
export class Session {
  /** 0 until opened. */
  id = 0;
  readonly nonce: string;
  /** Of the newest attachment asked for; opening is the first. */
  epoch = 1;
  ttlMs: number;
  /** See `open` in docs/protocol.md: fixed with the nonce. */
  openedAfter: number | undefined;
  openSentAt: Instant | undefined;
  /** Opened or attached on the present connection: operations may be sent. */
  isAttached = false;
  /** When the attach or open that is under way was sent. */
  attachSentMs: number | undefined;
  /** The id under which it was sent; 0 for one in the hello. */
  attachId = 0;
  isOver = false;
  /** Its own `close`, the one operation that is sent after its end. */
  closing: Operation | undefined;
  renewer: LeaseRenewer | undefined;
  /** Requests that were answered and are not over: waiters and grants by handle. */
  readonly requests: Map<number, LockRequest> = new Map<number, LockRequest>();
  /** Handles of grants that were lost and whose names are to rest, until the service has said that it ended them. */
  readonly #endingWithDelay = new Set<number>();

  #nextSeq = 1;
  #acked = 0;
  /** Unanswered operations by `seq & MASK`. */
  readonly #unanswered: (Operation | undefined)[] = new Array<Operation | undefined>(WINDOW).fill(undefined);
  #unansweredCount = 0;
  /** Earliest sending of each of the last WINDOW numbers. */
  readonly #sentAt: (Instant | undefined)[] = new Array<Instant | undefined>(WINDOW).fill(undefined);
  /** To be sent again, in order. */
  readonly #repeats: Set<Operation> = new Set<Operation>();
  #asks: number[] = [];
  /** An ask of this attachment has no answer yet. */
  #isAsking = false;
  readonly #queue = new OperationQueue();
  /** Releases and cancels pass what only takes. */
  readonly #urgent = new OperationQueue();

  constructor(nonce: string, ttlMs: number) {
    this.nonce = nonce;
    this.ttlMs = ttlMs;
  }

  get acked(): number {
    return this.#acked;
  }

  get unansweredCount(): number {
    return this.#unansweredCount;
  }

  /** Operations that wait for room in the window, or for a connection. */
  get queuedCount(): number {
    return this.#queue.length;
  }

  /** Something could be sent if the session is attached. */
  get hasWork(): boolean {
    return (
      this.#repeats.size > 0 || this.#mayAsk || ((this.#urgent.length > 0 || this.#queue.length > 0) && this.#hasRoom)
    );
  }

  /** Somebody waits for an answer to something that is sent or about to be. Slow. */
  get isAwaited(): boolean {
    for (let seq = this.#acked + 1; seq < this.#nextSeq; seq++) {
      if (this.#unanswered[seq & MASK]?.isAwaited === true) return true;
    }
    return this.#urgent.isAwaited;
  }

  get #hasRoom(): boolean {
    return this.#nextSeq <= this.#acked + WINDOW;
  }

  submit(operation: Operation): void {
    this.#queue.push(operation);
  }

  /** An acquire that was never sent is not wanted any more. */
  withdraw(operation: Operation): void {
    operation.isWithdrawn = true;
    if (operation.isQueued) this.#queue.withdrawOne();
  }

  submitUrgent(operation: Operation): void {
    this.#urgent.push(operation);
  }

  state(now: Instant): LeaseState {
    if (this.isOver) return 'lost';
    return this.renewer?.state(now) ?? 'held';
  }

  opened(id: number, ttlMs: number): void {
    this.id = id;
    this.ttlMs = ttlMs;
    this.renewer = new LeaseRenewer(ttlMs, this.openSentAt as Instant);
    this.isAttached = true;
    this.attachSentMs = undefined;
  }

  /** What has no answer is sent again, in order, and what was answered is asked about: its news may be lost. */
  attached(): void {
    this.isAttached = true;
    this.attachSentMs = undefined;
    this.#repeats.clear();
    for (let seq = this.#acked + 1; seq < this.#nextSeq; seq++) {
      const operation = this.#unanswered[seq & MASK];
      if (operation !== undefined) this.#repeats.add(operation);
    }
    this.#asks = [];
    this.#isAsking = false;
    for (const request of this.requests.values()) if (request.wantsNews) this.#asks.push(request.seq);
    this.#asks.push(...this.#endingWithDelay);
  }

  detached(): void {
    this.isAttached = false;
    this.attachSentMs = undefined;
    this.#repeats.clear();
    this.#asks = [];
  }

  /** Appends what may be sent now: repeats first, in their order, then what is new within the window. */
  take(now: Instant, out: ClientMessage[]): void {
    if (this.#repeats.size > 0) {
      for (const operation of this.#repeats) {
        operation.isRepeated = true;
        operation.lastSentMs = now.monotonicMs;
        out.push(operation.message(this.id, operation.seq, this.#acked));
      }
      this.#repeats.clear();
    }
    while (this.#hasRoom) {
      const operation = this.#urgent.shift() ?? this.#queue.shift();
      if (operation === undefined) break;
      const seq = this.#nextSeq++;
      operation.seq = seq;
      operation.firstSentAt = now;
      operation.lastSentMs = now.monotonicMs;
      this.#unanswered[seq & MASK] = operation;
      this.#unansweredCount++;
      this.#sentAt[seq & MASK] = now;
      out.push(operation.message(this.id, seq, this.#acked));
    }
    if (this.#mayAsk) {
      this.#isAsking = true;
      out.push(['ask', this.id, this.#asks.splice(0, LIMITS.maxHandlesPerAsk)]);
    }
  }

  /** The answer to an ask has come in full. */
  askAnswered(): void {
    this.#isAsking = false;
  }

  /** One at a time: a hundred thousand held locks asked about at once would hold up everybody's grants after a failover. */
  get #mayAsk(): boolean {
    return this.#asks.length > 0 && !this.#isAsking;
  }

  /** How long the oldest unanswered operation has been without an answer since it was last sent; 0 where there is none. */
  stalledMs(now: Instant): number {
    const oldest = this.#unanswered[(this.#acked + 1) & MASK];
    return oldest === undefined ? 0 : now.monotonicMs - oldest.lastSentMs;
  }

  /**
   * The latest moment known to lie before the server made a grant whose log had `after` as this session's highest
   * number: nothing the grant starts on the server can have begun earlier.
   */
  notBefore(after: number, handle: LockRequest): Instant | undefined {
    const remembered =
      after >= this.#nextSeq - WINDOW && after < this.#nextSeq ? this.#sentAt[after & MASK] : undefined;
    if (handle.firstSentAt === undefined) return remembered;
    return laterOf(handle.firstSentAt, remembered);
  }

  ok(seq: number, value: unknown): void {
    const operation = this.#answer(seq);
    if (operation !== undefined) operation.succeeded(value);
    // A waiting `once` whose completion record came meanwhile.
    else this.requests.get(seq)?.succeeded(value);
  }

  /**
   * Returns the operation where it shall be sent again after a while: submitted anew where its number is used up, which
   * makes it 0, else by `repeat`.
   */
  refused(seq: number, refusal: Refusal): Operation | undefined {
    const unanswered = this.#unanswered[seq & MASK];
    if (unanswered?.seq === seq && isWorthRetrying(refusal)) {
      // Only the answer to a first and only sending can say that nothing happened. What was sent before, on a connection
      // that broke, may have been applied: under another number it would be applied twice, and an acquire would wait
      // behind a grant that nobody knows of. The number stays until the state machine itself has answered.
      if (unanswered.isRepeated || refusal.outcome !== 'not-applied') return unanswered;
    }
    const operation = this.#answer(seq);
    if (operation === undefined) {
      this.requests.get(seq)?.refused(refusal);
      return undefined;
    }
    if (operation.refused(refusal) !== 'retry') return undefined;
    operation.seq = 0;
    operation.isRepeated = false;
    return operation;
  }

  /** Sends it again under its number. Nothing where it has its answer by now, or goes out with the next attachment. */
  repeat(operation: Operation): void {
    if (this.isAttached && this.#unanswered[operation.seq & MASK] === operation) this.#repeats.add(operation);
  }

  granted(handle: number, token: number, detail: GrantDetail | null, isLeader: boolean): void {
    const operation = this.#answer(handle);
    const isAnswer = operation !== undefined;
    (operation ?? this.requests.get(handle))?.granted(
      token,
      detail,
      isAnswer && !operation.isRepeated,
      // A push follows its grant. The answer to a repeated acquire may come long after it.
      !isAnswer && isLeader,
    );
  }

  waiting(handle: number, position: number): void {
    const operation = this.#answer(handle);
    (operation ?? this.requests.get(handle))?.isWaiting(position);
  }

  ended(handle: number, reason: EndReason): void {
    const operation = this.#answer(handle);
    (operation ?? this.requests.get(handle))?.ended(reason);
    this.#endingWithDelay.delete(handle);
  }

  /** Answer to an ask. What became over, or was given back, while it travelled is not touched. */
  told(state: RequestState): void {
    if (state[1] !== 'granted') this.#endingWithDelay.delete(state[0]);
    const request = this.requests.get(state[0]);
    if (request === undefined || !request.wantsNews) return;
    switch (state[1]) {
      case 'granted':
        request.granted(state[2], state[3], false, false);
        return;
      case 'waiting':
        request.isWaiting(state[2]);
        return;
      default:
        request.ended(state[2]);
    }
  }

  /** The grant is lost before the service has ended it, and its name is to rest then. */
  lostWithDelay(handle: number): void {
    this.#endingWithDelay.add(handle);
  }

  /** The service has still to end a lost grant whose name is to rest then. */
  get isEndingWithDelay(): boolean {
    return this.#endingWithDelay.size > 0;
  }

  /** The service may still have a grant of it whose name is to rest if that ends without a release. */
  get holdsWithDelay(): boolean {
    if (this.isEndingWithDelay) return true;
    for (const request of this.requests.values()) if (request.wantsDelay) return true;
    return false;
  }

  /** Its grants are lost for `reason`, and whoever waits in it fails. What is being given back goes on. */
  dropRequests(reason: LossReason, error: LockdError): void {
    const requests = [...this.requests.values()];
    // Losses first: no promise settles before the signals of what is lost have aborted.
    for (const request of requests) request.lose(reason);
    for (const request of requests) request.abandoned(error);
    for (let seq = this.#acked + 1; seq < this.#nextSeq; seq++) {
      const operation = this.#unanswered[seq & MASK];
      if (operation?.isAcquire === true) operation.abandoned(error);
    }
  }

  /** As `dropRequests`, and each grant and each wait is given back by itself: for a session that its client leaves open. */
  giveBackRequests(reason: LossReason, error: LockdError): void {
    const requests = [...this.requests.values()];
    for (let seq = this.#acked + 1; seq < this.#nextSeq; seq++) {
      const operation = this.#unanswered[seq & MASK];
      if (operation instanceof LockRequest) requests.push(operation);
    }
    for (const request of requests) request.lose(reason);
    for (const request of requests) {
      if (request.lossReason === undefined) request.cancel(error);
      else request.discard();
    }
  }

  /** All that it has to say is said and answered; what only takes is not counted. */
  get isIdle(): boolean {
    return this.isOver || (this.#unansweredCount === 0 && this.#urgent.length === 0);
  }

  /**
   * The session is over: its grants are lost for `reason`, what was sent fails, and what never was is returned for the
   * next session. Final; what is submitted later is only its `close`.
   */
  end(reason: LossReason, error: LockdError): Operation[] {
    this.isOver = true;
    this.isAttached = false;
    this.dropRequests(reason, error);
    this.requests.clear();
    for (let seq = this.#acked + 1; seq < this.#nextSeq; seq++) this.#unanswered[seq & MASK]?.abandoned(error);
    for (let next = this.#urgent.shift(); next !== undefined; next = this.#urgent.shift()) next.abandoned(error);
    this.#unanswered.fill(undefined);
    this.#unansweredCount = 0;
    this.#repeats.clear();
    this.#asks = [];
    this.#acked = this.#nextSeq - 1;
    return this.takeUnsent();
  }

  /** Takes back what was submitted and never sent. */
  takeUnsent(): Operation[] {
    const unsent: Operation[] = [];
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) unsent.push(next);
    return unsent;
  }

  #answer(seq: number): Operation | undefined {
    const slot = seq & MASK;
    const operation = this.#unanswered[slot];
    // A second answer to the same number, which is what a push for a waiter is, finds no operation.
    if (operation === undefined || operation.seq !== seq) return undefined;
    this.#unanswered[slot] = undefined;
    this.#unansweredCount--;
    if (seq === this.#acked + 1) {
      let acked = seq;
      while (acked + 1 < this.#nextSeq && this.#unanswered[(acked + 1) & MASK] === undefined) acked++;
      this.#acked = acked;
    }
    return operation;
  }
}

/** First in, first out, without moving what remains. Withdrawn ones are skipped, not counted, and swept out when they are many. */
class OperationQueue {
  #items: (Operation | undefined)[] = [];
  #head = 0;
  #withdrawn = 0;

  get length(): number {
    return this.#items.length - this.#head - this.#withdrawn;
  }

  get isAwaited(): boolean {
    return this.#items.some((operation) => operation?.isAwaited === true);
  }

  push(operation: Operation): void {
    if (operation.isWithdrawn) return;
    operation.isQueued = true;
    this.#items.push(operation);
  }

  withdrawOne(): void {
    this.#withdrawn++;
    if (this.#withdrawn > 1024 && this.#withdrawn > this.length) {
      this.#items = this.#items.filter((operation) => operation?.isWithdrawn === false);
      this.#head = 0;
      this.#withdrawn = 0;
    }
  }

  shift(): Operation | undefined {
    while (this.#head < this.#items.length) {
      const operation = this.#items[this.#head] as Operation;
      this.#items[this.#head++] = undefined;
      if (this.#head === this.#items.length) {
        this.#items = [];
        this.#head = 0;
      } else if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
        this.#items = this.#items.slice(this.#head);
        this.#head = 0;
      }
      operation.isQueued = false;
      if (!operation.isWithdrawn) return operation;
      this.#withdrawn--;
    }
    return undefined;
  }
}
