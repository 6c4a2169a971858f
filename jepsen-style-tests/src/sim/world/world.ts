import { drainPromises } from '@lockd/raft/testing';

export interface Scheduled {
  cancel(): void;
}

interface Occurrence extends Scheduled {
  readonly atUs: number;
  readonly order: number;
  run: (() => void) | undefined;
}

const LIMIT_OF_STEPS = 5_000_000;

/**
 * Virtual time, in whole microseconds, and everything that is going to happen. One thing happens at a time; whatever
 * promises it woke run to their end before the next one.
 */
export class World {
  #heap: Occurrence[] = [];
  #order = 0;
  #nowUs = 0;
  #isTouched = false;
  #failure: { readonly error: unknown } | undefined;
  /** Occurrences so far: the `step` of a failure. */
  steps = 0;

  get nowUs(): number {
    return this.#nowUs;
  }

  at(atUs: number, run: () => void): Scheduled {
    const occurrence: Occurrence = {
      atUs: atUs < this.#nowUs ? this.#nowUs : atUs,
      order: this.#order,
      run,
      cancel: () => {
        occurrence.run = undefined;
      },
    };
    this.#order += 1;
    this.#push(occurrence);
    return occurrence;
  }

  in(delayUs: number, run: () => void): Scheduled {
    return this.at(this.#nowUs + delayUs, run);
  }

  /** Says that promises may have been woken: they get to run before anything else happens. */
  touch(): void {
    this.#isTouched = true;
  }

  get isTouched(): boolean {
    return this.#isTouched;
  }

  /** Ends the run: for what breaks where nobody could catch it. */
  fail(error: unknown): void {
    this.#failure ??= { error };
  }

  /** Lets time pass until `untilUs`, or until `isDone`, which is asked after every step. */
  async run(untilUs: number, isDone?: () => boolean): Promise<void> {
    await this.#drain();
    for (let next = this.#heap[0]; next !== undefined && next.atUs <= untilUs; next = this.#heap[0]) {
      this.#pop();
      const { run } = next;
      if (run === undefined) continue;
      this.#nowUs = next.atUs;
      this.steps += 1;
      if (this.steps > LIMIT_OF_STEPS) throw new Error('the simulation does not come to an end');
      run();
      if (this.#isTouched) await this.#drain();
      if (this.#failure !== undefined) throw this.#failure.error;
      if (isDone?.() === true) return;
    }
    if (this.#nowUs < untilUs) this.#nowUs = untilUs;
  }

  async #drain(): Promise<void> {
    this.#isTouched = false;
    await drainPromises();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #push(occurrence: Occurrence): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(occurrence);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Occurrence;
      if (!isBefore(occurrence, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = occurrence;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Occurrence;
    const { length } = heap;
    if (length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= length) break;
      if (child + 1 < length && isBefore(heap[child + 1] as Occurrence, heap[child] as Occurrence)) child += 1;
      if (!isBefore(heap[child] as Occurrence, last)) break;
      heap[at] = heap[child] as Occurrence;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(left: Occurrence, right: Occurrence): boolean {
  return left.atUs < right.atUs || (left.atUs === right.atUs && left.order < right.order);
}
