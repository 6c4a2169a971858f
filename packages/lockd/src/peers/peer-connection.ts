import type { NodeId } from '@lockd/raft';
import type { FrameSocket } from '../frame-socket.ts';
import type { PeerHello } from './handshake.ts';
import { PEER_LIMITS } from './limits.ts';
import type { PeerLink } from './peer-link.ts';
import type { PeerLog } from './peer-log.ts';
import type { PeerTransportOptions } from './transport-options.ts';

/** What all connections of a node share. */
export interface ConnectionSurroundings {
  readonly options: PeerTransportOptions;
  readonly log: PeerLog;
  /** The link, not open yet, over a socket that was dialled for this peer. */
  readonly linkOver: (socket: FrameSocket, peer: NodeId) => PeerLink;
  /** Its link has ended, and nobody answered when it was asked whether it is there. */
  readonly onGone: (peer: NodeId) => void;
}

/**
 * The link to one peer: dialled, tried and dialled again, from the moment the peer is known until `stop`.
 *
 * A link that ends without a goodbye is tried at once, by either side: the one that dials dials again, the other only
 * asks whether anybody is there. If nobody answers in time, that is the evidence `onLinkClosed` speaks of.
 */
export class PeerConnection {
  readonly name: NodeId;
  /** This node dials; otherwise the peer does, and this node only asks whether it is there. */
  readonly dials: boolean;
  readonly #around: ConnectionSurroundings;
  #address: string | undefined;
  #link: PeerLink | undefined;
  /** What the peer said about itself when the last link was opened. */
  #hello: PeerHello | undefined;
  /** The attempt to make the link, or to find out whether anybody is there. */
  #attempt: PeerLink | undefined;
  /** The attempt decides whether the end of the last link was the peer's death. */
  #isTrial = false;
  #cancelTrial: (() => void) | undefined;
  #cancelRedial: (() => void) | undefined;
  #redialDelayMs: number = PEER_LIMITS.minRedialDelayMs;
  #isRefused = false;
  #isStopped = false;

  /** `address` is undefined where it is not known: then the peer has to dial. */
  constructor(name: NodeId, address: string | undefined, around: ConnectionSurroundings) {
    this.name = name;
    this.dials = around.options.name < name;
    this.#address = address;
    this.#around = around;
  }

  /** Undefined unless it is open. */
  get link(): PeerLink | undefined {
    return this.#link;
  }

  get hello(): PeerHello | undefined {
    return this.#hello;
  }

  /** One side has refused the other, and no link has proved since that it does not any more. */
  get isRefused(): boolean {
    return this.#isRefused;
  }

  /** Dials, if that is this node's part and there is neither link nor attempt. */
  connect(): void {
    if (this.dials) this.#dial(false);
  }

  /** False: that is where it was already. What was begun with the old address is given up. */
  moveTo(address: string | undefined): boolean {
    if (this.#address === address) return false;
    this.#address = address;
    this.#redialDelayMs = PEER_LIMITS.minRedialDelayMs;
    this.#attempt?.cut();
    return true;
  }

  /** Both sides have accepted each other: this is the link now. */
  open(link: PeerLink, hello: PeerHello): void {
    // It dials only when it has no link: the one we know is dead, even if no one has told us.
    this.#link?.goodbye('replaced by a newer link');
    if (this.#attempt === link) this.#attempt = undefined;
    link.markOpen();
    this.#link = link;
    this.#hello = hello;
    this.#redialDelayMs = PEER_LIMITS.minRedialDelayMs;
    this.answered();
  }

  /** Somebody is there. */
  answered(): void {
    this.#concludeTrial(false);
  }

  /** One side has refused the other: there is no hurry. */
  refused(): void {
    this.#isRefused = true;
    this.#redialDelayMs = PEER_LIMITS.refusedRedialDelayMs;
  }

  /** The link is there, and no side refuses it. */
  accepted(): void {
    this.#isRefused = false;
  }

  /** A link or an attempt has ended. True where it was the open link: the caller tells others and then calls `reconnect`. */
  ended(link: PeerLink): boolean {
    if (this.#attempt === link) {
      this.#attempt = undefined;
      this.#concludeTrial(true);
      this.#redialLater();
      return false;
    }
    if (this.#link !== link) return false;
    this.#link = undefined;
    return true;
  }

  reconnect(hasEndedOnPurpose: boolean): void {
    if (hasEndedOnPurpose) this.#redialLater();
    else this.#dial(true);
  }

  /** Dials no more. A link or an attempt that there is stays the caller's. */
  stop(): void {
    this.#isStopped = true;
    this.#cancelRedial?.();
    this.#cancelTrial?.();
  }

  /** `stop`, and gives up an attempt. */
  abandon(): void {
    this.stop();
    this.#attempt?.cut();
  }

  #dial(isTrial: boolean): void {
    if (this.#isStopped || this.#link !== undefined || this.#attempt !== undefined) return;
    // It cannot be asked whether it is there: no evidence either way.
    if (this.#address === undefined) return;
    const { options, log, linkOver } = this.#around;
    this.#cancelRedial?.();
    this.#cancelRedial = undefined;
    this.#isTrial = isTrial;
    if (isTrial)
      this.#cancelTrial = options.clock.after(PEER_LIMITS.evidenceTimeoutMs, () => this.#concludeTrial(true));
    let socket: FrameSocket;
    try {
      socket = options.dial(this.#address);
    } catch (error) {
      const fields = { address: this.#address, error: String(error) };
      log.say(this.name, 'error', 'the address of a peer cannot be used', fields);
      this.#concludeTrial(true);
      return;
    }
    this.#attempt = linkOver(socket, this.name);
  }

  /** The trial, if there is one, is over: nobody was there, or somebody was. */
  #concludeTrial(isGone: boolean): void {
    this.#cancelTrial?.();
    this.#cancelTrial = undefined;
    if (!this.#isTrial) return;
    this.#isTrial = false;
    if (isGone && this.#link === undefined && !this.#isStopped) this.#around.onGone(this.name);
  }

  #redialLater(): void {
    if (this.#isStopped || !this.dials || this.#link !== undefined) return;
    const { clock, random } = this.#around.options;
    this.#cancelRedial?.();
    const delayMs = this.#redialDelayMs + random(Math.ceil(this.#redialDelayMs / 2));
    this.#redialDelayMs = Math.min(
      this.#redialDelayMs * 2,
      Math.max(PEER_LIMITS.maxRedialDelayMs, this.#redialDelayMs),
    );
    this.#cancelRedial = clock.after(delayMs, () => this.#dial(false));
  }
}
