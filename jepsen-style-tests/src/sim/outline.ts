import type { Print } from './simulation.ts';

/** The last events are shown whatever they are. */
const TAIL = 15;
/** So many of the telling events before those, at most. */
const TELLING = 60;

/** What is shown of every event but the last ones, besides faults and roles: who comes and goes, and who belongs to it. */
const TELLING_EVENTS: ReadonlySet<string> = new Set([
  'recovers',
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
/** Every start goes through these. */
const ORDINARY = /^(is joining|is serving)/;

/** Keeps of a run what a reader needs to follow it: a page, however long the run was. */
export class Outline {
  #events = 0;
  #dropped = 0;
  #telling: { readonly event: number; readonly line: string }[] = [];
  #tail: string[] = [];
  readonly #leaders = new Set<string>();
  #members = '';

  readonly print: Print = (line, who, what) => {
    this.#events += 1;
    if (this.#tail.length === TAIL) this.#tail.shift();
    this.#tail.push(line);
    if (!this.#isTelling(who, what, line.slice(line.indexOf(what)))) return;
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

  #isTelling(who: string, what: string, text: string): boolean {
    if (who === 'nemesis') return true;
    if (what === 'becomes') return this.#isTellingRole(who, text);
    if (what === 'works with') {
      const isNews = text !== this.#members;
      this.#members = text;
      return isNews;
    }
    return TELLING_EVENTS.has(what) && !ORDINARY.test(text);
  }

  /** Who stands and who leads, and who no longer does. */
  #isTellingRole(who: string, text: string): boolean {
    const hasLed = this.#leaders.delete(who);
    if (text.startsWith('becomes leader')) this.#leaders.add(who);
    return hasLed || /^becomes (leader|candidate)/.test(text);
  }
}
