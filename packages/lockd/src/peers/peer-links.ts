import type { NodeId } from '@lockd/raft';
import type { FrameSocket } from '../frame-socket.ts';
import { PEER_PROTOCOL_VERSION, type PeerHello, refusalOf } from './handshake.ts';
import { PEER_LIMITS } from './limits.ts';
import { type ConnectionSurroundings, PeerConnection } from './peer-connection.ts';
import { type LinkEvents, PeerLink } from './peer-link.ts';
import type { PeerLog } from './peer-log.ts';
import type { PeerTransportOptions, TransportDependencies } from './transport-options.ts';

/** Who uses the links. */
export interface LinkTraffic extends Pick<LinkEvents, 'onFrame' | 'onSent'> {
  /** The link to this peer is open; called before anybody else hears of it. */
  onUp(peer: NodeId, link: PeerLink): void;
  /** The link to this peer has ended, or is about to be ended with a word. */
  onDown(peer: NodeId): void;
  /** Nothing was sent to this peer for a while: a sign of life is due. */
  onQuiet(peer: NodeId): void;
}

/**
 * Who the peers are, and which of them there is a link to: one for each pair of nodes, dialled by the one with the
 * smaller name. Says hello, and decides who is refused.
 */
export class PeerLinks {
  readonly #options: PeerTransportOptions;
  readonly #log: PeerLog;
  readonly #traffic: LinkTraffic;
  readonly #around: ConnectionSurroundings;
  readonly #events: LinkEvents;
  readonly #peers = new Map<string, PeerConnection>();
  /** Those in the handshake too. */
  readonly #links = new Set<PeerLink>();
  #dependencies: TransportDependencies | undefined;
  #isStopped = false;
  #cancelWatch: (() => void) | undefined;

