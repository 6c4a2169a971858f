import type { NodeId, Random } from '@lockd/raft';
import type { PeerIdentity, TransportHandler } from '@lockd/raft/node';
import type { Clock } from '../clock.ts';
import type { FrameSocket } from '../frame-socket.ts';
import type { Logger } from '../log.ts';
import type { AppPayload } from './app-payload.ts';

export interface PeerTransportOptions {
  readonly name: NodeId;
  /** The other members at the start, and where they listen for peers (`host:port`); see `PeerTransport.setPeers`. */
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
