import type { Print } from './simulation.ts';

/** The last events are shown whatever they are. */
const TAIL = 15;
/** So many of the telling events before those, at most. */
const TELLING = 60;

/** What is shown of every event but the last ones: faults, who comes and goes, who leads, who belongs to it. */
const TELLING_EVENTS: ReadonlySet<string> = new Set([
  'starts',
  'recovers',
  'becomes',
  'is',
  'is killed',
  'loses power',
  'is told to stop',
  'has stopped',
  'exits',
  'comes back with an empty disk',
  'takes a snapshot',
  'works with',
]);

/** Keeps of a run what a reader needs to follow it: a page, however long the run was. */
export class Outline {
  #events = 0;
  #dropped = 0;
  #telling: { readonly event: number; readonly line: string }[] = [];
  #tail: string[] = [];

  readonly print: Print = (line, who, what) => {
    this.#events += 1;
    if (this.#tail.length === TAIL) this.#tail.shift();
    this.#tail.push(line);
    if (who !== 'nemesis' && !TELLING_EVENTS.has(what)) return;
    if (this.#telling.length === TELLING + TAIL) {
      this.#telling.shift();
      this.#dropped += 1;
    }
    this.#telling.push({ event: this.#events, line });
  };

  lines(): string[] {
    const firstOfTail = this.#events - this.#tail.length + 1;
    const before = this.#telling.filter(({ event }) => event < firstOfTail).map(({ line }) => line);
    const shown = before.slice(-TELLING);
    const dropped = this.#dropped + before.length - shown.length;
    const skipped = this.#events - this.#tail.length - shown.length;
    return [
      ...(dropped > 0 ? [`              … ${dropped} telling events before that`] : []),
      ...shown,
      ...(skipped > 0 ? [`              … ${skipped} others so far; from here on everything`] : []),
      ...this.#tail,
    ];
  }
}
