import type { Chance } from './chance.ts';
import type { Counters } from './counters.ts';
import { Cuts } from './cuts.ts';
import type { SimulatedProcess } from './process.ts';
import type { World } from './world.ts';

/** One end of links: a process that can be dialled. `Payload` is whatever it is sent. */
export interface Endpoint<Payload> {
  readonly name: string;
  readonly process: SimulatedProcess;
  /** Who it says it is in the handshake; undefined while it answers nobody. */
  hello(): unknown;
  /** Judges the other side's hello: the reason to refuse it, or undefined. */
  judge(peer: string, hello: unknown): { readonly code: string; readonly reason: string } | undefined;
  refused(peer: string, code: string, reason: string): void;
  receive(from: string, payload: Payload): void;
  unreachable(peer: string): void;
  /** The link ended without a goodbye and dialling again failed at once. */
  linkClosed(peer: string): void;
}

/** How links behave between faults. Microseconds, and shares in a thousand. */
export interface NetworkShape {
  readonly minDelayUs: number;
  readonly maxDelayUs: number;
  lossPerMille: number;
  duplicatePerMille: number;
  reorderPerMille: number;
  /** Delay of a message that is overtaken, at most. */
  reorderUs: number;
  extraDelayUs: number;
}

/** What a direction of a link draws from: loss that is left out delays nothing. */
interface Draws {
  readonly delay: Chance;
  readonly loss: Chance;
  readonly duplicate: Chance;
  readonly reorder: Chance;
}

interface Link {
  readonly left: string;
  readonly right: string;
  isUp: boolean;
  /** Rises with every connection made or broken: what was under way on an earlier one is lost. */
  generation: number;
  isDialling: boolean;
  readonly dial: Chance;
  readonly draws: readonly [Draws, Draws];
  arrivedUs: [number, number];
}

const REDIAL_US = 100_000;
const REFUSED_REDIAL_US = 1_000_000;
const HANDSHAKE_TIMEOUT_US = 400_000;

/**
 * One link between each two endpoints, which is dialled again when it breaks. Cuts are silent and have a direction; a
 * link between two live processes can be closed; a process that dies closes its links unless its machine went dark.
 */
export class Network<Payload> {
  readonly #world: World;
  readonly #chance: Chance;
  readonly #counters: Counters;
  readonly shape: NetworkShape;
  readonly #endpoints = new Map<string, Endpoint<Payload>>();
  readonly #links = new Map<string, Link>();
  readonly cuts: Cuts = new Cuts();

  constructor(world: World, chance: Chance, shape: NetworkShape, counters: Counters) {
    this.#world = world;
    this.#chance = chance;
    this.shape = shape;
    this.#counters = counters;
  }

  attach(endpoint: Endpoint<Payload>): void {
    this.#endpoints.set(endpoint.name, endpoint);
    for (const other of this.#endpoints.keys()) {
      if (other === endpoint.name) continue;
      const link = this.#link(endpoint.name, other);
      this.#break(link);
      this.#dial(link, this.#delayUs(link.dial));
    }
  }

  /**
   * The endpoint is gone. `closed`: its machine told the peers, and refuses when they dial again. `goodbye`: it took its
   * leave. `dark`: nobody is told.
   */
  detach(name: string, how: 'closed' | 'goodbye' | 'dark'): void {
    this.#endpoints.delete(name);
    for (const link of this.#linksOf(name)) {
      const wasUp = link.isUp;
      const peer = link.left === name ? link.right : link.left;
      // In the dark the peers go on sending to nobody, until they hear from whoever comes back.
      if (how === 'dark') continue;
      this.#break(link);
      if (how === 'closed' && wasUp) this.#tellClosed(link, peer, name);
    }
  }

  /** Closes a link between two live processes. The dialler tries again at once; where that fails, it is evidence. */
  close(left: string, right: string): void {
    const link = this.#link(left, right);
    if (!link.isUp) return;
    this.#break(link);
    this.#tellClosed(link, left, right);
    this.#tellClosed(link, right, left);
  }

