import type { Chance } from '../world/chance.ts';
import type { Counters } from '../world/counters.ts';
import { Cuts } from '../world/cuts.ts';
import type { SimulatedProcess } from '../world/process.ts';
import type { World } from '../world/world.ts';
import { SimulatedSocket } from './simulated-socket.ts';

/** Who has a socket: a process on a host. Cuts are between hosts. */
export interface Party {
  readonly host: string;
  readonly process: SimulatedProcess;
  /** What it is told may wake promises. */
  readonly usesPromises: boolean;
}

export interface Listening extends Party {
  /** Which of the offered subprotocols is spoken. */
  readonly choose: (offered: readonly string[]) => string;
  readonly onSocket: (socket: SimulatedSocket) => void;
}

/** How streams behave between faults. Microseconds, and shares in a thousand. */
export interface StreamShape {
  readonly minDelayUs: number;
  readonly maxDelayUs: number;
  /** Of a segment that is lost and sent again later: everything behind it waits. */
  retransmitPerMille: number;
  extraDelayUs: number;
}

/** What is sent again waits for so long, as TCP has it. */
const RETRANSMIT_MIN_US = 200_000;
const RETRANSMIT_MAX_US = 1_000_000;
const SOON_US = 100_000;
/** A host that does not answer a dial is asked again after this. */
const DIAL_AGAIN_US = 1_000_000;
/** Afterwards the dial has failed. */
const DIAL_TIMEOUT_US = 10_000_000;

/** One direction of a stream: bytes arrive in order, late, or not before a cut is mended. */
export interface Direction {
  readonly from: string;
  readonly to: string;
  lastArrivalUs: number;
  /** Arrived at a cut, in order. */
  held: (() => void)[];
}

/**
 * Streams between hosts, as TCP has them. A cut withholds what is sent until it is mended: nobody is told, and nothing is
 * lost but what belongs to a connection that has ended meanwhile. A process that ends closes its connections, a machine that
 * goes dark does not. Whoever sends to a connection that is no more gets a reset.
 */
export class Internet {
  readonly #world: World;
  readonly #chance: Chance;
  readonly #counters: Counters;
  readonly shape: StreamShape;
  readonly #listeners = new Map<string, Listening>();
  readonly #hosts = new Set<string>();
  readonly #cuts = new Cuts();
  readonly #refusals = new Set<string>();
  readonly #dark = new Set<string>();
  /** What a host says (`HOST>`), or hears (`>HOST`), takes so much longer, microseconds. */
  readonly #lags = new Map<string, number>();
  readonly #sockets = new Set<SimulatedSocket>();
  readonly #held = new Set<Direction>();

  constructor(world: World, chance: Chance, shape: StreamShape, counters: Counters) {
    this.#world = world;
    this.#chance = chance;
    this.shape = shape;
    this.#counters = counters;
  }

  listen(address: string, listening: Listening): void {
    this.#listeners.set(address, listening);
    this.#hosts.add(listening.host);
  }

  /** Begins to connect. `to`: the host on which `address` is. */
  dial(from: Party, to: string, address: string, offered: readonly string[] = ['']): SimulatedSocket {
    const socket = new SimulatedSocket(this, from, to);
    this.#sockets.add(socket);
    this.#knock(socket, to, address, offered, this.#world.nowUs + DIAL_TIMEOUT_US);
    return socket;
  }

