import type { Message, NodeId } from '@lockd/raft';
import type { JoinProbe, SnapshotTransfer, Transport } from '@lockd/raft/node';
import type { FrameSocket } from '../frame-socket.ts';
import type { AppPayload } from './app-payload.ts';
import { PEER_LIMITS } from './limits.ts';
import {
  encodeApp,
  encodeMessage,
  encodeProbe,
  encodeTransfer,
  type Item,
  PING,
  packFrame,
  unpackFrame,
} from './peer-codec.ts';
import type { PeerLink } from './peer-link.ts';
import { PeerLinks } from './peer-links.ts';
import { PeerLog } from './peer-log.ts';
import type { PeerTransportOptions, TransportDependencies } from './transport-options.ts';

/** For /metrics. */
export interface PeerCounters {
  framesSent: number;
  /** Payloads of those frames. */
  bytesSent: number;
}

interface Queued {
  readonly item: Item;
  readonly byteLength: number;
}

/** What waits to go out over one link. */
interface Outbox {
  readonly link: PeerLink;
  control: Item[];
  bulk: Queued[];
  bulkBytes: number;
  isDirty: boolean;
}

/**
 * What goes over the links between this node and the others (`PeerLinks` makes them).
 *
 * What is queued in a turn goes out as one frame for each peer, at `flush` or else at the end of the turn. Votes, heartbeats
 * and answers go ahead of entries and snapshots, which wait here until the socket has room (PEER_LIMITS).
 */
export class PeerTransport implements Transport {
  readonly counters: PeerCounters = { framesSent: 0, bytesSent: 0 };
  readonly #options: PeerTransportOptions;
  readonly #log: PeerLog;
  readonly #links: PeerLinks;
  /** One for each open link, by the peer's name. */
  readonly #outboxes = new Map<string, Outbox>();
  readonly #flushAtEndOfTurn: () => void;
  #dependencies: TransportDependencies | undefined;
  #dirty: Outbox[] = [];
  #flushIsDue = false;
  /** Between `turnBegins` and `turnEnds`. */
  #isInTurn = false;

