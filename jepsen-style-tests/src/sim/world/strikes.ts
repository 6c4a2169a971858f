import type { Limits, Strike } from '../simulation.ts';
import type { Chance } from './chance.ts';
import type { Counters } from './counters.ts';
import type { Trace } from './trace.ts';
import type { World } from './world.ts';

/** A strike as the seed draws it: its number and its own source of chance are the same whatever else is left out. */
export interface Drawn {
  readonly name: string;
  readonly fault: string;
  readonly chance: Chance;
}

/** Where strikes happen, and who is told of them. */
export interface StrikeSurroundings {
  readonly world: World;
  readonly trace: Trace;
  readonly counters: Counters;
}

export interface Schedule {
  /** Faults that may be drawn. */
  readonly enabled: readonly string[];
  /** Mean time between two strikes, microseconds. */
  readonly everyUs: number;
  /** No strike is drawn for later than this. */
  readonly untilUs: number;
  readonly chance: Chance;
  /** For ambushes: each splits a source of its own from it. */
  readonly ambushChance: Chance;
  readonly limits: Limits;
}

/**
 * When something goes wrong, and what: strikes that a seed numbers, and ambushes named after the moment they lie in wait
 * for. Keeps what came about, and undoes what lasts.
 */
export class Strikes {
  readonly #around: StrikeSurroundings;
  readonly #schedule: Schedule;
  readonly #only: ReadonlySet<string> | undefined;
  /** What came about, in order. */
  readonly cameAbout: Strike[] = [];
  #drawn = 0;
  #drawnUs = 0;
  /** How often each node came to each telling moment. */
  readonly #occasions = new Map<string, number>();
  readonly #undo = new Set<() => void>();
  #isOver = false;

  constructor(around: StrikeSurroundings, schedule: Schedule) {
    this.#around = around;
    this.#schedule = schedule;
    const { only } = schedule.limits;
    this.#only = only === undefined ? undefined : new Set(only);
  }

  /** Nothing new goes wrong. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Calls `strike` with one drawn strike after the other. Those that are left out are drawn all the same, so that the others have their times and numbers. */
  start(strike: (drawn: Drawn) => void): void {
    const { enabled, everyUs, untilUs, chance, limits } = this.#schedule;
    if (enabled.length === 0) return;
    const lastUs = this.#drawnUs;
    let name: string;
    let fault: string;
    do {
      this.#drawnUs += 1 + chance.below(2 * everyUs);
      this.#drawn += 1;
      fault = chance.pick(enabled);
      name = String(this.#drawn);
      if (this.#drawnUs > untilUs) return;
    } while (!this.#isWanted(name));
    const drawn = { name, fault, chance: chance.split(name) };
    const { gapMs } = limits;
    const gapUs = this.#drawnUs - lastUs;
    this.#around.world.in(gapMs === undefined ? gapUs : Math.min(gapUs, 1000 * gapMs), () => {
      if (this.#isOver) return;
      strike(drawn);
      this.start(strike);
    });
  }

  /** Whether something goes wrong at this telling moment, of those that `who` has come to. */
  ambush(
    who: string,
    occasion: string,
    perMille: number,
  ): { readonly name: string; readonly chance: Chance } | undefined {
    if (perMille === 0 || this.#isOver) return undefined;
    const where = `${who}.${occasion}`;
    const number = (this.#occasions.get(where) ?? 0) + 1;
    this.#occasions.set(where, number);
    const name = `${where}.${number}`;
    if (!this.#isWanted(name)) return undefined;
    const chance = this.#schedule.ambushChance.split(name);
    return chance.perMille(perMille) ? { name, chance } : undefined;
  }

  /** Ends every fault that lasts, and lets no new ones begin. */
  end(): void {
    this.#isOver = true;
    for (const undo of [...this.#undo]) undo();
  }

  /** Undoes what lasts: after `delayUs`, or at the end if that comes first. */
  later(delayUs: number, undo: () => void): void {
    const once = (): void => {
      if (this.#undo.delete(once)) undo();
    };
    this.#undo.add(once);
    this.#around.world.in(delayUs, once);
  }

  /** Raises one number of `shape` to `value` for so long, unless it is as high already. */
  raise<What extends string>(shape: Record<What, number>, what: What, value: number, lastsUs: number): void {
    const before = shape[what];
    if (before >= value) return;
    shape[what] = value;
    this.later(lastsUs, () => {
      shape[what] = before;
    });
  }

  /** It comes about, and counts. */
  struck(strike: Pick<Drawn, 'name' | 'fault'>): void {
    this.record(strike);
    this.count(strike.fault);
  }

  /** It comes about; whether it had its effect is seen later. */
  record({ name, fault }: Pick<Drawn, 'name' | 'fault'>): void {
    this.cameAbout.push({ name, what: fault });
    this.say('strikes', `${name}: ${fault}`);
  }

  count(fault: string): void {
    this.#around.counters.add(`fault: ${fault}`);
  }

  say(what: string, details: string, number = 0): void {
    this.#around.trace.event(this.#around.world.nowUs, 'nemesis', what, () => details, number);
  }

  #isWanted(name: string): boolean {
    return this.#only === undefined || this.#only.has(name);
  }
}