  /** The endpoint judges anew whom it is linked to, as it would in a handshake now. */
  review(endpoint: Endpoint<Payload>): void {
    const { name } = endpoint;
    if (this.#endpoints.get(name) !== endpoint) return;
    for (const link of this.#linksOf(name)) {
      const peer = link.left === name ? link.right : link.left;
      const other = this.#endpoints.get(peer);
      const hello = other?.hello();
      if (!link.isUp || other === undefined || hello === undefined) continue;
      // Nothing it says would arrive.
      if (this.cuts.has(name, peer) || other.process.isStalled) continue;
      const refusal = endpoint.judge(peer, hello);
      if (refusal === undefined) continue;
      this.#break(link);
      this.#refuse(other, name, refusal);
      this.#dial(link, REFUSED_REDIAL_US);
    }
  }

  send(from: Endpoint<Payload>, to: string, payload: Payload): void {
    // A process that has ended meanwhile says nothing.
    if (this.#endpoints.get(from.name) !== from) return;
    const link = this.#link(from.name, to);
    if (!link.isUp) {
      from.process.arrive(() => from.unreachable(to));
      return;
    }
    if (this.cuts.has(from.name, to)) {
      this.#counters.add('message lost in a cut');
      return;
    }
    const draws = link.draws[link.left === from.name ? 0 : 1];
    if (this.shape.lossPerMille > 0 && draws.loss.perMille(this.shape.lossPerMille)) {
      this.#counters.add('message lost');
      return;
    }
    this.#deliver(link, from.name, to, payload);
    if (this.shape.duplicatePerMille > 0 && draws.duplicate.perMille(this.shape.duplicatePerMille)) {
      this.#counters.add('message duplicated');
      this.#deliver(link, from.name, to, payload);
    }
  }

  #deliver(link: Link, from: string, to: string, payload: Payload): void {
    const direction = link.left === from ? 0 : 1;
    const draws = link.draws[direction];
    let atUs = this.#world.nowUs + this.#delayUs(draws.delay);
    if (this.shape.reorderPerMille > 0 && draws.reorder.perMille(this.shape.reorderPerMille)) {
      this.#counters.add('message overtaken');
      atUs += draws.reorder.below(this.shape.reorderUs);
    } else {
      atUs = Math.max(atUs, link.arrivedUs[direction]);
      link.arrivedUs[direction] = atUs;
    }
    const { generation } = link;
    this.#world.at(atUs, () => {
      const receiver = this.#endpoints.get(to);
      if (receiver === undefined || link.generation !== generation || this.cuts.has(from, to)) return;
      receiver.process.arrive(() => {
        if (link.generation === generation) receiver.receive(from, payload);
      });
    });
  }

  #delayUs(chance: Chance): number {
    const { minDelayUs, maxDelayUs, extraDelayUs } = this.shape;
    // Both are drawn always: a slow network that is left out shifts nothing.
    return chance.between(minDelayUs, maxDelayUs) + chance.below(extraDelayUs + 1);
  }

  /** `peer` sees the end of its link to `gone` and dials again: refused or unanswered, that is evidence. */
  #tellClosed(link: Link, peer: string, gone: string): void {
    if (this.cuts.has(gone, peer)) {
      this.#dial(link, HANDSHAKE_TIMEOUT_US);
      return;
    }
    this.#world.in(this.#delayUs(link.dial), () => {
      const observer = this.#endpoints.get(peer);
      if (observer === undefined || link.isUp) return;
      const isAnswered = this.#endpoints.has(gone) && !this.cuts.has(peer, gone) && !this.cuts.has(gone, peer);
      if (isAnswered) {
        this.#dial(link, this.#delayUs(link.dial));
        return;
      }
      const isRefused = !this.#endpoints.has(gone) && !this.cuts.has(peer, gone);
      this.#world.in(isRefused ? 2 * this.#delayUs(link.dial) : HANDSHAKE_TIMEOUT_US, () => {
        if (this.#endpoints.get(peer) !== observer || link.isUp) return;
        observer.process.arrive(() => {
          if (link.isUp) return;
          this.#counters.add('closed link was evidence');
          observer.linkClosed(gone);
        });
        this.#dial(link, REDIAL_US);
      });
    });
  }

  #dial(link: Link, delayUs: number): void {
    if (link.isDialling) return;
    link.isDialling = true;
    this.#world.in(delayUs, () => {
      link.isDialling = false;
      this.#shakeHands(link);
    });
  }

  #shakeHands(link: Link): void {
    const { left, right } = link;
    const one = this.#endpoints.get(left);
    const other = this.#endpoints.get(right);
    // Whoever comes back dials.
    if (one === undefined || other === undefined || link.isUp) return;
    const isReachable = !this.cuts.has(left, right) && !this.cuts.has(right, left);
    const oneHello = one.hello();
    const otherHello = other.hello();
    if (
      !isReachable ||
      oneHello === undefined ||
      otherHello === undefined ||
      one.process.isStalled ||
      other.process.isStalled
    ) {
      this.#dial(link, REDIAL_US + link.dial.below(REDIAL_US));
      return;
    }
    const refusals = [
      [one, other, other.judge(left, oneHello)],
      [other, one, one.judge(right, otherHello)],
    ] as const;
    let isRefused = false;
    for (const [who, by, refusal] of refusals) {
      if (refusal === undefined) continue;
      isRefused = true;
      this.#refuse(who, by.name, refusal);
    }
    if (isRefused) {
      this.#dial(link, REFUSED_REDIAL_US);
      return;
    }
    link.isUp = true;
    link.generation += 1;
    link.arrivedUs = [0, 0];
  }

  #refuse(
    who: Endpoint<Payload>,
    by: string,
    { code, reason }: { readonly code: string; readonly reason: string },
  ): void {
    this.#counters.add(`handshake refused: ${code}`);
    who.process.arrive(() => who.refused(by, code, reason));
  }

  #break(link: Link): void {
    link.isUp = false;
    link.generation += 1;
  }

  #link(one: string, other: string): Link {
    const [left, right] = one < other ? [one, other] : [other, one];
    const key = `${left} ${right}`;
    let link = this.#links.get(key);
    if (link === undefined) {
      link = {
        left,
        right,
        isUp: false,
        generation: 0,
        isDialling: false,
        dial: this.#chance.split(key),
        draws: [this.#draws(`${left}>${right}`), this.#draws(`${right}>${left}`)],
        arrivedUs: [0, 0],
      };
      this.#links.set(key, link);
    }
    return link;
  }

  #draws(direction: string): Draws {
    const of = (what: string): Chance => this.#chance.split(`${direction} ${what}`);
    return { delay: of('delay'), loss: of('loss'), duplicate: of('duplicate'), reorder: of('reorder') };
  }

  #linksOf(name: string): Link[] {
    return [...this.#links.values()].filter((link) => link.left === name || link.right === name);
  }
}
