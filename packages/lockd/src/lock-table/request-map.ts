import type { LockRequest } from './lock-request.ts';

/** So many stand in one Map. When there are more they are spread over pages, each for so many consecutive handles. */
const PAGE_HANDLES = 4096;

/**
 * A session's requests by handle. One Map while they are few, and pages when they are many: a Map of 130,000 takes up to 25 ms
 * to grow, in the middle of an acquire or of a snapshot that is restored.
 */
export class RequestMap {
  /** Undefined once there are pages, for good. */
  #few: Page | undefined = new Page();
  readonly #pages: Map<number, Page> = new Map();
  readonly #pageHandles: number;
  #size = 0;
  #highestPage = 0;
  #arePagesOrdered = true;

  /** `pageHandles`: for tests, to have pages sooner. */
  constructor(pageHandles: number = PAGE_HANDLES) {
    this.#pageHandles = pageHandles;
  }

  get size(): number {
    return this.#size;
  }

  get(handle: number): LockRequest | undefined {
    const page = this.#few ?? this.#pages.get(this.#pageOf(handle));
    return page?.requests.get(handle);
  }

  /** Its handle is free. */
  add(request: LockRequest): void {
    if (this.#few !== undefined && this.#size < this.#pageHandles) {
      this.#few.add(request);
    } else {
      if (this.#few !== undefined) this.#spread(this.#few);
      this.#addToPage(request);
    }
    this.#size++;
  }

  delete(handle: number): void {
    const page = this.#few ?? this.#pages.get(this.#pageOf(handle));
    if (page?.requests.delete(handle) !== true) return;
    this.#size--;
    if (page !== this.#few && page.requests.size === 0) this.#pages.delete(this.#pageOf(handle));
  }

  /**
   * In no order that means anything. May be added to and deleted from meanwhile: what stood there all the time is visited, perhaps
   * twice, and what came or went perhaps.
   */
  *values(): Generator<LockRequest, void, void> {
    if (this.#few !== undefined) yield* this.#few.requests.values();
    else for (const page of this.#pages.values()) yield* page.requests.values();
  }

  /** By ascending handle, from the first one after `handle` on; not to be changed meanwhile. */
  *after(handle: number): Generator<LockRequest, void, void> {
    if (this.#few !== undefined) {
      yield* this.#few.after(handle);
      return;
    }
    if (!this.#arePagesOrdered) {
      putInOrder(this.#pages);
      this.#arePagesOrdered = true;
    }
    const first = this.#pageOf(handle);
    for (const [number, page] of this.#pages) if (number >= first) yield* page.after(handle);
  }

  #spread(few: Page): void {
    // Not cleared: who walks over it goes on there.
    this.#few = undefined;
    for (const request of few.requests.values()) this.#addToPage(request);
  }

  #addToPage(request: LockRequest): void {
    const number = this.#pageOf(request.handle);
    let page = this.#pages.get(number);
    if (page === undefined) {
      if (number < this.#highestPage) this.#arePagesOrdered = false;
      else this.#highestPage = number;
      page = new Page();
      this.#pages.set(number, page);
    }
    page.add(request);
  }

  #pageOf(handle: number): number {
    return Math.floor(handle / this.#pageHandles);
  }
}

class Page {
  readonly requests: Map<number, LockRequest> = new Map();
  #highest = 0;
  #isOrdered = true;

  add(request: LockRequest): void {
    if (request.handle > this.#highest) this.#highest = request.handle;
    else this.#isOrdered = false;
    this.requests.set(request.handle, request);
  }

  *after(handle: number): Generator<LockRequest, void, void> {
    if (!this.#isOrdered) {
      putInOrder(this.requests);
      this.#isOrdered = true;
    }
    for (const request of this.requests.values()) if (request.handle > handle) yield request;
  }
}

/** Puts the entries in ascending order of their keys. */
function putInOrder<Value>(map: Map<number, Value>): void {
  const sorted = [...map].sort(([a], [b]) => a - b);
  map.clear();
  for (const [key, value] of sorted) map.set(key, value);
}
