import { MODE } from './command.ts';
import type { LockRequest } from './lock-request.ts';
import { Slots } from './slots.ts';

/** Of a waiter behind so many others it is only said that it is; the last one always knows its place. */
const POSITIONS_COUNTED = 1000;

/** Those who wait for a name, in the order in which they will get it. */
export class WaitQueue {
  head: LockRequest | undefined = undefined;
  tail: LockRequest | undefined = undefined;
  count = 0;
}

/** What a name needs that several can hold at once. */
export class Crowd {
  /** Slots of the semaphore; 0: not a semaphore. */
  limit: number;
  /** Last of the holders. */
  tail: LockRequest | undefined = undefined;
  /** Holders, reservations included. */
  count = 0;
  /** Shared grants that are really held: while there is one, the phase is open. */
  sharedCount = 0;
  /** Token of the entry that opened the phase of shared grants. */
  phaseToken = 0;
  readonly slots: Slots | undefined;
  /** Snapshot in which the limit is already contained (see save-aside.ts). */
  stamp = 0;

  constructor(limit: number) {
    this.limit = limit;
    this.slots = limit > 0 ? new Slots() : undefined;
  }
}

/** What stands on a name. There is a record only while something does. */
export class NameRecord {
  readonly name: string;
  /** First of the holders (reservations included), in the order of their grants, linked by `next` and `prev`. */
  holder: LockRequest | undefined = undefined;
  queue: WaitQueue | undefined = undefined;
  crowd: Crowd | undefined = undefined;
  /** Its queue is to be looked at in this entry already, or in the work that is left. */
  isDue = false;

  constructor(name: string) {
    this.name = name;
  }

  get limit(): number {
    return this.crowd === undefined ? 0 : this.crowd.limit;
  }

  get isEmpty(): boolean {
    return this.holder === undefined && this.queue === undefined;
  }

  /** The first waiter that can be granted anything; those whose connection is closed keep their place and are passed over. */
  get firstListening(): LockRequest | undefined {
    let waiter = this.queue?.head;
    while (waiter !== undefined && !waiter.session.isListening) waiter = waiter.next;
    return waiter;
  }

  /** Whether `mode` goes with those who hold the name now. */
  hasRoomFor(mode: number): boolean {
    const holder = this.holder;
    if (mode === MODE.permit) return this.crowd !== undefined && this.crowd.count < this.crowd.limit;
    if (holder === undefined) return true;
    return mode === MODE.shared && holder.mode === MODE.shared;
  }

  crowdOf(limit: number): Crowd {
    if (this.crowd === undefined) {
      this.crowd = new Crowd(limit);
      this.crowd.tail = this.holder;
      this.crowd.count = this.holder === undefined ? 0 : 1;
    }
    return this.crowd;
  }

  addHolder(request: LockRequest): void {
    const crowd = this.crowd;
    if (crowd === undefined) {
      this.holder = request;
      return;
    }
    request.prev = crowd.tail;
    if (crowd.tail === undefined) this.holder = request;
    else crowd.tail.next = request;
    crowd.tail = request;
    crowd.count++;
  }

  removeHolder(request: LockRequest): void {
    const crowd = this.crowd;
    if (crowd === undefined) {
      this.holder = undefined;
      return;
    }
    if (request.prev === undefined) this.holder = request.next;
    else request.prev.next = request.next;
    if (request.next === undefined) crowd.tail = request.prev;
    else request.next.prev = request.prev;
    request.prev = undefined;
    request.next = undefined;
    crowd.count--;
    // A lock that nobody shares any more is plain again.
    if (crowd.count === 0 && crowd.limit === 0) this.crowd = undefined;
  }

  /** Puts `request` where its `order` says: last, or first for `steal`. */
  addWaiter(request: LockRequest): void {
    this.queue ??= new WaitQueue();
    const queue = this.queue;
    queue.count++;
    if (queue.tail === undefined) {
      queue.head = request;
      queue.tail = request;
    } else if (request.order < 0 && queue.head !== undefined) {
      request.next = queue.head;
      queue.head.prev = request;
      queue.head = request;
    } else {
      request.prev = queue.tail;
      queue.tail.next = request;
      queue.tail = request;
    }
  }

  removeWaiter(request: LockRequest): void {
    const queue = this.queue as WaitQueue;
    if (request.prev === undefined) queue.head = request.next;
    else request.prev.next = request.next;
    if (request.next === undefined) queue.tail = request.prev;
    else request.next.prev = request.prev;
    request.prev = undefined;
    request.next = undefined;
    if (--queue.count === 0) this.queue = undefined;
  }

  /** Place of a waiter, 1 for the first. Counted up to a bound, so that nobody's curiosity costs more: see POSITIONS_COUNTED. */
  positionOf(request: LockRequest): number {
    if (request.next === undefined && this.queue !== undefined) return this.queue.count;
    let position = 1;
    for (let before = request.prev; before !== undefined && position <= POSITIONS_COUNTED; before = before.prev)
      position++;
    return position;
  }
}
