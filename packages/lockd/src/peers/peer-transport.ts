import type { Message, NodeId, Random } from '@lockd/raft';
import type { JoinProbe, PeerIdentity, SnapshotTransfer, Transport, TransportHandler } from '@lockd/raft/node';
import type { Clock } from '../clock.ts';
import type { FrameSocket } from '../frame-socket.ts';
import type { Logger } from '../log.ts';
import type { AppPayload } from './app-payload.ts';
import { PEER_PROTOCOL_VERSION, type PeerHello, refusalOf } from './handshake.ts';
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
import { type LinkEvents, PeerLink } from './peer-link.ts';

export interface PeerTransportOptions {
  readonly name: NodeId;
  /** The other members at the start, and where they listen for peers (`host:port`); see `setPeers`. */
  readonly peers: ReadonlyMap<NodeId, string>;
  readonly bootstrapHash: string | undefined;
  /** Begins to connect to `host:port`. Throws only where that is no address; what else goes wrong is told by `close`. */
  readonly dial: (address: string) => FrameSocket;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** What the gateway hears of the links. */
export interface AppHandler {
  onPayload(from: NodeId, payload: AppPayload): void;
  /** Whom a peer takes for members; called before `onPeerUp`. */
  onMembersTold?(members: Readonly<Record<string, string>>): void;
  /** The link is there; `clientAddressOf(peer)` may have changed. */
  onPeerUp(peer: NodeId): void;
  /** Whatever was sent to this peer and not answered may be lost. */
  onPeerDown(peer: NodeId): void;
}

/** For /metrics. */
export interface PeerCounters {
  framesSent: number;
  /** Payloads of those frames. */
  bytesSent: number;
}

export interface TransportDependencies {
  readonly handler: TransportHandler;
  /** Undefined: the data directory does not tell, so no link is made. */
  readonly identity: () => PeerIdentity | undefined;
  /** Where clients reach this node; told to every peer. */
  readonly clientAddress: string | undefined;
  /** Where peers reach this node; told to every peer. */
  readonly peerAddress?: string | undefined;
  /** The members and where they are reached, told to every peer. Default: none. */
  readonly members?: () => Readonly<Record<string, string>>;
  /** This data directory was a member's, and has left. Default: it was not. */
  readonly hasRemoved?: (instanceId: string) => boolean;
  readonly app: AppHandler;
}

interface Queued {
  readonly item: Item;
  readonly byteLength: number;
}

interface Peer {
  readonly name: NodeId;
  /** Undefined: not known, so it has to dial. */
  address: string | undefined;
  link: PeerLink | undefined;
  /** The attempt to make the link, or to find out whether anybody is there. */
  attempt: PeerLink | undefined;
  /** The attempt decides whether the end of the last link was the peer's death. */
  isTrial: boolean;
  cancelTrial: (() => void) | undefined;
  cancelRedial: (() => void) | undefined;
  redialDelayMs: number;
  control: Item[];
  bulk: Queued[];
  bulkBytes: number;
  isDirty: boolean;
  /** What was last logged about it: each change is logged once. */
  lastWords: string;
  /** The connection was logged, so its end will be. A peer that refuses, or is refused, again and again is not. */
  isAnnounced: boolean;
  isRefused: boolean;
  clientAddress: string | undefined;
  /** Where it says that peers reach it. */
  peerAddress: string | undefined;
  instanceId: string | undefined;
}

/**
 * The links between this node and the others: one for each pair of nodes, dialled by the one with the smaller name.
 *
 * What is queued in a turn goes out as one frame for each peer, at `flush` or else at the end of the turn. Votes, heartbeats
 * and answers go ahead of entries and snapshots, which wait here until the socket has room (PEER_LIMITS).
 *
 * A link that ends without a goodbye is tried at once, by either side: the one that dials dials again, the other
 * only asks whether anybody is there. If nobody answers in time, that is the evidence `onLinkClosed` speaks of.
 */
export class PeerTransport implements Transport {
  readonly counters: PeerCounters = { framesSent: 0, bytesSent: 0 };
  readonly #options: PeerTransportOptions;
  readonly #peers: Map<string, Peer>;
  readonly #links = new Set<PeerLink>();
  readonly #events: LinkEvents;
  readonly #flushAtEndOfTurn: () => void;
  #dependencies: TransportDependencies | undefined;
  #dirty: Peer[] = [];
  #flushIsDue = false;
  /** Between `turnBegins` and `turnEnds`. */
  #isInTurn = false;
  #isStopped = false;
  #cancelWatch: (() => void) | undefined;

