import { connect, createServer, type Server, type Socket } from 'node:net';
import { after, monotonicNs } from '../clock.ts';
import type { Random } from '../random.ts';

/**
 * What a directed link does with bytes from one side to the other.
 * - `open`: passes them on, after `delayMs` plus up to `jitterMs`, in order.
 * - `silence`: takes none; those on their way arrive once it opens again, as after a partition that TCP outlives.
 * - `reset`: connections that use it end with RST, new ones at once.
 */
export interface LinkState {
  readonly mode: 'open' | 'silence' | 'reset';
  readonly delayMs: number;
  readonly jitterMs: number;
}

/** What a link has done, for telling whether a fault had any effect. */
export interface LinkCounters {
  readonly passedBytes: number;
  /** Held back by `silence`. */
  readonly withheldBytes: number;
  /** Connections ended, or refused, by a fault. */
  readonly resets: number;
}

const OPEN: LinkState = { mode: 'open', delayMs: 0, jitterMs: 0 };
/** Bytes held in user space for one direction of one connection; beyond it its source is not read. */
const MAX_HELD_BYTES = 1 << 20;

/**
 * All TCP links of a run. Each is a listener of its own on loopback, for one dialer and one target; a connection's two
 * directions are two links (dialer to target, target to dialer), so one-way faults hold whoever dialled.
 */
export class Network {
  readonly #random: Random;
  readonly #states = new Map<string, LinkState>();
  readonly #counters = new Map<string, { passedBytes: number; withheldBytes: number; resets: number }>();
  readonly #connections = new Set<ProxiedConnection>();
  readonly #servers = new Set<Server>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** Listens for `dialer`, which reaches `target` there. Resolves to the port. */
  listen(
    dialer: string,
    target: string,
    address: { readonly host: string; readonly port: number },
    host: string = '127.0.0.1',
  ): Promise<number> {
    return this.#serve(() => dialer, target, address, host);
  }

  /**
   * Listens for whoever reaches `target` by the one address that everybody is told, such as one that stands in the log.
   * `dialerOf` says who has dialled; whom it does not know is refused.
   */
  listenForAll(
    dialerOf: (socket: Socket) => string | undefined,
    target: string,
    address: { readonly host: string; readonly port: number },
    host: string = '127.0.0.1',
  ): Promise<number> {
    return this.#serve(dialerOf, target, address, host);
  }

