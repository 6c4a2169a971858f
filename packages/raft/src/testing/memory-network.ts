import type { NodeId } from '../core/ids.ts';
import type { Clock } from '../node/clock.ts';
import type { OpenDriver } from '../node/driver-options.ts';
import type { PeerPayload, Transport } from '../node/transport.ts';

/**
 * Links between drivers in one process. A link is up when both ends are attached and neither refuses the other; what
 * is sent meanwhile is lost and reported unreachable. Payloads are passed on as they are.
 */
export class MemoryNetwork {
  readonly #clock: Clock;
  readonly #delayMs: () => number;
  readonly #nodes = new Map<NodeId, OpenDriver>();
  readonly #cuts = new Set<string>();
  /** Sees every payload before it is sent; false loses it. */
  filter: (from: NodeId, to: NodeId, payload: PeerPayload) => boolean = () => true;

  /** `delayMs` is drawn for each payload: payloads may overtake each other. */
  constructor(clock: Clock, delayMs: () => number = () => 0) {
    this.#clock = clock;
    this.#delayMs = delayMs;
  }

  transport(from: NodeId): Transport {
    return {
      send: (message) => this.#send(from, message.to, { kind: 'raft', message }),
      sendSnapshot: (to, transfer) => this.#send(from, to, { kind: 'snapshot', transfer }),
      sendProbe: (to, probe) => this.#send(from, to, { kind: 'probe', probe }),
    };
  }

  /** Connects the node to every other one. */
  attach(id: NodeId, node: OpenDriver): void {
    this.#nodes.set(id, node);
    for (const other of this.#nodes.keys()) if (other !== id) this.#shakeHands(id, other);
  }

  /** The process is gone: its peers see their links end, and cannot dial again. */
  detach(id: NodeId): void {
    this.#nodes.delete(id);
    for (const [other, node] of this.#nodes) if (!this.#isCut(id, other)) node.handler.onLinkClosed(id);
  }

  /** Silence between two nodes, in both directions. */
  cut(left: NodeId, right: NodeId): void {
    this.#cuts.add(linkOf(left, right));
  }

  heal(): void {
    this.#cuts.clear();
    const ids = [...this.#nodes.keys()];
    for (const [position, left] of ids.entries())
      for (const right of ids.slice(position + 1)) this.#shakeHands(left, right);
  }

  #shakeHands(left: NodeId, right: NodeId): void {
    for (const [from, to] of [
      [left, right],
      [right, left],
    ] as const) {
      const identity = this.#nodes.get(from)?.identity();
      const receiver = this.#nodes.get(to);
      if (identity === undefined || receiver === undefined || this.#isCut(from, to)) continue;
      const verdict = receiver.handler.onPeerIdentity(from, identity);
      if (verdict.accept) continue;
      this.cut(from, to);
      this.#nodes.get(from)?.handler.onRefused(to, verdict.code, verdict.reason);
    }
  }

  #send(from: NodeId, to: NodeId, payload: PeerPayload): void {
    if (!this.filter(from, to, payload)) return;
    if (this.#isCut(from, to)) return;
    const sender = this.#nodes.get(from);
    const receiver = this.#nodes.get(to);
    if (sender === undefined) return;
    if (receiver === undefined) {
      sender.handler.onUnreachable(to);
      return;
    }
    const deliver = (): void => {
      // Not to a successor of the process it was sent to, and not from a predecessor.
      if (this.#nodes.get(to) !== receiver || this.#nodes.get(from) !== sender || this.#isCut(from, to)) return;
      if (payload.kind === 'raft') receiver.handler.onMessage(payload.message);
      else if (payload.kind === 'snapshot') receiver.handler.onSnapshot(from, payload.transfer);
      else receiver.handler.onProbe(from, payload.probe);
    };
    const delayMs = this.#delayMs();
    if (delayMs === 0) this.#clock.endOfTurn(deliver);
    else this.#clock.after(delayMs, deliver);
  }

  #isCut(left: NodeId, right: NodeId): boolean {
    return this.#cuts.has(linkOf(left, right));
  }
}

function linkOf(left: NodeId, right: NodeId): string {
  return left < right ? `${left} ${right}` : `${right} ${left}`;
}
