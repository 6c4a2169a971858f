import type { Instant } from './clock.ts';

/** Something that happens at a time unless it is removed before. In one heap at most. */
export interface Deadline {
  /** On the monotonic clock. Must not change while in a heap. */
  dueMs: number;
  /** The heap's own; -1 outside of it. */
  heapIndex: number;
  /** Already due by what the wall clock says, which the heap does not know. */
  isOverdue(now: Instant): boolean;
  /** Has been removed from the heap; may add itself again. */
  onDue(now: Instant): void;
}

/** A deadline that only calls back: bounds and delays that end no lease. */
export class Alarm implements Deadline {
  dueMs = 0;
  heapIndex = -1;
  readonly #callback: (now: Instant) => void;

  constructor(callback: (now: Instant) => void) {
    this.#callback = callback;
  }

  isOverdue(): boolean {
    return false;
  }

  onDue(now: Instant): void {
    this.#callback(now);
  }
}

/** A binary heap whose elements know their place, so that removing one is as cheap as adding it. */
export class DeadlineHeap {
  readonly #items: Deadline[] = [];

  get size(): number {
    return this.#items.length;
  }

  /** The earliest, or undefined. */
  get first(): Deadline | undefined {
    return this.#items[0];
  }

  add(item: Deadline, dueMs: number): void {
    this.remove(item);
    item.dueMs = dueMs;
    this.#items.push(item);
    this.#up(item, this.#items.length - 1);
  }

  /** Nothing where `item` is not in this heap. */
  remove(item: Deadline): void {
    const index = item.heapIndex;
    if (index < 0 || this.#items[index] !== item) return;
    item.heapIndex = -1;
    const last = this.#items.pop();
    if (last === undefined || last === item) return;
    const parent = this.#items[(index - 1) >> 1];
    if (index > 0 && parent !== undefined && parent.dueMs > last.dueMs) this.#up(last, index);
    else this.#down(last, index);
  }

  /** Removes and returns the earliest that is due. */
  takeDue(nowMs: number): Deadline | undefined {
    const first = this.#items[0];
    if (first === undefined || first.dueMs > nowMs) return undefined;
    this.remove(first);
    return first;
  }

  /** Those that say they are overdue, wherever they stand; they stay in the heap. */
  overdue(now: Instant): Deadline[] {
    return this.#items.filter((item) => item.isOverdue(now));
  }

  #up(item: Deadline, from: number): void {
    const items = this.#items;
    let index = from;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = items[parentIndex] as Deadline;
      if (parent.dueMs <= item.dueMs) break;
      items[index] = parent;
      parent.heapIndex = index;
      index = parentIndex;
    }
    items[index] = item;
    item.heapIndex = index;
  }

  #down(item: Deadline, from: number): void {
    const items = this.#items;
    const length = items.length;
    let index = from;
    for (;;) {
      let childIndex = index * 2 + 1;
      if (childIndex >= length) break;
      let child = items[childIndex] as Deadline;
      const right = items[childIndex + 1];
      if (right !== undefined && right.dueMs < child.dueMs) {
        child = right;
        childIndex++;
      }
      if (child.dueMs >= item.dueMs) break;
      items[index] = child;
      child.heapIndex = index;
      index = childIndex;
    }
    items[index] = item;
    item.heapIndex = index;
  }
}
