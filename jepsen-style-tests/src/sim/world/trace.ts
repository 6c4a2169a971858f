import type { Print } from '../simulation.ts';

/** How many events a failure shows. */
const KEPT_EVENTS = 30;

interface KeptEvent {
  readonly atUs: number;
  readonly who: string;
  readonly what: string;
  readonly details: (() => string) | undefined;
}

/**
 * What happened, in order. Every event enters a running hash; the words are only made when somebody reads them. Two
 * runs are the same run when their hashes are.
 */
export class Trace {
  readonly #print: Print | undefined;
  readonly #kept: KeptEvent[] = [];
  readonly #textHashes = new Map<string, number>();
  #next = 0;
  #high = 0x811c9dc5;
  #low = 0x01000193;
  count = 0;

  constructor(print?: Print) {
    this.#print = print;
  }

  /** `details` must depend on nothing that changes later; `first` to `third` are what of it enters the hash. */
  event(atUs: number, who: string, what: string, details?: () => string, first = 0, second = 0, third = 0): void {
    this.count += 1;
    this.#mix(atUs);
    this.#mix(this.#hashOf(who) ^ Math.imul(this.#hashOf(what), 31));
    this.#mix(first);
    this.#mix(Math.imul(second, 0x9e3779b1) ^ third);
    const event: KeptEvent = { atUs, who, what, details };
    this.#kept[this.#next] = event;
    this.#next = (this.#next + 1) % KEPT_EVENTS;
    this.#print?.(lineOf(event), who, what);
  }

  /** 16 hexadecimal digits. */
  hash(): string {
    return [this.#high, this.#low].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('');
  }

  /** The last events in words, oldest first. */
  last(): string[] {
    const events = [...this.#kept.slice(this.#next), ...this.#kept.slice(0, this.#next)];
    return events.map(lineOf);
  }

  #mix(value: number): void {
    this.#low = Math.imul(this.#low ^ value, 0x01000193);
    this.#high = Math.imul(this.#high ^ (this.#low >>> 15) ^ (value >>> 3), 0x85ebca6b);
  }

  #hashOf(text: string): number {
    const known = this.#textHashes.get(text);
    if (known !== undefined) return known;
    let hash = 0x811c9dc5;
    for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
    this.#textHashes.set(text, hash);
    return hash;
  }
}

function lineOf({ atUs, who, what, details }: KeptEvent): string {
  const seconds = `${Math.floor(atUs / 1_000_000)}.${String(atUs % 1_000_000).padStart(6, '0')}`;
  const text = details === undefined ? what : `${what} ${details()}`;
  return `${seconds.padStart(10)} s  ${who.padEnd(8)} ${text}`;
}
