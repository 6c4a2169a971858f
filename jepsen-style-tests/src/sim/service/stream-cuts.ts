import type { Strikes } from '../world/strikes.ts';
import type { Internet } from './internet.ts';

/** Cuts between hosts that end by themselves. */
export class StreamCuts {
  readonly #internet: Internet;
  readonly #strikes: Strikes;

  constructor(internet: Internet, strikes: Strikes) {
    this.#internet = internet;
    this.#strikes = strikes;
  }

  /** `in`: what the first would hear; `out`: what they say. */
  between(some: readonly string[], rest: readonly string[], direction: 'both' | 'in' | 'out', lastsUs: number): void {
    const internet = this.#internet;
    this.#strikes.say(
      'cuts',
      `${some.join(' ')} from ${rest.join(' ')} (${direction}) for ${Math.floor(lastsUs / 1000)} ms`,
    );
    const each = (act: (from: string, to: string) => void): void => {
      for (const one of some) {
        for (const other of rest) {
          if (direction !== 'in') act(one, other);
          if (direction !== 'out') act(other, one);
        }
      }
    };
    each((from, to) => internet.cut(from, to));
    this.#strikes.later(lastsUs, () => each((from, to) => internet.mend(from, to)));
  }
}
