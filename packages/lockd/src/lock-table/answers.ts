import type { EndReason, ErrorCode, ErrorDetail } from '@lockd/client/protocol';

/**
 * What an operation of a session came to, kept for its repetitions until the client has acknowledged it.
 * `live`: an acquire whose request still waits or holds; its answer is the request's state at the time of asking.
 */
export type Answer =
  | { readonly type: 'live' }
  | { readonly type: 'done'; readonly value: unknown }
  | {
      readonly type: 'refused';
      readonly code: ErrorCode;
      readonly message: string;
      readonly detail: ErrorDetail | null;
    }
  | { readonly type: 'ended'; readonly reason: EndReason };

export const LIVE: Answer = { type: 'live' };
export const DONE: Answer = { type: 'done', value: null };

const endings = new Map<EndReason, Answer>();

/** One shared answer for each reason: ends are frequent, reasons few. */
export function endedAnswer(reason: EndReason): Answer {
  let answer = endings.get(reason);
  if (answer === undefined) {
    answer = { type: 'ended', reason };
    endings.set(reason, answer);
  }
  return answer;
}

const INITIAL_SLOTS = 8;

/**
 * The answers of one session to the operations in (acked, acked + window]: a ring that grows with what is really
 * unacknowledged. The caller checks the window; the ring only checks that it is never asked to hold more.
 */
export class AnswerWindow {
  /** The client has the answers to everything up to here. */
  acked = 0;
  // Operation `seq` is at `seq & (length - 1)`; only those in (acked, acked + length] are ever stored.
  #slots: (Answer | undefined)[] = [];

  get(seq: number): Answer | undefined {
    if (seq <= this.acked || seq > this.acked + this.#slots.length) return undefined;
    return this.#slots[seq % this.#slots.length];
  }

  /** Ignored for what is acknowledged already: nobody will ask. */
  set(seq: number, answer: Answer): void {
    if (seq <= this.acked) return;
    if (seq > this.acked + this.#slots.length) this.#grow(seq);
    this.#slots[seq % this.#slots.length] = answer;
  }

  acknowledge(upTo: number): void {
    const length = this.#slots.length;
    const last = Math.min(upTo, this.acked + length);
    for (let seq = this.acked + 1; seq <= last; seq++) this.#slots[seq % length] = undefined;
    this.acked = upTo;
  }

  /** In ascending order. */
  forEach(visit: (seq: number, answer: Answer) => void): void {
    const length = this.#slots.length;
    for (let seq = this.acked + 1; seq <= this.acked + length; seq++) {
      const answer = this.#slots[seq % length];
      if (answer !== undefined) visit(seq, answer);
    }
  }

  #grow(seq: number): void {
    let length = Math.max(INITIAL_SLOTS, this.#slots.length);
    while (seq > this.acked + length) length *= 2;
    const grown: (Answer | undefined)[] = [];
    for (let position = 0; position < length; position++) grown.push(undefined);
    this.forEach((kept, answer) => {
      grown[kept % length] = answer;
    });
    this.#slots = grown;
  }
}