  constructor(options: PeerTransportOptions, log: PeerLog, traffic: LinkTraffic) {
    this.#options = options;
    this.#log = log;
    this.#traffic = traffic;
    this.#around = {
      options,
      log,
      linkOver: (socket, peer) => this.#newLink(socket, peer),
      onGone: (peer) => this.#dependencies?.handler.onLinkClosed(peer),
    };
    this.#events = {
      onConnected: (link) => this.#onConnected(link),
      onHello: (link, hello) => this.#onHello(link, hello),
      onFrame: traffic.onFrame,
      onRefused: (link, code, reason) => this.#onRefused(link, code, reason),
      onSent: traffic.onSent,
      onEnd: (link) => this.#onEnd(link),
    };
    for (const [name, address] of options.peers) this.#add(name, address);
  }

  /** See `PeerTransport.start`. */
  start(dependencies: TransportDependencies): void {
    this.#dependencies = dependencies;
    for (const peer of this.#peers.values()) peer.connect();
    this.#watch();
  }

  /** See `PeerTransport.accept`. */
  accept(socket: FrameSocket): void {
    const link = this.#newLink(socket, undefined);
    if (this.#isStopped || this.#dependencies === undefined) link.goodbye('not listening yet, or no more');
  }

  /** Says goodbye on every link and makes no new ones. */
  stop(reason: string): void {
    this.#isStopped = true;
    this.#cancelWatch?.();
    for (const peer of this.#peers.values()) peer.stop();
    for (const link of [...this.#links]) link.goodbye(reason);
  }

  /** See `PeerTransport.setPeers`. */
  setPeers(peers: ReadonlyMap<NodeId, string | undefined>): void {
    for (const [name, address] of peers) {
      const known = this.#peers.get(name);
      if (known?.moveTo(address) === false) continue;
      const peer = known ?? this.#add(name, address);
      if (this.#dependencies !== undefined && !this.#isStopped) peer.connect();
    }
    for (const peer of [...this.#peers.values()]) if (!peers.has(peer.name)) this.#drop(peer);
  }

  isConnected(peer: NodeId): boolean {
    return this.#peers.get(peer)?.link !== undefined;
  }

  /** What that peer said about itself when it was connected last. */
  helloOf(peer: NodeId): PeerHello | undefined {
    return this.#peers.get(peer)?.hello;
  }

  /** Logs that this link is there. Its end will be logged too: that of one that was refused again and again is not. */
  announce(link: PeerLink): void {
    const peer = this.#peers.get(link.peer as string);
    if (peer === undefined) return;
    link.isAnnounced = true;
    peer.accepted();
    this.#log.say(peer.name, 'info', 'connected to a peer');
  }

  #add(name: NodeId, address: string | undefined): PeerConnection {
    const peer = new PeerConnection(name, address, this.#around);
    this.#peers.set(name, peer);
    this.#log.begin(name);
    return peer;
  }

  #drop(peer: PeerConnection): void {
    this.#peers.delete(peer.name);
    this.#log.forget(peer.name);
    peer.abandon();
    const { link, hello } = peer;
    if (link === undefined) return;
    this.#traffic.onDown(peer.name);
    if (hello !== undefined && this.#dependencies?.hasRemoved?.(hello.identity.instanceId) === true)
      link.refuse('removed', `${peer.name} was removed from the cluster`);
    else link.goodbye('not a member');
    this.#dependencies?.app.onPeerDown(peer.name);
  }

  #newLink(socket: FrameSocket, dialledFor: NodeId | undefined): PeerLink {
    const link = new PeerLink(socket, dialledFor === undefined, dialledFor, this.#options.clock, this.#events);
    this.#links.add(link);
    return link;
  }

  #onConnected(link: PeerLink): void {
    const peer = this.#peers.get(link.peer as string);
    const hello = this.#ownHello(peer !== undefined && !peer.dials);
    if (hello === undefined) link.cut();
    else link.sayHello(hello);
  }

  /** Undefined: this node cannot say who it is. */
  #ownHello(isProbe: boolean): PeerHello | undefined {
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
      probe: isProbe,
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
      this.#refuse(link, peer ?? this.#peers.get(link.peer ?? ''), hello.name, code, reason);
      return;
    }
    link.peer = hello.name;
    if (!link.isInbound && !peer.dials) {
      // That was all we wanted to know. It dials.
      peer.answered();
      link.goodbye('only asking');
      return;
    }
    if (link.isInbound && hello.probe) {
      link.sayHello(this.#ownHello(false) as PeerHello);
      return;
    }
    if (link.isInbound && peer.dials) {
      link.goodbye(`the link between ${own.name} and ${peer.name} is dialled by ${own.name}`);
      return;
    }
    const verdict = dependencies.handler.onPeerIdentity(peer.name, hello.identity);
    if (!verdict.accept) {
      this.#refuse(link, peer, hello.name, verdict.code, verdict.reason);
      return;
    }
    if (link.isInbound) link.sayHello(this.#ownHello(false) as PeerHello);
    this.#open(peer, link, hello);
  }

  /** `peer` is undefined where the name is a stranger's. */
  #refuse(link: PeerLink, peer: PeerConnection | undefined, name: string, code: string, reason: string): void {
    peer?.refused();
    this.#log.say(peer?.name ?? name, 'error', 'refused a peer', { code, reason });
    link.refuse(code, reason);
  }

  #open(peer: PeerConnection, link: PeerLink, hello: PeerHello): void {
    peer.open(link, hello);
    this.#traffic.onUp(peer.name, link);
    // The other end may still refuse: after a refusal its first frame tells that it did not.
    if (!link.isInbound || !peer.isRefused) this.announce(link);
    if (hello.members !== undefined) this.#dependencies?.app.onMembersTold?.(hello.members);
    this.#dependencies?.app.onPeerUp(peer.name);
  }

  #onRefused(link: PeerLink, code: string, reason: string): void {
    if (link.peer === undefined) return;
    const peer = this.#peers.get(link.peer);
    if (peer === undefined) return;
    peer.refused();
    this.#log.say(peer.name, 'error', 'refused by a peer', { code, reason });
    this.#dependencies?.handler.onRefused(peer.name, code, reason);
  }

  #onEnd(link: PeerLink): void {
    this.#links.delete(link);
    const peer = link.peer === undefined ? undefined : this.#peers.get(link.peer);
    if (peer?.ended(link) !== true) return;
    this.#traffic.onDown(peer.name);
    if (this.#isStopped) return;
    const { isAnnounced, endedOnPurpose } = link;
    if (isAnnounced) this.#log.say(peer.name, 'warn', 'the link to a peer ended', { onPurpose: endedOnPurpose });
    this.#dependencies?.handler.onUnreachable(peer.name);
    this.#dependencies?.app.onPeerDown(peer.name);
    peer.reconnect(endedOnPurpose);
  }

  /** Keeps quiet links alive and finds the ones that are dead without having been closed. */
  #watch(): void {
    this.#cancelWatch = this.#options.clock.after(PEER_LIMITS.pingAfterMs / 2, () => {
      const nowMs = this.#options.clock.nowMs();
      for (const { name, link } of this.#peers.values()) {
        if (link === undefined) continue;
        if (nowMs - link.lastReceivedMs > PEER_LIMITS.silentAfterMs) {
          this.#log.say(name, 'warn', 'cut the link to a silent peer');
          link.cut();
        } else if (nowMs - link.lastSentMs > PEER_LIMITS.pingAfterMs) {
          this.#traffic.onQuiet(name);
        }
      }
      if (!this.#isStopped) this.#watch();
    });
  }
}