  constructor(options: PeerTransportOptions) {
    this.#options = options;
    this.#log = new PeerLog(options.log);
    this.#links = new PeerLinks(options, this.#log, {
      onUp: (peer, link) => this.#outboxes.set(peer, { link, control: [], bulk: [], bulkBytes: 0, isDirty: false }),
      onDown: (peer) => this.#outboxes.delete(peer),
      onQuiet: (peer) => this.#queueControl(peer, PING),
      onFrame: (link, bytes) => this.#onFrame(link, bytes),
      onSent: (link) => this.#onSent(link),
    });
    this.#flushAtEndOfTurn = () => {
      this.#flushIsDue = false;
      this.flush();
    };
  }

  /** Begins to dial and to accept. */
  start(dependencies: TransportDependencies): void {
    this.#dependencies = dependencies;
    this.#links.start(dependencies);
  }

  /** A WebSocket that has come in on the peer listener. */
  accept(socket: FrameSocket): void {
    this.#links.accept(socket);
  }

  /** Says goodbye on every link and makes no new ones. What is queued goes out first. */
  stop(reason: string): void {
    this.flush();
    this.#links.stop(reason);
  }

  /**
   * Who the others are from now on. Links to new ones are made, those to who is left out are closed: with a word to
   * members that were removed, so that they stop asking for votes. `undefined`: not known where it listens.
   */
  setPeers(peers: ReadonlyMap<NodeId, string | undefined>): void {
    this.#links.setPeers(peers);
  }

  isConnected(peer: NodeId): boolean {
    return this.#links.isConnected(peer);
  }

  /** Where that peer says that others reach it: known once it was connected. */
  peerAddressOf(peer: NodeId): string | undefined {
    return this.#links.helloOf(peer)?.peer;
  }

  /** Where clients reach that peer: known once it was connected. */
  clientAddressOf(peer: NodeId): string | undefined {
    return this.#links.helloOf(peer)?.client;
  }

  send(message: Message): void {
    if (message.type === 'append-request' && message.runs.length > 0) {
      let byteLength = 64;
      for (const run of message.runs) byteLength += run.byteLength + run.count * 4 + 32;
      this.#queueRaftBulk(message.to, encodeMessage(message), byteLength);
    } else {
      this.#queueControl(message.to, encodeMessage(message));
    }
  }

  sendSnapshot(to: NodeId, transfer: SnapshotTransfer): void {
    if (transfer.type === 'snapshot-chunk')
      this.#queueRaftBulk(to, encodeTransfer(transfer), transfer.bytes.length + transfer.configuration.length + 128);
    else this.#queueControl(to, encodeTransfer(transfer));
  }

  sendProbe(to: NodeId, probe: JoinProbe): void {
    this.#queueControl(to, encodeProbe(probe));
  }

  /** False: there is no link, or its queue is full, and nothing was sent. */
  sendApp(to: NodeId, payload: AppPayload): boolean {
    if (payload.type !== 'forward') return this.#queueControl(to, encodeApp(payload));
    const byteLength = (payload.ends[payload.ends.length - 1] as number) - payload.start + payload.ends.length * 4 + 32;
    return this.#queueBulk(to, encodeApp(payload), byteLength);
  }

  /** Until `turnEnds`, what is queued waits for it: a moment of its own would be one more round of the event loop. */
  turnBegins(): void {
    this.#isInTurn = true;
  }

  turnEnds(): void {
    this.#isInTurn = false;
    this.flush();
  }

  flush(): void {
    if (this.#dirty.length === 0) return;
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const outbox of dirty) {
      outbox.isDirty = false;
      this.#flushOutbox(outbox);
    }
  }

  #queueControl(to: NodeId, item: Item): boolean {
    const outbox = this.#outboxes.get(to);
    if (outbox === undefined) return false;
    outbox.control.push(item);
    this.#markDirty(outbox);
    return true;
  }

  /** Raft is told where it cannot be sent. Not of other bulk: that would begin a turn, whose end tries to send it again. */
  #queueRaftBulk(to: NodeId, item: Item, byteLength: number): void {
    if (!this.#queueBulk(to, item, byteLength)) this.#dependencies?.handler.onUnreachable(to);
  }

  #queueBulk(to: NodeId, item: Item, byteLength: number): boolean {
    const outbox = this.#outboxes.get(to);
    if (outbox === undefined || outbox.bulkBytes + byteLength > PEER_LIMITS.maxQueuedBulkBytes) return false;
    outbox.bulk.push({ item, byteLength });
    outbox.bulkBytes += byteLength;
    this.#markDirty(outbox);
    return true;
  }

  #markDirty(outbox: Outbox): void {
    if (!outbox.isDirty) {
      outbox.isDirty = true;
      this.#dirty.push(outbox);
    }
    if (!this.#flushIsDue && !this.#isInTurn) {
      this.#flushIsDue = true;
      this.#options.clock.endOfTurn(this.#flushAtEndOfTurn);
    }
  }

  #flushOutbox(outbox: Outbox): void {
    const { link } = outbox;
    if (link.state !== 'open') return;
    let bufferedBytes = link.bufferedBytes;
    if (bufferedBytes > PEER_LIMITS.maxBufferedBytes) {
      const message = 'cut the link to a peer that does not take what it is sent';
      this.#log.say(link.peer as string, 'warn', message, { bufferedBytes });
      link.cut();
      return;
    }
    const items = outbox.control;
    outbox.control = [];
    let taken = 0;
    while (taken < outbox.bulk.length) {
      const next = outbox.bulk[taken] as Queued;
      if (bufferedBytes > 0 && bufferedBytes + next.byteLength > PEER_LIMITS.bulkWindowBytes) break;
      bufferedBytes += next.byteLength;
      outbox.bulkBytes -= next.byteLength;
      items.push(next.item);
      taken++;
    }
    if (taken > 0) outbox.bulk = taken === outbox.bulk.length ? [] : outbox.bulk.slice(taken);
    if (items.length === 0) return;
    const frame = packFrame(items);
    this.counters.framesSent++;
    this.counters.bytesSent += frame.length;
    link.sendFrame(frame);
  }

  /** The kernel has taken something: there may be room for bulk. */
  #onSent(link: PeerLink): void {
    const outbox = this.#outboxes.get(link.peer as string);
    if (outbox?.link === link && outbox.bulk.length > 0) this.#flushOutbox(outbox);
  }

  #onFrame(link: PeerLink, bytes: Uint8Array): void {
    const { handler, app } = this.#dependencies as TransportDependencies;
    const from = link.peer as NodeId;
    let items: ReturnType<typeof unpackFrame>;
    try {
      items = unpackFrame(bytes, from, this.#options.name);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#log.say(from, 'error', 'a peer sent a frame that cannot be read', { reason });
      link.refuse('malformed', reason);
      return;
    }
    if (!link.isAnnounced) this.#links.announce(link);
    for (const item of items) {
      switch (item.kind) {
        case 'raft':
          handler.onMessage(item.message);
          break;
        case 'app':
          app.onPayload(from, item.payload);
          break;
        case 'snapshot':
          handler.onSnapshot(from, item.transfer);
          break;
        case 'probe':
          handler.onProbe(from, item.probe);
          break;
        case 'ping':
          break;
      }
    }
  }
}
