import type { Clock } from '../clock.ts';
import { type FrameSocket, SOCKET_OPEN } from '../frame-socket.ts';
import { decodeText, encodeText, type PeerHello } from './handshake.ts';
import { PEER_LIMITS } from './limits.ts';

/** What a link tells its owner. Never after `onEnd`. */
export interface LinkEvents {
  /** Outbound: the WebSocket is there, say hello. */
  onConnected(link: PeerLink): void;
  onHello(link: PeerLink, hello: PeerHello): void;
  /** Only on an open link. */
  onFrame(link: PeerLink, bytes: Uint8Array): void;
  onRefused(link: PeerLink, code: string, reason: string): void;
  /** The kernel has taken what was sent. */
  onSent(link: PeerLink): void;
  /** The last call. */
  onEnd(link: PeerLink): void;
}

/** One WebSocket between two nodes, from its first byte to its last. */
export class PeerLink {
  readonly isInbound: boolean;
  /** The name it was dialled for, or the one its hello said. */
  peer: string | undefined;
  /** `open`: both sides have accepted each other. */
  state: 'handshake' | 'open' | 'ended' = 'handshake';
  /** It ended because this side, or the peer in words, wanted it to. */
  endedOnPurpose = false;
  /** It was logged that it is there, so its end will be. */
  isAnnounced = false;
  lastReceivedMs: number;
  lastSentMs: number;
  readonly #socket: FrameSocket;
  readonly #events: LinkEvents;
  readonly #clock: Clock;
  readonly #cancelHandshakeTimeout: () => void;
  readonly #onSent: () => void;

  constructor(socket: FrameSocket, isInbound: boolean, peer: string | undefined, clock: Clock, events: LinkEvents) {
    this.#socket = socket;
    this.isInbound = isInbound;
    this.peer = peer;
    this.#clock = clock;
    this.#events = events;
    this.lastReceivedMs = clock.nowMs();
    this.lastSentMs = this.lastReceivedMs;
    this.#onSent = () => {
      if (this.state === 'open') this.#events.onSent(this);
    };
    this.#cancelHandshakeTimeout = clock.after(PEER_LIMITS.handshakeTimeoutMs, () => {
      if (this.state === 'handshake') this.cut();
    });
    socket.on('open', () => {
      if (this.state === 'handshake') this.#events.onConnected(this);
    });
    socket.on('message', (data, isBinary) => this.#onMessage(data as Uint8Array, isBinary));
    // What went wrong is told by 'close', which always follows.
    socket.on('error', () => {});
    socket.on('close', () => this.#end());
  }

  /** Bytes handed over and not yet taken by the kernel. */
  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  sayHello(hello: PeerHello): void {
    this.#sendText(encodeText({ type: 'hello', hello }));
  }

  markOpen(): void {
    this.#cancelHandshakeTimeout();
    this.state = 'open';
  }

  sendFrame(bytes: Uint8Array): void {
    this.lastSentMs = this.#clock.nowMs();
    this.#socket.send(bytes, this.#onSent);
  }

  /** Tells the peer why and closes. */
  refuse(code: string, reason: string): void {
    this.#close(encodeText({ type: 'refused', code, reason }), reason);
  }

  goodbye(reason: string): void {
    this.#close(encodeText({ type: 'goodbye', reason }), reason);
  }

  /** Ends at once without a word. */
  cut(): void {
    this.endedOnPurpose = true;
    this.#socket.terminate();
    this.#end();
  }

  #onMessage(data: Uint8Array, isBinary: boolean): void {
    if (this.state === 'ended') return;
    this.lastReceivedMs = this.#clock.nowMs();
    if (isBinary) {
      if (this.state === 'open') this.#events.onFrame(this, data);
      else this.refuse('malformed', 'the first frame of a link is a hello');
      return;
    }
    const text = decodeText(Buffer.from(data.buffer, data.byteOffset, Math.min(data.byteLength, 65_536)).toString());
    if (text === undefined) {
      this.refuse('malformed', 'not a frame of a link between nodes');
    } else if (text.type === 'hello') {
      if (this.state === 'open') this.refuse('malformed', 'a second hello');
      else this.#events.onHello(this, text.hello);
    } else {
      this.endedOnPurpose = true;
      if (text.type === 'refused') this.#events.onRefused(this, text.code, text.reason);
      this.#socket.close();
      this.#end();
    }
  }

  #sendText(text: string): void {
    if (this.#socket.readyState === SOCKET_OPEN) this.#socket.send(text);
  }

  #close(text: string, reason: string): void {
    if (this.state === 'ended') return;
    this.endedOnPurpose = true;
    if (this.#socket.readyState === SOCKET_OPEN) {
      this.#socket.send(text);
      this.#socket.close(4000, reason.slice(0, 100));
    } else {
      this.#socket.terminate();
    }
    this.#end();
  }

  #end(): void {
    if (this.state === 'ended') return;
    this.state = 'ended';
    this.#cancelHandshakeTimeout();
    this.#events.onEnd(this);
  }
}
