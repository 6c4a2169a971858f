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
  #timedCount = 0;
  #highestPage = 0;
  #arePagesOrdered = true;

  /** `pageHandles`: for tests, to have pages sooner. */
  constructor(pageHandles: number = PAGE_HANDLES) {
    this.#pageHandles = pageHandles;
  }

  get size(): number {
    return this.#size;
  }

  /** Those with a lease of their own or a `maxHold`. */
  get timedCount(): number {
    return this.#timedCount;
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
    if (isTimed(request)) this.#timedCount++;
  }

  /** Nothing happens if it does not stand here. */
  delete(request: LockRequest): void {
    const { handle } = request;
    const page = this.#few ?? this.#pages.get(this.#pageOf(handle));
    if (page?.requests.delete(handle) !== true) return;
    this.#size--;
    if (isTimed(request)) this.#timedCount--;
    if (page !== this.#few && page.requests.size === 0) this.#pages.delete(this.#pageOf(handle));
  }

  /**
   * In no order that means anything. May be added to and deleted from meanwhile: what stood there all the time is visited, perhaps
   * twice, and what came or went perhaps.
   */
  values(): IterableIterator<LockRequest> {
    return this.#few?.requests.values() ?? this.#valuesOfPages();
  }

  /** As `values`, at once: a generator takes several times as long. */
  forEach(visit: (request: LockRequest) => void): void {
    for (const page of this.#few === undefined ? this.#pages.values() : [this.#few]) {
      for (const request of page.requests.values()) visit(request);
    }
  }

  /** By ascending handle, from the first one after `handle` on; not to be changed meanwhile. */
  *after(handle: number): Generator<LockRequest, void, void> {
    for (const page of this.#few === undefined ? this.#pagesFrom(this.#pageOf(handle)) : [this.#few]) {
      for (const request of page.inOrder()) if (request.handle > handle) yield request;
    }
  }

  *#valuesOfPages(): Generator<LockRequest, void, void> {
    for (const page of this.#pages.values()) for (const request of page.requests.values()) yield request;
  }

  *#pagesFrom(first: number): Generator<Page, void, void> {
    if (!this.#arePagesOrdered) {
      putInOrder(this.#pages);
      this.#arePagesOrdered = true;
    }
    for (const [number, page] of this.#pages) if (number >= first) yield page;
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

  inOrder(): IterableIterator<LockRequest> {
    if (!this.#isOrdered) {
      putInOrder(this.requests);
      this.#isOrdered = true;
    }
    return this.requests.values();
  }
}

/** Never changes: an own lease is restarted, and neither begins nor ceases later. */
function isTimed({ extra }: LockRequest): boolean {
  return extra !== undefined && (extra.leaseMs > 0 || extra.maxHoldMs > 0);
}

/** Puts the entries in ascending order of their keys. */
function putInOrder<Value>(map: Map<number, Value>): void {
  const sorted = [...map].sort(([a], [b]) => a - b);
  map.clear();
  for (const [key, value] of sorted) map.set(key, value);
}
