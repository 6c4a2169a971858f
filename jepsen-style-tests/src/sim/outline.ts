import type { Print } from './simulation.ts';

/** The last events are shown whatever they are. */
const TAIL = 15;
/** The same where the failure is about a client, whose last words tell more. */
const TAIL_OF_STORY = 3;
/** So many of the telling events before those, at most. */
const TELLING = 60;
/** So many of what clients and the log say about what the failure is about, at most. */
const SAID = 12;
/** So many of the last things said are kept until the failure tells what they should be about. */
const SAID_KEPT = 5_000;

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
const ORDINARY = /^(is joining|is serving|recovers term 1, log up to 1(,|$))/;

/** Names of locks, sessions and clients, as failures and events have them. */
const SUBJECTS = /\b(?:session \d+|[a-z]+:\d+|c\d+)\b/g;

const NODE = /^n\d/;

interface Shown {
  readonly event: number;
  readonly line: string;
}

/** Keeps of a run what a reader needs to follow it: a page, however long the run was. */
export class Outline {
  #events = 0;
  #dropped = 0;
  readonly #telling: Shown[] = [];
  /** What others than nodes say, and about what. */
  readonly #said: (Shown & { readonly subjects: readonly string[] })[] = [];
  #tail: Shown[] = [];
  readonly #leaders = new Set<string>();
  #members = '';

  readonly print: Print = (line, who, what) => {
    this.#events += 1;
    const shown = { event: this.#events, line };
    if (this.#tail.length === TAIL) this.#tail.shift();
    this.#tail.push(shown);
    const text = line.slice(line.indexOf(what));
    if (this.#isTelling(who, what, text)) {
      this.#telling.push(shown);
      if (this.#telling.length > TELLING + TAIL) {
        this.#telling.shift();
        this.#dropped += 1;
      }
    } else if (!NODE.test(who)) {
      this.#said.push({ ...shown, subjects: [who, ...(text.match(SUBJECTS) ?? [])] });
      if (this.#said.length > 2 * SAID_KEPT) this.#said.splice(0, SAID_KEPT);
    }
  };

  /** `failure`: in words. What clients and the log say is shown where it is about the same. */
  lines(failure = ''): string[] {
    const subjects = new Set(failure.match(SUBJECTS));
    const aboutIt = this.#said.filter((said) => said.subjects.some((subject) => subjects.has(subject)));
    const tail = aboutIt.length > 0 ? this.#tail.slice(-TAIL_OF_STORY) : this.#tail;
    const firstOfTail = this.#events - tail.length + 1;
    const before = this.#telling.filter(({ event }) => event < firstOfTail);
    const telling = before.slice(-TELLING);
    const dropped = this.#dropped + before.length - telling.length;
    const said = aboutIt.filter(({ event }) => event < firstOfTail).slice(-SAID);
    const shown = [...telling, ...said].sort((left, right) => left.event - right.event);
    const skipped = this.#events - tail.length - shown.length;
    return [
      ...(dropped > 0 ? [`              … ${dropped} telling events before that`] : []),
      ...shown.map(({ line }) => line),
      ...(skipped > 0 ? [`              … ${skipped} others so far; from here on everything`] : []),
      ...tail.map(({ line }) => line),
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