  /** The process is gone. `dark`: with its machine, so that nobody is told. */
  ended(process: SimulatedProcess, how: 'closed' | 'dark'): void {
    for (const [address, { process: listener }] of this.#listeners)
      if (listener === process) this.#listeners.delete(address);
    for (const socket of [...this.#sockets]) {
      if (socket.party.process !== process) continue;
      if (how === 'dark') {
        this.#dark.add(socket.party.host);
        this.forget(socket);
        socket.vanish();
      } else socket.closeByKernel();
    }
  }

  wentDark(host: string): void {
    this.#dark.add(host);
  }

  /** The machine runs again: what was sent to it in the dark is answered. */
  lit(host: string): void {
    if (this.#dark.delete(host)) this.#release((direction) => direction.to === host);
  }

  cut(from: string, to: string): void {
    this.#cuts.cut(from, to);
  }

  mend(from: string, to: string): void {
    if (this.#cuts.mend(from, to)) this.#release((direction) => direction.from === from && direction.to === to);
  }

  /** Whatever cuts this host off is over, and what was withheld comes soon. */
  mendHost(host: string): void {
    this.#cuts.mendHost(host);
    this.#release((direction) => direction.from === host || direction.to === host, SOON_US);
  }

  mendAll(): void {
    this.#cuts.mendAll();
    this.#refusals.clear();
    this.#release(() => true);
  }

  /** New connections are refused from now on, or no more. */
  refuse(from: string, to: string, isRefused: boolean): void {
    if (isRefused) this.#refusals.add(`${from}>${to}`);
    else this.#refusals.delete(`${from}>${to}`);
  }

  /** What it says (`out`) or hears (`in`) takes so much longer from now on. */
  lag(host: string, direction: 'in' | 'out', us: number): void {
    const key = direction === 'out' ? `${host}>` : `>${host}`;
    if (us === 0) this.#lags.delete(key);
    else this.#lags.set(key, us);
  }

  /** Ends every connection between two hosts at once; both sides are told. */
  reset(one: string, other: string): number {
    let count = 0;
    for (const socket of [...this.#sockets]) {
      if (socket.party.host !== one || socket.remoteHost !== other) continue;
      count += 1;
      socket.breakBothEnds();
    }
    return count;
  }

  // For sockets --------------------------------------------------------------------------------------

  /** Calls `arrive` when what is sent now has come over, after everything before it. */
  carry(direction: Direction, arrive: () => void): void {
    let atUs = this.#world.nowUs + this.#delayUs() + this.#lagUs(direction);
    if (this.shape.retransmitPerMille > 0 && this.#chance.perMille(this.shape.retransmitPerMille)) {
      this.#counters.add('segment sent again');
      atUs += this.#chance.between(RETRANSMIT_MIN_US, RETRANSMIT_MAX_US);
    }
    atUs = Math.max(atUs, direction.lastArrivalUs);
    direction.lastArrivalUs = atUs;
    this.#world.at(atUs, () => this.#comeOver(direction, arrive));
  }

  /** Like `carry`, but overtakes, and is lost in a cut. */
  carryReset(direction: Direction, arrive: () => void): void {
    this.#world.in(this.#delayUs(), () => {
      if (!this.#isBlocked(direction)) arrive();
    });
  }

  forget(socket: SimulatedSocket): void {
    this.#sockets.delete(socket);
  }

  inUs(delayUs: number, run: () => void): void {
    this.#world.in(delayUs, run);
  }

  /** Promises may have been woken. */
  touch(): void {
    this.#world.touch();
  }

  // --------------------------------------------------------------------------------------------------

  #comeOver(direction: Direction, arrive: () => void): void {
    if (direction.held.length > 0 || this.#isBlocked(direction)) {
      if (direction.held.length === 0) this.#counters.add('stream held by a cut');
      direction.held.push(arrive);
      this.#held.add(direction);
    } else arrive();
  }

  #isBlocked({ from, to }: Direction): boolean {
    return this.#cuts.has(from, to) || this.#dark.has(to);
  }

  #release(matches: (direction: Direction) => boolean, withinUs = RETRANSMIT_MAX_US): void {
    for (const direction of [...this.#held]) {
      if (!matches(direction)) continue;
      this.#world.in(this.#chance.between(1, withinUs), () => {
        if (this.#isBlocked(direction)) return;
        const { held } = direction;
        direction.held = [];
        this.#held.delete(direction);
        for (const arrive of held) arrive();
      });
    }
  }

  #lagUs({ from, to }: Direction): number {
    return this.#lags.size === 0 ? 0 : (this.#lags.get(`${from}>`) ?? 0) + (this.#lags.get(`>${to}`) ?? 0);
  }

  #delayUs(): number {
    const { minDelayUs, maxDelayUs, extraDelayUs } = this.shape;
    return this.#chance.between(minDelayUs, maxDelayUs) + (extraDelayUs > 0 ? this.#chance.below(extraDelayUs) : 0);
  }

  #knock(socket: SimulatedSocket, to: string, address: string, offered: readonly string[], untilUs: number): void {
    this.#world.in(this.#delayUs(), () => {
      if (socket.hasEnded) return;
      if (this.#isBlocked({ ...socket.outgoing, to }) || this.#isBlocked(socket.incoming)) {
        this.#world.in(DIAL_AGAIN_US, () => {
          if (this.#world.nowUs > untilUs) socket.break('no answer');
          else this.#knock(socket, to, address, offered, untilUs);
        });
        return;
      }
      const listening = this.#listeners.get(address);
      if (listening === undefined || this.#refusals.has(`${socket.party.host}>${to}`)) {
        this.#counters.add('connection refused');
        this.#world.in(this.#delayUs(), () => socket.break('refused'));
        return;
      }
      listening.process.arrive(() => {
        const other = new SimulatedSocket(this, listening, socket.party.host);
        this.#sockets.add(other);
        socket.meet(other, listening.choose(offered));
        listening.onSocket(other);
      });
    });
  }
}