  async #serve(
    dialerOf: (socket: Socket) => string | undefined,
    target: string,
    address: { readonly host: string; readonly port: number },
    host: string,
  ): Promise<number> {
    const server = createServer({ pauseOnConnect: true }, (near) => {
      const dialer = dialerOf(near);
      if (dialer === undefined) {
        near.on('error', () => {});
        near.resetAndDestroy();
        return;
      }
      const up = this.state(dialer, target);
      const down = this.state(target, dialer);
      if (up.mode === 'reset' || down.mode === 'reset') {
        this.#count(dialer, target).resets++;
        near.resetAndDestroy();
        return;
      }
      const connection = new ProxiedConnection(this, dialer, target, near, address);
      this.#connections.add(connection);
      connection.onEnd = () => this.#connections.delete(connection);
      // Across a silent link the handshake of TCP itself gets no answer: nothing is dialled until it heals.
      if (up.mode === 'open' && down.mode === 'open') connection.dial();
    });
    this.#servers.add(server);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, host, resolve);
    });
    server.on('error', () => {});
    return (server.address() as { port: number }).port;
  }

  state(from: string, to: string): LinkState {
    return this.#states.get(`${from}>${to}`) ?? OPEN;
  }

  counters(from: string, to: string): LinkCounters {
    return { ...this.#count(from, to) };
  }

  /** Changes one direction. What it held back while silent is passed on when it opens. */
  set(from: string, to: string, change: Partial<LinkState>): void {
    const before = this.state(from, to);
    const state = { ...before, ...change };
    this.#states.set(`${from}>${to}`, state);
    for (const connection of this.#connections) {
      if (!connection.uses(from, to)) continue;
      if (state.mode === 'reset') connection.reset();
      else if (before.mode === 'silence' && state.mode === 'open') connection.reopened(from);
    }
  }

  /** Both directions. */
  setBoth(a: string, b: string, change: Partial<LinkState>): void {
    this.set(a, b, change);
    this.set(b, a, change);
  }

  /** Ends the connections between two ends with RST on both sides; the next ones work. Returns how many there were. */
  cut(a: string, b: string): number {
    return this.#each(a, b, (connection) => connection.reset());
  }

  /** Lets `bytes` more of the next frame through from `from`, then cuts: the receiver is left with part of a frame. */
  cutWithinFrame(from: string, to: string, bytes: number): number {
    return this.#each(from, to, (connection) => connection.cutAfter(from, bytes));
  }

  /** `gone`'s side of the connections is closed with RST; the other side hears nothing and keeps it open until healed. */
  halfOpen(gone: string, other: string): number {
    return this.#each(gone, other, (connection) => connection.leaveHalfOpen(gone));
  }

  /**
   * Open again: these links, or all. `reset` also cuts connections that were held back, instead of passing on late what
   * they hold. Half-open connections between the same ends are over.
   */
  heal(
    options: { readonly reset?: boolean; readonly links?: readonly (readonly [from: string, to: string])[] } = {},
  ): void {
    const links = options.links ?? [...this.#states.keys()].map((link) => link.split('>') as [string, string]);
    for (const [from, to] of links) {
      if (options.reset === true && this.state(from, to).mode === 'silence') this.cut(from, to);
      if (this.#states.has(`${from}>${to}`)) this.set(from, to, OPEN);
      this.#states.delete(`${from}>${to}`);
    }
    for (const connection of this.#connections) {
      if (
        connection.isHalfOpen &&
        (options.links === undefined || options.links.some(([a, b]) => connection.uses(a, b)))
      )
        connection.reset();
    }
  }

  async close(): Promise<void> {
    for (const connection of this.#connections) connection.reset();
    await Promise.all(
      [...this.#servers].map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
    );
    this.#servers.clear();
  }

  /** @internal */
  passed(from: string, to: string, bytes: number): void {
    this.#count(from, to).passedBytes += bytes;
  }

  /** @internal */
  withheld(from: string, to: string, bytes: number): void {
    this.#count(from, to).withheldBytes += bytes;
  }

  /** @internal */
  wasReset(from: string, to: string): void {
    this.#count(from, to).resets++;
  }

  /** @internal Delay for bytes that leave now. */
  delayMs(from: string, to: string): number {
    const { delayMs, jitterMs } = this.state(from, to);
    return delayMs === 0 && jitterMs === 0 ? 0 : delayMs + this.#random.next() * jitterMs;
  }

  #each(a: string, b: string, act: (connection: ProxiedConnection) => void): number {
    const affected = [...this.#connections].filter((connection) => connection.uses(a, b));
    for (const connection of affected) act(connection);
    return affected.length;
  }

  #count(from: string, to: string): { passedBytes: number; withheldBytes: number; resets: number } {
    const link = `${from}>${to}`;
    let counters = this.#counters.get(link);
    if (counters === undefined) {
      counters = { passedBytes: 0, withheldBytes: 0, resets: 0 };
      this.#counters.set(link, counters);
    }
    return counters;
  }
}

/** One accepted connection and the one made for it. */
class ProxiedConnection {
  onEnd = (): void => {};
  isHalfOpen = false;
  readonly #network: Network;
  readonly #dialer: string;
  readonly #target: string;
  readonly #near: Socket;
  readonly #address: { readonly host: string; readonly port: number };
  #far: Socket | undefined;
  #up: Direction | undefined;
  #down: Direction | undefined;
  #isOver = false;

  constructor(
    network: Network,
    dialer: string,
    target: string,
    near: Socket,
    address: { readonly host: string; readonly port: number },
  ) {
    this.#network = network;
    this.#dialer = dialer;
    this.#target = target;
    this.#near = near;
    this.#address = address;
    near.setNoDelay(true);
    near.on('error', () => {});
    near.on('close', () => this.#ended());
  }

  uses(a: string, b: string): boolean {
    return (this.#dialer === a && this.#target === b) || (this.#dialer === b && this.#target === a);
  }

  dial(): void {
    const far = connect({ ...this.#address, noDelay: true });
    this.#far = far;
    let isConnected = false;
    far.on('error', () => {
      // A refusal must look like one: the dialer learns at once that nobody listens.
      if (!isConnected) this.#near.resetAndDestroy();
    });
    far.on('close', () => this.#ended());
    far.once('connect', () => {
      isConnected = true;
      this.#up = new Direction(this.#network, this.#dialer, this.#target, this.#near, far, () => this.reset());
      this.#down = new Direction(this.#network, this.#target, this.#dialer, far, this.#near, () => this.reset());
    });
  }

  reset(): void {
    if (this.#isOver) return;
    this.#network.wasReset(this.#dialer, this.#target);
    this.#near.resetAndDestroy();
    this.#far?.resetAndDestroy();
    this.#ended();
  }

  reopened(from: string): void {
    // Accepted while the link was silent: the dialer has long given up on it, or will dial again.
    if (this.#far === undefined) {
      this.reset();
      return;
    }
    (from === this.#dialer ? this.#up : this.#down)?.resume();
  }

  cutAfter(from: string, bytes: number): void {
    const direction = from === this.#dialer ? this.#up : this.#down;
    if (direction === undefined) this.reset();
    else direction.cutAfter(bytes);
  }

  leaveHalfOpen(gone: string): void {
    if (this.#isOver || this.isHalfOpen) return;
    this.isHalfOpen = true;
    this.#network.wasReset(this.#dialer, this.#target);
    this.#up?.discard();
    this.#down?.discard();
    if (gone === this.#dialer) this.#near.resetAndDestroy();
    else this.#far?.resetAndDestroy();
  }

  #ended(): void {
    if (this.#isOver) return;
    // Of a half-open connection one side is supposed to be gone; it is over when the other goes too.
    if (this.isHalfOpen && !(this.#near.destroyed && (this.#far?.destroyed ?? true))) return;
    this.#isOver = true;
    this.#up?.stop();
    this.#down?.stop();
    // What was passed on already is still delivered: `end` lets the kernel send it.
    if (!this.#near.destroyed) this.#near.end();
    if (this.#far !== undefined && !this.#far.destroyed) this.#far.end();
    const near = this.#near;
    const far = this.#far;
    after(1000, () => {
      near.destroy();
      far?.destroy();
    });
    this.onEnd();
  }
}

/** Bytes from one socket to the other, held, delayed or cut as the link says. */
class Direction {
  readonly #network: Network;
  readonly #from: string;
  readonly #to: string;
  readonly #source: Socket;
  readonly #sink: Socket;
  readonly #cut: () => void;
  #held: Buffer[] = [];
  readonly #delayed: Buffer[] = [];
  #heldBytes = 0;
  #lastDueNs = 0;
  #bytesUntilCut: number | undefined;
  #isStopped = false;
  #isDiscarding = false;

  constructor(network: Network, from: string, to: string, source: Socket, sink: Socket, cut: () => void) {
    this.#network = network;
    this.#from = from;
    this.#to = to;
    this.#source = source;
    this.#sink = sink;
    this.#cut = cut;
    source.on('data', (chunk: Buffer) => this.#take(chunk));
    source.on('end', () => {
      if (!this.#isStopped && this.#held.length === 0) sink.end();
    });
    sink.on('drain', () => this.#readOn());
    source.resume();
  }

  resume(): void {
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    for (const chunk of held) this.#take(chunk);
    this.#readOn();
  }

  cutAfter(bytes: number): void {
    this.#bytesUntilCut = bytes;
  }

  discard(): void {
    this.#isDiscarding = true;
    this.#held = [];
    this.#source.resume();
  }

  stop(): void {
    this.#isStopped = true;
    this.#held = [];
  }

  #take(chunk: Buffer): void {
    if (this.#isStopped || this.#isDiscarding) return;
    if (this.#network.state(this.#from, this.#to).mode === 'silence') {
      this.#network.withheld(this.#from, this.#to, chunk.length);
      this.#held.push(chunk);
      this.#heldBytes += chunk.length;
      if (this.#heldBytes >= MAX_HELD_BYTES) this.#source.pause();
      return;
    }
    const delayMs = this.#network.delayMs(this.#from, this.#to);
    const nowNs = monotonicNs();
    if (delayMs === 0 && this.#delayed.length === 0) {
      this.#pass(chunk);
      return;
    }
    // Later bytes never overtake earlier ones.
    this.#lastDueNs = Math.max(this.#lastDueNs, nowNs + delayMs * 1e6);
    this.#heldBytes += chunk.length;
    if (this.#heldBytes >= MAX_HELD_BYTES) this.#source.pause();
    // Timers of unlike length may fire out of order: each passes on whatever is first.
    this.#delayed.push(chunk);
    after((this.#lastDueNs - nowNs) / 1e6, () => {
      const first = this.#delayed.shift();
      if (first === undefined) return;
      this.#heldBytes -= first.length;
      this.#readOn();
      this.#pass(first);
    });
  }

  #pass(chunk: Buffer): void {
    if (this.#isStopped || this.#isDiscarding || this.#sink.destroyed) return;
    if (this.#bytesUntilCut !== undefined) {
      const part = chunk.subarray(0, this.#bytesUntilCut);
      this.#bytesUntilCut -= part.length;
      this.#network.passed(this.#from, this.#to, part.length);
      if (this.#bytesUntilCut > 0) {
        this.#sink.write(part);
        return;
      }
      // The part must reach the receiver before the reset does.
      this.#isDiscarding = true;
      this.#sink.write(part, () => after(20, this.#cut));
      return;
    }
    this.#network.passed(this.#from, this.#to, chunk.length);
    if (!this.#sink.write(chunk)) this.#source.pause();
  }

  #readOn(): void {
    if (!this.#isStopped && this.#heldBytes < MAX_HELD_BYTES && !this.#sink.writableNeedDrain) this.#source.resume();
  }
}
