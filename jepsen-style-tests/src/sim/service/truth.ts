import { type Command, decodeCommand, LockTable, OP, type TableSink } from 'lockd/service';
import type { Counters } from '../world/counters.ts';
import { Violation } from '../world/violation.ts';

/** A request as the log knows it. */
export interface KnownRequest {
  readonly session: number;
  readonly handle: number;
  readonly names: readonly string[];
  /** Index and term of the entry that took effect: one sent over a connection that had been replaced does not. */
  index: number;
  term: number;
  isShared: boolean;
  readonly isPermit: boolean;
  /** Steals, or shares what its session holds: no place in the queue. */
  readonly isPrivileged: boolean;
  /** Takes it from its holder, who is told afterwards. */
  readonly isThief: boolean;
  state: 'asked' | 'waiting' | 'granted' | 'over';
  token: number;
  slot: number | undefined;
  isCancelled: boolean;
  isStolen: boolean;
  isUpgraded: boolean;
}

/** Why a request ends that goes with its session. */
export const SESSION_EXPIRED = 'its session expired';

/** What there is to judge: each call in log order, while the entry is first applied anywhere. */
export interface TruthEvents {
  granted(request: KnownRequest): void;
  /** Ended by the service itself: its session expired, or its own lease or its longest hold is over. */
  endedByItself(request: KnownRequest, why: string): void;
  sessionExpired(session: number): void;
}

/** What the truth tells. */
export interface LogEvents extends TruthEvents {
  /** The next command of the log; what it comes to follows. */
  applies(command: Command, index: number): void;
  sessionOpened(session: number): void;
}

/**
 * The lock table that the committed log describes, applied once for all nodes, entry by entry, when the first of them
 * applies it. What it tells its sink is judged by rules that do not ask the table.
 */
export class Truth implements TableSink {
  readonly table: LockTable = new LockTable();
  readonly #events: LogEvents;
  readonly #counters: Counters;
  readonly #requests = new Map<number, Map<number, KnownRequest>>();
  /** By name, in the order of the log. */
  readonly #queues = new Map<string, KnownRequest[]>();
  readonly #detached = new Set<number>();
  readonly #sessionOfNonce = new Map<string, number>();
  readonly #lastTokens = new Map<string, number>();
  /** What an operation was answered with first, and in which term. */
  readonly #answers = new Map<string, { readonly text: string; readonly term: number }>();
  readonly #hashes = new Map<number, string>();
  #index = 0;
  #term = 0;
  #refusedEnds = 0;
  /** What becomes true when the operation is answered, by session and number. */
  readonly #cancelledBefore = new Set<string>();
  readonly #whenDone = new Map<string, () => void>();
  /** Of the entry that is being applied. */
  #newGrants: KnownRequest[] = [];

  constructor(events: LogEvents, counters: Counters) {
    this.#events = events;
    this.#counters = counters;
  }

  get index(): number {
    return this.#index;
  }

