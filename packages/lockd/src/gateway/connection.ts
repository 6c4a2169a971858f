import type { Codec, ErrorCode, ErrorDetail, Outcome, RawMessage, ServerMessage } from '@lockd/client/protocol';
import { LIMITS, ProtocolError } from '@lockd/client/protocol';
import type { FrameSocket } from '../frame-socket.ts';
import { GATEWAY_LIMITS } from './limits.ts';
import type { LocalSession } from './local-session.ts';

/** What a connection tells the gateway. */
export interface ConnectionEvents {
  onFrame(connection: Connection, messages: RawMessage[]): void;
  /** Something waits to be sent: call `flush` at the end of the turn. */
  onOutgoing(connection: Connection): void;
  /** The last call. */
  onClosed(connection: Connection): void;
}

/** One client's WebSocket: frames in, frames out, and the bounds on both. */
export class Connection {
  state: 'hello' | 'open' | 'closed' = 'hello';
  /** By id: attached here, or on the way to be. */
  readonly sessions: Map<number, LocalSession> = new Map();
  /** Opens and reads without an answer. */
  requestCount = 0;
  attachCount = 0;
  /** The client has said that it is going. */
  saidGoodbye = false;
  readonly #socket: FrameSocket;
  readonly #codec: Codec;
  readonly #events: ConnectionEvents;
  #outgoing: ServerMessage[] = [];
  #cancelHelloTimeout: (() => void) | undefined;

  constructor(socket: FrameSocket, codec: Codec, cancelHelloTimeout: () => void, events: ConnectionEvents) {
    this.#socket = socket;
    this.#codec = codec;
    this.#events = events;
    this.#cancelHelloTimeout = cancelHelloTimeout;
    socket.on('message', (data, isBinary) => this.#onMessage(data as Buffer, isBinary));
    // Told by 'close', which always follows: a frame too large, bytes that are no WebSocket frame, a reset.
    socket.on('error', () => {});
    socket.on('close', () => this.#end());
  }

  /** The hello was accepted. */
  open(): void {
    this.state = 'open';
    this.#cancelHelloTimeout?.();
    this.#cancelHelloTimeout = undefined;
  }

  send(message: ServerMessage): void {
    if (this.state === 'closed') return;
    if (this.#outgoing.length === 0) this.#events.onOutgoing(this);
    this.#outgoing.push(message);
  }

  /** An answer to a request of the connection (`session` 0), or to an operation of a session. */
  sendError(
    session: number,
    number: number,
    code: ErrorCode,
    message: string,
    outcome: Outcome,
    isRetryable: boolean,
    detail: ErrorDetail | null = null,
  ): void {
    this.send(['error', session, number, code, message, outcome, isRetryable, detail]);
  }

  /** Tells the client what is wrong with the connection itself, and ends it. */
  fail(code: ErrorCode, message: string, isRetryable = false): void {
    if (this.state === 'closed') return;
    this.sendError(0, 0, code, message, 'not-applied', isRetryable);
    this.close(1008, code);
  }

  /** Sends what is queued and ends the connection. */
  close(code: number, reason: string): void {
    if (this.state === 'closed') return;
    this.flush();
    this.#socket.close(code, reason);
    this.#end();
  }

  /** Ends at once. */
  cut(): void {
    this.#socket.terminate();
    this.#end();
  }

  /** Sends what has been queued, in one frame. */
  flush(): void {
    const outgoing = this.#outgoing;
    if (outgoing.length === 0 || this.state === 'closed') return;
    this.#outgoing = [];
    for (let from = 0; from < outgoing.length; from += GATEWAY_LIMITS.maxMessagesPerFrame) {
      const part =
        outgoing.length <= GATEWAY_LIMITS.maxMessagesPerFrame
          ? outgoing
          : outgoing.slice(from, from + GATEWAY_LIMITS.maxMessagesPerFrame);
      this.#sendFrame(part);
    }
    if (this.#socket.bufferedAmount > GATEWAY_LIMITS.maxBufferedBytes) this.cut();
  }

  /** What is too large for a frame goes in several; an answer that is too large by itself becomes an error. */
  #sendFrame(messages: readonly ServerMessage[]): void {
    const frame = this.#codec.encode(messages);
    const [first] = messages;
    if (isWithinBounds(frame) || first === undefined) {
      this.#socket.send(frame);
    } else if (messages.length > 1) {
      const half = messages.length >> 1;
      this.#sendFrame(messages.slice(0, half));
      this.#sendFrame(messages.slice(half));
    } else if (first[0] === 'result') {
      const text = `the answer is larger than a frame of ${LIMITS.maxFrameBytes} bytes: ask for fewer names at once`;
      this.#sendFrame([['error', 0, first[1], 'LOCKD_LIMIT', text, 'not-applied', false, null]]);
    } else {
      // Nothing else is made of what could be so large.
      this.cut();
    }
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    if (this.state === 'closed') return;
    let messages: RawMessage[];
    try {
      messages = this.#codec.decode(isBinary ? data : data.toString());
      this.#events.onFrame(this, messages);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.fail('LOCKD_PROTOCOL', error.message);
    }
  }

  #end(): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.#outgoing = [];
    this.#cancelHelloTimeout?.();
    this.#events.onClosed(this);
  }
}

function isWithinBounds(frame: Uint8Array | string): boolean {
  if (typeof frame !== 'string') return frame.length <= LIMITS.maxFrameBytes;
  // A UTF-16 code unit is three bytes of UTF-8 at most: counted only where it matters.
  return frame.length * 3 <= LIMITS.maxFrameBytes || Buffer.byteLength(frame) <= LIMITS.maxFrameBytes;
}
