import {
  type ClientMessage,
  type Codec,
  codecFor,
  type Hello,
  LIMITS,
  parseServerMessage,
  type ServerMessage,
  type Welcome,
} from './protocol/index.ts';
import type { Connection, ConnectionHandler, Transport } from './transport.ts';

/** What a link tells its owner. Each call names the link, because the owner may have several while it looks for the leader. */
export interface LinkOwner {
  /** The connection is open: what to say first. */
  helloOf(link: Link): Hello;
  onWelcome(link: Link, welcome: Welcome): void;
  /** A frame has arrived: called before its messages. */
  onFrameBegin(link: Link): void;
  onMessage(link: Link, message: ServerMessage): void;
  onFrameEnd(link: Link): void;
  /** Once, the last call. */
  onLinkClosed(link: Link, reason: string): void;
}

/** One connection: hello first, then lists of messages in frames. Knows the codec and nothing of sessions. */
export class Link implements ConnectionHandler {
  readonly endpoint: string;
  readonly startedMs: number;
  /** As it was sent; undefined until the connection is open. */
  hello: Hello | undefined;
  /** Dialled because another one is doubted: of no use once that one speaks again. */
  isProbe = false;
  welcome: Welcome | undefined;
  /** Something was sent that wants an answer, and nothing has arrived since. */
  silentSinceMs: number | undefined;
  isClosed = false;

  readonly #owner: LinkOwner;
  readonly #connection: Connection;
  #codec: Codec | undefined;

  constructor(transport: Transport, endpoint: string, owner: LinkOwner, nowMs: number) {
    this.endpoint = endpoint;
    this.startedMs = nowMs;
    this.#owner = owner;
    this.#connection = transport.open(endpoint, this);
  }

  /** Sends one frame, or as many as the bound on their size asks for. */
  send(messages: readonly ClientMessage[]): void {
    const codec = this.#codec;
    if (this.isClosed || codec === undefined || messages.length === 0) return;
    const maxBytes = Math.min(LIMITS.maxFrameBytes, this.welcome?.limits.maxFrameBytes ?? LIMITS.maxFrameBytes);
    let start = 0;
    let bytes = 0;
    for (let index = 0; index < messages.length; index++) {
      const size = estimatedBytes(messages[index] as ClientMessage);
      if (bytes + size > maxBytes && index > start) {
        this.#connection.send(codec.encode(messages.slice(start, index)));
        start = index;
        bytes = 0;
      }
      bytes += size;
    }
    this.#connection.send(codec.encode(start === 0 ? messages : messages.slice(start)));
  }

  /** Says goodbye, so that the node can tell this from a crash, and closes. The owner hears nothing more. */
  leave(): void {
    if (this.isClosed) return;
    this.send([['goodbye']]);
    this.isClosed = true;
    this.#connection.close();
  }

  /** Gives the connection up; the owner hears of it at once. */
  fail(reason: string): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#connection.close();
    this.#owner.onLinkClosed(this, reason);
  }

  onOpen(subprotocol: string): void {
    if (this.isClosed) return;
    const codec = codecFor(subprotocol);
    if (codec === undefined) {
      this.fail(`${this.endpoint} does not speak lockd (subprotocol ${JSON.stringify(subprotocol)})`);
      return;
    }
    this.#codec = codec;
    this.hello = this.#owner.helloOf(this);
    this.#connection.send(codec.encode([['hello', this.hello]]));
  }

  onFrame(frame: Uint8Array | string): void {
    const codec = this.#codec;
    if (this.isClosed || codec === undefined) return;
    this.silentSinceMs = undefined;
    this.#owner.onFrameBegin(this);
    try {
      for (const raw of codec.decode(frame)) {
        const message = parseServerMessage(raw);
        if (message === undefined) continue;
        if (message[0] === 'welcome') {
          this.welcome = message[1];
          this.#owner.onWelcome(this, message[1]);
        } else {
          this.#owner.onMessage(this, message);
        }
        if (this.isClosed) return;
      }
    } catch (error) {
      // Bad input ends the connection, never the process. What is not a ProtocolError is a bug, and ends as harmlessly.
      this.fail(error instanceof Error ? error.message : String(error));
      return;
    }
    this.#owner.onFrameEnd(this);
  }

  onClose(reason: string): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#owner.onLinkClosed(this, reason);
  }
}

/** From above, by the longest form of every field. */
function estimatedBytes(message: ClientMessage): number {
  switch (message[0]) {
    case 'acquire':
      return 128 + message[4].length * 6 + (message[7] === null ? 0 : optionBytes(message[7]));
    case 'acquire-all':
      return message[4].reduce(
        (bytes, name) => bytes + 16 + name.length * 6,
        128 + (message[7] === null ? 0 : optionBytes(message[7])),
      );
    case 'ask':
      return 64 + message[2].length * 17;
    case 'hello':
    case 'open':
      return 128 * 1024;
    default:
      return 256 + LIMITS.maxNameBytes * 3;
  }
}

function optionBytes(options: object): number {
  // Lists of handles and metadata; options are rare, so the detour costs nothing that matters.
  return JSON.stringify(options).length * 6 + 256;
}
