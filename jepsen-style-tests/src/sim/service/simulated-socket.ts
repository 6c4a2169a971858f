import { type FrameSocket, SOCKET_OPEN } from 'lockd/service';
import type { Direction, Internet, Party } from './internet.ts';

/** What the kernel takes before the sender notices that nobody reads. */
const KERNEL_BUFFER_BYTES = 262_144;
/** A side that has said goodbye and hears nothing gives up after this. */
const CLOSE_TIMEOUT_US = 30_000_000;

const CONNECTING = 0;
const CLOSING = 2;
const CLOSED = 3;

interface Listeners {
  readonly open: (() => void)[];
  readonly message: ((data: unknown, isBinary: boolean) => void)[];
  readonly error: ((error: Error) => void)[];
  readonly close: (() => void)[];
}

/** One end of a stream between two simulated processes, with the events of `ws`. */
export class SimulatedSocket implements FrameSocket {
  readonly party: Party;
  readonly remoteHost: string;
  readonly outgoing: Direction;
  readyState: number = CONNECTING;
  /** Agreed on when the connection opened. */
  protocol = '';
  /** Why it ended, in words. */
  reason = 'the connection was closed';
  readonly #internet: Internet;
  #remote: SimulatedSocket | undefined;
  readonly #listeners: Listeners = { open: [], message: [], error: [], close: [] };
  #underwayBytes = 0;
  /** The kernel takes nothing more from the network; the process may still have to read what came before. */
  #isDead = false;

  constructor(internet: Internet, party: Party, remoteHost: string) {
    this.#internet = internet;
    this.party = party;
    this.remoteHost = remoteHost;
    this.outgoing = { from: party.host, to: remoteHost, lastArrivalUs: 0, held: [] };
  }

  get incoming(): Direction {
    return this.#remote?.outgoing ?? { from: this.remoteHost, to: this.party.host, lastArrivalUs: 0, held: [] };
  }

  get hasEnded(): boolean {
    return this.#isDead;
  }

  get bufferedAmount(): number {
    return Math.max(0, this.#underwayBytes - KERNEL_BUFFER_BYTES);
  }

  on(event: keyof Listeners, listener: (...args: never[]) => void): void {
    (this.#listeners[event] as ((...args: never[]) => void)[]).push(listener);
  }

  send(frame: Uint8Array | string, onTaken?: () => void): void {
    if (this.readyState !== SOCKET_OPEN) return;
    const isBinary = typeof frame !== 'string';
    // A copy, as the network makes one: the two sides share no memory.
    const data = Buffer.from(frame as string);
    this.#underwayBytes += data.length;
    // Nobody waits for room that there always was.
    const isTakenAtOnce = this.bufferedAmount === 0;
    this.#internet.carry(this.outgoing, () => {
      this.#underwayBytes -= data.length;
      if (!isTakenAtOnce && onTaken !== undefined) this.#tell(onTaken);
      this.#remote?.arrives(data, isBinary);
    });
  }

  close(): void {
    if (this.readyState === CONNECTING) this.terminate();
    if (this.readyState !== SOCKET_OPEN) return;
    this.readyState = CLOSING;
    this.#internet.carry(this.outgoing, () => this.#remote?.othersGoodbye());
    this.#internet.inUs(CLOSE_TIMEOUT_US, () => this.break('closed'));
  }

  terminate(): void {
    if (this.readyState === CLOSED) return;
    const remote = this.#remote;
    if (remote !== undefined && !this.#isDead) this.#internet.carryReset(this.outgoing, () => remote.break('reset'));
    this.break('terminated');
    this.readyState = CLOSED;
  }

  // From the network -----------------------------------------------------------------------------------

  /** The other side has accepted. */
  meet(other: SimulatedSocket, protocol: string): void {
    this.#remote = other;
    other.#remote = this;
    other.readyState = SOCKET_OPEN;
    other.protocol = protocol;
    this.#internet.carry(other.outgoing, () => {
      if (this.#isDead) {
        other.resetFromAfar();
        return;
      }
      this.#tell(() => {
        if (this.readyState !== CONNECTING) return;
        this.readyState = SOCKET_OPEN;
        this.protocol = protocol;
        for (const listener of this.#listeners.open) listener();
      });
    });
  }

  arrives(data: Buffer, isBinary: boolean): void {
    if (this.#isDead) {
      this.#remote?.resetFromAfar();
      return;
    }
    this.#tell(() => {
      if (this.readyState === CLOSED) return;
      for (const listener of this.#listeners.message) listener(data, isBinary);
    });
  }

  /** Everything the other side sent has come, and it is going. */
  othersGoodbye(): void {
    if (this.#isDead) return;
    const remote = this.#remote;
    if (remote !== undefined) this.#internet.carry(this.outgoing, () => remote.break('closed'));
    this.break('closed by the other side');
  }

  /** The process has ended: its kernel says so to the other side, after what was sent before. */
  closeByKernel(): void {
    const remote = this.#remote;
    if (remote !== undefined && !this.#isDead) this.#internet.carry(this.outgoing, () => remote.break('reset'));
    this.#end('its process has ended');
    this.readyState = CLOSED;
  }

  /** Its machine went dark: nobody is told. */
  vanish(): void {
    this.#isDead = true;
    this.readyState = CLOSED;
  }

  breakBothEnds(): void {
    this.#remote?.break('reset');
    this.break('reset');
  }

  /** It is over, and this side is told. */
  break(reason: string): void {
    if (this.#isDead) return;
    this.#end(reason);
    this.#tell(() => {
      this.readyState = CLOSED;
      for (const listener of this.#listeners.close) listener();
    });
  }

  /** It sent something to a connection that is no more. */
  resetFromAfar(): void {
    const remote = this.#remote;
    if (this.#isDead || remote === undefined) return;
    this.#internet.carryReset(remote.outgoing, () => this.break('reset'));
  }

  #end(reason: string): void {
    this.#isDead = true;
    this.reason = reason;
    this.#internet.forget(this);
  }

  #tell(run: () => void): void {
    const { process, usesPromises } = this.party;
    process.arrive(() => {
      run();
      if (usesPromises) this.#internet.touch();
    });
  }
}