  /** Called for every node; the first call for an index applies it. `entry` begins with its kind. */
  applies(index: number, term: number, entry: Uint8Array): void {
    if (index <= this.#index) return;
    this.#index = index;
    this.#term = term;
    const command = entry[0] === 1 ? decodeCommand(entry, 1) : undefined;
    if (command === undefined) {
      this.table.skip(index, term);
      return;
    }
    this.#events.applies(command, index);
    this.#before(command, index, term);
    this.#newGrants = [];
    this.table.apply(command, index, term, this);
    for (const request of this.#newGrants) this.#judgeGrant(request);
    const { refusedEnds } = this.table.counters();
    if (refusedEnds > this.#refusedEnds) this.#counters.add('expiry refused', refusedEnds - this.#refusedEnds);
    this.#refusedEnds = refusedEnds;
  }

  /** Every replica is in the same state at the same index. */
  compare(node: string, index: number, stateHash: string): void {
    if (index === this.#index && !this.#hashes.has(index)) this.#hashes.set(index, this.table.stateHash());
    const known = this.#hashes.get(index);
    if (known === undefined) this.#hashes.set(index, stateHash);
    else if (known !== stateHash)
      throw new Violation('equal replicas', `${node} is in another state at index ${index} than others are there`);
  }

  request(session: number, handle: number): KnownRequest | undefined {
    return this.#requests.get(session)?.get(handle);
  }

  // What the log asks for ------------------------------------------------------------------------------

  #before(command: Command, index: number, term: number): void {
    switch (command[0]) {
      case OP.acquire:
      case OP.acquireAll: {
        const [, session, , handle] = command;
        const requests = this.#requests.get(session) ?? new Map<number, KnownRequest>();
        this.#requests.set(session, requests);
        if (requests.has(handle)) return;
        const options = command[8];
        requests.set(handle, {
          session,
          handle,
          names: typeof command[5] === 'string' ? [command[5]] : command[5],
          index,
          term,
          isShared: options?.[0] === 1,
          isPermit: options?.[0] === 2,
          isPrivileged: options !== undefined && (options[8] !== 0 || options[6].length > 0),
          isThief: options !== undefined && options[8] !== 0,
          state: 'asked',
          token: 0,
          slot: undefined,
          isCancelled: false,
          isStolen: false,
          isUpgraded: false,
        });
        return;
      }
      case OP.cancel: {
        const request = this.request(command[1], command[5]);
        if (request?.state === 'granted') this.#counters.add('cancel raced a grant');
        else if (request === undefined) {
          this.#whenDone.set(`${command[1]} ${command[3]}`, () => {
            this.#counters.add('cancel overtook its acquire');
            this.#cancelledBefore.add(`${command[1]} ${command[5]}`);
          });
        } else
          this.#whenDone.set(`${command[1]} ${command[3]}`, () => {
            request.isCancelled = true;
            this.#over(request);
          });
        return;
      }
      case OP.upgrade:
      case OP.downgrade: {
        const request = this.request(command[1], command[5]);
        const isShared = command[0] === OP.downgrade;
        if (request !== undefined)
          this.#whenDone.set(`${command[1]} ${command[3]}`, () => {
            request.isShared = isShared;
            request.isUpgraded = true;
          });
        return;
      }
      case OP.endSession:
        if (command[2] !== term) this.#counters.add('expiry of an earlier term in the log');
        return;
      default:
    }
  }

  // What the table tells -------------------------------------------------------------------------------

  sessionOpened(session: number, nonce: string): void {
    const known = this.#sessionOfNonce.get(nonce);
    if (known !== undefined && known !== session)
      throw new Violation(
        'sessions end once',
        `session ${known} has ended, and its open is carried out again: ${session}`,
      );
    this.#sessionOfNonce.set(nonce, session);
    this.#events.sessionOpened(session);
  }

  openRefused(): void {}

  sessionAttached(session: number): void {
    this.#detached.delete(session);
  }

  attachRefused(): void {}

  sessionDetached(session: number): void {
    this.#detached.add(session);
  }

  sessionHeard(session: number): void {
    this.#detached.delete(session);
  }

  sessionEnded(session: number, reason: string): void {
    this.#counters.add(`session ended: ${reason}`);
    for (const request of this.#requests.get(session)?.values() ?? []) {
      if (reason === 'expired' && request.state === 'granted') this.#events.endedByItself(request, SESSION_EXPIRED);
      this.#over(request);
    }
    if (reason === 'expired') this.#events.sessionExpired(session);
  }

  answered(session: number, seq: number, value: unknown): void {
    this.#answer(session, seq, `ok ${JSON.stringify(value)}`);
    // `once` finds the work done.
    const request = this.request(session, seq);
    if (request !== undefined) this.#over(request);
    const key = `${session} ${seq}`;
    this.#whenDone.get(key)?.();
    this.#whenDone.delete(key);
  }

  refused(session: number, seq: number, code: string): void {
    // Of a session that is over everything is refused; that it was done before stays true.
    if (code !== 'LOCKD_SESSION_EXPIRED') this.#answer(session, seq, `refused ${code}`);
    const request = this.request(session, seq);
    if (request !== undefined) this.#over(request);
  }

  granted(
    session: number,
    handle: number,
    token: number,
    detail: { readonly slot?: number; readonly shares?: number } | null,
  ): void {
    const request = this.request(session, handle);
    if (request === undefined)
      throw new Violation('at most once', `handle ${handle} of session ${session} is granted, and nobody asked for it`);
    if (request.state === 'granted') {
      this.#counters.add('grant told again after a reconnect');
      if (request.token !== token && !request.isUpgraded && detail?.shares === undefined)
        throw new Violation(
          'at most once',
          `handle ${handle} of session ${session} was granted with token ${request.token}, and again with ${token}`,
        );
      if (this.#term !== request.term) this.#counters.add('repeated request answered after failover');
      return;
    }
    this.#notCancelledBefore(request, 'is granted');
    if (request.state === 'over')
      throw new Violation(
        'at most once',
        `handle ${handle} of session ${session} is granted ${request.names.join(', ')}, and was over before${request.isCancelled ? ': cancelled' : ''}`,
      );
    const hasWaited = request.state === 'waiting';
    if (!hasWaited) this.#admitted(request);
    request.state = 'granted';
    request.token = token;
    request.slot = detail?.slot;
    if (hasWaited && this.#term !== request.term) this.#counters.add('FIFO over a failover');
    this.#newGrants.push(request);
  }

  waiting(session: number, handle: number): void {
    const request = this.request(session, handle);
    if (request === undefined || request.state === 'waiting') {
      if (request !== undefined && request.term !== this.#term)
        this.#counters.add('repeated request answered after failover');
      return;
    }
    if (request.state !== 'asked')
      throw new Violation('at most once', `handle ${handle} of session ${session} waits, and was ${request.state}`);
    this.#notCancelledBefore(request, 'waits for');
    request.state = 'waiting';
    this.#admitted(request);
    for (const name of request.names) {
      const queue = this.#queues.get(name);
      if (queue === undefined) this.#queues.set(name, [request]);
      else queue.push(request);
    }
  }

  ended(session: number, handle: number, reason: string): void {
    const request = this.request(session, handle);
    if (request === undefined) return;
    if (request.state === 'granted' && (reason === 'lease-expired' || reason === 'max-hold'))
      this.#events.endedByItself(request, reason);
    if (reason === 'cancelled') request.isCancelled = true;
    if (reason === 'stolen') request.isStolen = true;
    this.#over(request);
  }

  deadlineStarted(): void {}

  deadlineEnded(): void {}

  workLeft(): void {}

  // ------------------------------------------------------------------------------------------------------

  #admitted(request: KnownRequest): void {
    request.index = this.#index;
    request.term = this.#term;
  }

  #notCancelledBefore({ session, handle, names }: KnownRequest, what: string): void {
    if (this.#cancelledBefore.has(`${session} ${handle}`))
      throw new Violation(
        'at most once',
        `handle ${handle} of session ${session} ${what} ${names.join(', ')}, and was cancelled before it came`,
      );
  }

  #answer(session: number, seq: number, text: string): void {
    const key = `${session} ${seq}`;
    const known = this.#answers.get(key);
    if (known === undefined) {
      this.#answers.set(key, { text, term: this.#term });
      return;
    }
    if (known.text !== text)
      throw new Violation(
        'at most once',
        `operation ${seq} of session ${session} was answered ${known.text}, and repeated ${text}`,
      );
    if (known.term !== this.#term) this.#counters.add('repeated request answered after failover');
  }

  #judgeGrant(request: KnownRequest): void {
    if (!request.isPrivileged) {
      for (const name of request.names) {
        const before = this.#queues
          .get(name)
          ?.find((other) => other !== request && other.index < request.index && this.#isInTheWay(other, request));
        if (before !== undefined)
          throw new Violation(
            'first come, first served',
            `${name} is granted at index ${this.#index} to handle ${request.handle} of session ${request.session}, asked at ${request.index}, before handle ${before.handle} of session ${before.session}, asked at ${before.index}`,
          );
        const slotName = request.slot === undefined ? name : `${name}#${request.slot}`;
        const last = this.#lastTokens.get(slotName) ?? 0;
        if (request.token < last || (request.token === last && !request.isShared))
          throw new Violation('monotonic tokens', `${slotName} is granted with token ${request.token} after ${last}`);
        this.#lastTokens.set(slotName, request.token);
      }
    }
    this.#leaveQueues(request);
    this.#events.granted(request);
  }

  #isInTheWay(other: KnownRequest, request: KnownRequest): boolean {
    if (other.state !== 'waiting' || this.#detached.has(other.session)) return false;
    // Both may stand there together, once those before them have gone.
    return !(other.isShared && request.isShared);
  }

  #over(request: KnownRequest): void {
    request.state = 'over';
    this.#leaveQueues(request);
  }

  #leaveQueues(request: KnownRequest): void {
    for (const name of request.names) {
      const queue = this.#queues.get(name);
      const at = queue?.indexOf(request) ?? -1;
      if (at >= 0) queue?.splice(at, 1);
    }
  }
}