  constructor(options: PeerTransportOptions) {
    this.#options = options;
    this.#peers = new Map([...options.peers].map(([name, address]) => [name as string, newPeer(name, address)]));
    this.#events = {
      onConnected: (link) => this.#onConnected(link),
      onHello: (link, hello) => this.#onHello(link, hello),
      onFrame: (link, bytes) => this.#onFrame(link, bytes),
      onRefused: (link, code, reason) => this.#onRefused(link, code, reason),
      onSent: (link) => this.#onSent(link),
      onEnd: (link) => this.#onEnd(link),
    };
    this.#flushAtEndOfTurn = () => {
      this.#flushIsDue = false;
      this.flush();
    };
  }

  /** Begins to dial and to accept. */
  start(dependencies: TransportDependencies): void {
    this.#dependencies = dependencies;
    for (const peer of this.#peers.values()) if (this.#dials(peer)) this.#dial(peer, false);
    this.#watch();
  }

  /** A WebSocket that has come in on the peer listener. */
  accept(socket: FrameSocket): void {
    const link = new PeerLink(socket, true, undefined, this.#options.clock, this.#events);
    this.#links.add(link);
    if (this.#isStopped || this.#dependencies === undefined) link.goodbye('not listening yet, or no more');
  }

  /** Says goodbye on every link and makes no new ones. What is queued goes out first. */
  stop(reason: string): void {
    this.flush();
    this.#isStopped = true;
    this.#cancelWatch?.();
    for (const peer of this.#peers.values()) {
      peer.cancelRedial?.();
      peer.cancelTrial?.();
    }
    for (const link of [...this.#links]) link.goodbye(reason);
  }

  /**
   * Who the others are from now on. Links to new ones are made, those to who is left out are closed: with a word to
   * members that were removed, so that they stop asking for votes.
   */
  setPeers(peers: ReadonlyMap<NodeId, string | undefined>): void {
    for (const [name, address] of peers) {
      let peer = this.#peers.get(name);
      if (peer === undefined) {
        peer = newPeer(name, address);
        this.#peers.set(name, peer);
      } else if (peer.address === address) {
        continue;
      } else {
        peer.address = address;
        peer.redialDelayMs = PEER_LIMITS.minRedialDelayMs;
        peer.attempt?.cut();
      }
      if (this.#dependencies !== undefined && this.#dials(peer)) this.#dial(peer, false);
    }
    for (const peer of [...this.#peers.values()]) if (!peers.has(peer.name)) this.#drop(peer);
  }

  #drop(peer: Peer): void {
    this.#peers.delete(peer.name);
    peer.cancelRedial?.();
    peer.cancelTrial?.();
    peer.attempt?.cut();
    const { link } = peer;
    if (link === undefined) return;
    if (peer.instanceId !== undefined && this.#dependencies?.hasRemoved?.(peer.instanceId) === true)
      link.refuse('removed', `${peer.name} was removed from the cluster`);
    else link.goodbye('not a member');
    this.#dependencies?.app.onPeerDown(peer.name);
  }

  /** Where that peer says that others reach it. */
  peerAddressOf(peer: NodeId): string | undefined {
    return this.#peers.get(peer)?.peerAddress;
  }

  isConnected(peer: NodeId): boolean {
    return this.#peers.get(peer)?.link !== undefined;
  }

  /** Where clients reach that peer: known once it was connected. */
  clientAddressOf(peer: NodeId): string | undefined {
    return this.#peers.get(peer)?.clientAddress;
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
    for (const peer of dirty) {
      peer.isDirty = false;
      this.#flushPeer(peer);
    }
  }

  // Queues ---------------------------------------------------------------------------------------------------------

  #queueControl(to: NodeId, item: Item): boolean {
    const peer = this.#peers.get(to);
    if (peer?.link === undefined) return false;
    peer.control.push(item);
    this.#markDirty(peer);
    return true;
  }

  /** Raft is told where it cannot be sent. Not of other bulk: that would begin a turn, whose end tries to send it again. */
  #queueRaftBulk(to: NodeId, item: Item, byteLength: number): void {
    if (!this.#queueBulk(to, item, byteLength)) this.#dependencies?.handler.onUnreachable(to);
  }

  #queueBulk(to: NodeId, item: Item, byteLength: number): boolean {
    const peer = this.#peers.get(to);
    if (peer?.link === undefined || peer.bulkBytes + byteLength > PEER_LIMITS.maxQueuedBulkBytes) return false;
    peer.bulk.push({ item, byteLength });
    peer.bulkBytes += byteLength;
    this.#markDirty(peer);
    return true;
  }

  #markDirty(peer: Peer): void {
    if (!peer.isDirty) {
      peer.isDirty = true;
      this.#dirty.push(peer);
    }
    if (!this.#flushIsDue && !this.#isInTurn) {
      this.#flushIsDue = true;
      this.#options.clock.endOfTurn(this.#flushAtEndOfTurn);
    }
  }

  #flushPeer(peer: Peer): void {
    const link = peer.link;
    if (link === undefined) return;
    let bufferedBytes = link.bufferedBytes;
    if (bufferedBytes > PEER_LIMITS.maxBufferedBytes) {
      this.#say(peer, 'warn', 'cut the link to a peer that does not take what it is sent', { bufferedBytes });
      link.cut();
      return;
    }
    const items = peer.control;
    peer.control = [];
    let taken = 0;
    while (taken < peer.bulk.length) {
      const next = peer.bulk[taken] as Queued;
      if (bufferedBytes > 0 && bufferedBytes + next.byteLength > PEER_LIMITS.bulkWindowBytes) break;
      bufferedBytes += next.byteLength;
      peer.bulkBytes -= next.byteLength;
      items.push(next.item);
      taken++;
    }
    if (taken > 0) peer.bulk = taken === peer.bulk.length ? [] : peer.bulk.slice(taken);
    if (items.length === 0) return;
    const frame = packFrame(items);
    this.counters.framesSent++;
    this.counters.bytesSent += frame.length;
    link.sendFrame(frame);
  }

  // Links ----------------------------------------------------------------------------------------------------------

  #dials(peer: Peer): boolean {
    return this.#options.name < peer.name;
  }

  #dial(peer: Peer, isTrial: boolean): void {
    if (this.#isStopped || peer.link !== undefined || peer.attempt !== undefined) return;
    // It cannot be asked whether it is there: no evidence either way.
    if (peer.address === undefined) return;
    peer.cancelRedial?.();
    peer.cancelRedial = undefined;
    peer.isTrial = isTrial;
    if (isTrial) {
      peer.cancelTrial = this.#options.clock.after(PEER_LIMITS.evidenceTimeoutMs, () =>
        this.#concludeTrial(peer, true),
      );
    }
    let socket: FrameSocket;
    try {
      socket = this.#options.dial(peer.address);
    } catch (error) {
      this.#say(peer, 'error', 'the address of a peer cannot be used', { address: peer.address, error: String(error) });
      this.#concludeTrial(peer, true);
      return;
    }
    const link = new PeerLink(socket, false, peer.name, this.#options.clock, this.#events);
    peer.attempt = link;
    this.#links.add(link);
  }

  /** The trial is over: nobody was there, or somebody was. */
  #concludeTrial(peer: Peer, isGone: boolean): void {
    peer.cancelTrial?.();
    peer.cancelTrial = undefined;
    if (!peer.isTrial) return;
    peer.isTrial = false;
    if (isGone && peer.link === undefined && !this.#isStopped) this.#dependencies?.handler.onLinkClosed(peer.name);
  }

  #onConnected(link: PeerLink): void {
    const hello = this.#ownHello(this.#peers.get(link.peer as string));
    if (hello === undefined) link.cut();
    else link.sayHello(hello);
  }

  #ownHello(peer: Peer | undefined): PeerHello | undefined {
    const identity = this.#dependencies?.identity();
    if (identity === undefined) return undefined;
    return {
      version: PEER_PROTOCOL_VERSION,
      name: this.#options.name,
      identity,
      bootstrapHash: this.#options.bootstrapHash,
      client: this.#dependencies?.clientAddress,
      peer: this.#dependencies?.peerAddress,
      members: this.#dependencies?.members?.(),
      probe: peer !== undefined && !this.#dials(peer),
    };
  }

  #onHello(link: PeerLink, hello: PeerHello): void {
    const dependencies = this.#dependencies;
    const identity = dependencies?.identity();
    if (dependencies === undefined || identity === undefined) {
      link.goodbye('this node does not take part');
      return;
    }
    const own = { name: this.#options.name, bootstrapHash: this.#options.bootstrapHash, clusterId: identity.clusterId };
    if (!this.#peers.has(hello.name) && hello.members?.[own.name] !== undefined) {
      // A stranger that takes this node for a member: this node may be the one that does not know yet.
      const { members, peer: address } = hello;
      dependencies.app.onMembersTold?.(address === undefined ? members : { ...members, [hello.name]: address });
    }
    const refusal = refusalOf(
      own,
      hello,
      link.isInbound ? undefined : link.peer,
      (name) => this.#peers.has(name),
      dependencies.hasRemoved ?? (() => false),
    );
    const peer = this.#peers.get(hello.name);
    if (refusal !== undefined || peer === undefined) {
      const { code, reason } = refusal ?? { code: 'unknown-node', reason: `unknown node ${hello.name}` };
      const about = peer ?? this.#peers.get(link.peer ?? '');
      if (about !== undefined) this.#markRefused(about);
      this.#say(about ?? hello.name, 'error', 'refused a peer', { code, reason });
      link.refuse(code, reason);
      return;
    }
    link.peer = hello.name;
    if (!link.isInbound && !this.#dials(peer)) {
      // Somebody is there: that was all we wanted to know. It dials.
      this.#concludeTrial(peer, false);
      link.goodbye('only asking');
      return;
    }
    if (link.isInbound && hello.probe) {
      link.sayHello(this.#ownHello(undefined) as PeerHello);
      return;
    }
    if (link.isInbound && this.#dials(peer)) {
      link.goodbye(`the link between ${own.name} and ${peer.name} is dialled by ${own.name}`);
      return;
    }
    const verdict = dependencies.handler.onPeerIdentity(peer.name, hello.identity);
    if (!verdict.accept) {
      this.#markRefused(peer);
      this.#say(peer, 'error', 'refused a peer', { code: verdict.code, reason: verdict.reason });
      link.refuse(verdict.code, verdict.reason);
      return;
    }
    if (link.isInbound) link.sayHello({ ...(this.#ownHello(undefined) as PeerHello) });
    this.#open(peer, link, hello);
  }

  #open(peer: Peer, link: PeerLink, hello: PeerHello): void {
    const former = peer.link;
    if (former !== undefined) {
      // It dials only when it has no link: the one we know is dead, even if no one has told us.
      former.goodbye('replaced by a newer link');
    }
    if (peer.attempt === link) peer.attempt = undefined;
    link.markOpen();
    peer.link = link;
    peer.redialDelayMs = PEER_LIMITS.minRedialDelayMs;
    peer.clientAddress = hello.client;
    peer.peerAddress = hello.peer;
    peer.instanceId = hello.identity.instanceId;
    this.#concludeTrial(peer, false);
    // The other end may still refuse: after a refusal its first frame tells that it did not.
    if (!link.isInbound || !peer.isRefused) this.#announce(peer);
    if (hello.members !== undefined) this.#dependencies?.app.onMembersTold?.(hello.members);
    this.#dependencies?.app.onPeerUp(peer.name);
  }

  #onFrame(link: PeerLink, bytes: Uint8Array): void {
    const { handler, app } = this.#dependencies as TransportDependencies;
    const from = link.peer as NodeId;
    let items: ReturnType<typeof unpackFrame>;
    try {
      items = unpackFrame(bytes, from, this.#options.name);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#say(from, 'error', 'a peer sent a frame that cannot be read', { reason });
      link.refuse('malformed', reason);
      return;
    }
    const peer = this.#peers.get(from);
    if (peer?.isAnnounced === false) this.#announce(peer);
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

  #onRefused(link: PeerLink, code: string, reason: string): void {
    if (link.peer === undefined) return;
    const peer = this.#peers.get(link.peer);
    if (peer === undefined) return;
    this.#markRefused(peer);
    this.#say(peer, 'error', 'refused by a peer', { code, reason });
    this.#dependencies?.handler.onRefused(peer.name, code, reason);
  }

  #announce(peer: Peer): void {
    peer.isAnnounced = true;
    peer.isRefused = false;
    this.#say(peer, 'info', 'connected to a peer', {});
  }

  #markRefused(peer: Peer): void {
    peer.isRefused = true;
    peer.redialDelayMs = PEER_LIMITS.refusedRedialDelayMs;
  }

  #onSent(link: PeerLink): void {
    const peer = this.#peers.get(link.peer as string);
    if (peer?.link === link && peer.bulk.length > 0) this.#flushPeer(peer);
  }

  #onEnd(link: PeerLink): void {
    this.#links.delete(link);
    const peer = link.peer === undefined ? undefined : this.#peers.get(link.peer);
    if (peer === undefined) return;
    if (peer.attempt === link) {
      peer.attempt = undefined;
      this.#concludeTrial(peer, true);
      this.#redialLater(peer);
    } else if (peer.link === link) {
      peer.link = undefined;
      peer.control = [];
      peer.bulk = [];
      peer.bulkBytes = 0;
      if (this.#isStopped) return;
      if (peer.isAnnounced) this.#say(peer, 'warn', 'the link to a peer ended', { onPurpose: link.endedOnPurpose });
      peer.isAnnounced = false;
      this.#dependencies?.handler.onUnreachable(peer.name);
      this.#dependencies?.app.onPeerDown(peer.name);
      if (!link.endedOnPurpose) this.#dial(peer, true);
      else this.#redialLater(peer);
    }
  }

  #redialLater(peer: Peer): void {
    if (this.#isStopped || !this.#dials(peer) || peer.link !== undefined) return;
    peer.cancelRedial?.();
    const delayMs = peer.redialDelayMs + this.#options.random(Math.ceil(peer.redialDelayMs / 2));
    peer.redialDelayMs = Math.min(peer.redialDelayMs * 2, Math.max(PEER_LIMITS.maxRedialDelayMs, peer.redialDelayMs));
    peer.cancelRedial = this.#options.clock.after(delayMs, () => this.#dial(peer, false));
  }

  /** Keeps quiet links alive and finds the ones that are dead without having been closed. */
  #watch(): void {
    this.#cancelWatch = this.#options.clock.after(PEER_LIMITS.pingAfterMs / 2, () => {
      const nowMs = this.#options.clock.nowMs();
      for (const peer of this.#peers.values()) {
        const link = peer.link;
        if (link === undefined) continue;
        if (nowMs - link.lastReceivedMs > PEER_LIMITS.silentAfterMs) {
          this.#say(peer, 'warn', 'cut the link to a silent peer', {});
          link.cut();
        } else if (nowMs - link.lastSentMs > PEER_LIMITS.pingAfterMs) {
          this.#queueControl(peer.name, PING);
        }
      }
      if (!this.#isStopped) this.#watch();
    });
  }

  /** Logs, unless it is what was last said about this peer. */
  #say(
    about: Peer | string,
    level: 'info' | 'warn' | 'error',
    message: string,
    fields: Record<string, string | number | boolean>,
  ): void {
    const peer = typeof about === 'string' ? this.#peers.get(about) : about;
    const words = `${message} ${JSON.stringify(fields)}`;
    if (peer !== undefined) {
      if (peer.lastWords === words) return;
      peer.lastWords = words;
    } else if (this.#strangers.get(about as string) === words) {
      return;
    } else {
      if (this.#strangers.size >= 64) this.#strangers.clear();
      this.#strangers.set(about as string, words);
    }
    this.#options.log[level](message, { peer: typeof about === 'string' ? about : about.name, ...fields });
  }

  /** What was last said about names that are not members. */
  readonly #strangers = new Map<string, string>();
}

function newPeer(name: NodeId, address: string | undefined): Peer {
  return {
    name,
    address,
    link: undefined,
    attempt: undefined,
    isTrial: false,
    cancelTrial: undefined,
    cancelRedial: undefined,
    redialDelayMs: PEER_LIMITS.minRedialDelayMs,
    control: [],
    bulk: [],
    bulkBytes: 0,
    isDirty: false,
    lastWords: '',
    isAnnounced: false,
    isRefused: false,
    clientAddress: undefined,
    peerAddress: undefined,
    instanceId: undefined,
  };
}
