import { randomInt, randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { codecFor, LIMITS, type NodeStatus } from '@lockd/client/protocol';
import type { Random } from '@lockd/raft';
import { levelStorage, StorageError } from '@lockd/raft/node';
import { type Clock, realClock } from '../clock.ts';
import {
  ConfigurationError,
  checkConfiguration,
  formatHostPort,
  isLoopback,
  type NodeConfiguration,
} from '../config.ts';
import { handleHttp } from '../gateway/http.ts';
import { ListenError, Listener } from '../gateway/listener.ts';
import { type Logger, silentLogger } from '../log.ts';
import { dialPeer } from '../peers/dial.ts';
import { PEER_LIMITS } from '../peers/limits.ts';
import { NodeStartError } from './node-error.ts';
import { NodeService } from './node-service.ts';

export interface NodeEnvironment {
  /** Default: silent. */
  readonly log?: Logger;
  readonly clock?: Clock;
  readonly random?: Random;
  /** The node cannot go on and has stopped taking part: the storage failed, say. Called at most once. */
  readonly onFatal?: (reason: string) => void;
}

/** One node with its listeners and its directory: everything `lockd start` runs, also for embedding (see `createNode`). */
export class LockNode {
  readonly name: string;
  readonly #configuration: NodeConfiguration;
  readonly #log: Logger;
  readonly #service: NodeService;
  readonly #clientListener: Listener;
  readonly #peerListener: Listener;
  readonly #addresses: { readonly client: string; readonly peer: string };
  #stopping: Promise<void> | undefined;

  private constructor(
    configuration: NodeConfiguration,
    log: Logger,
    service: NodeService,
    listeners: { readonly client: Listener; readonly peer: Listener },
  ) {
    this.name = configuration.name;
    this.#configuration = configuration;
    this.#log = log;
    this.#service = service;
    this.#clientListener = listeners.client;
    this.#peerListener = listeners.peer;
    this.#addresses = { client: this.#reachableUrl(), peer: this.#reachablePeer() };
  }

  /** Rejects with a {@link NodeStartError} when the node cannot run as configured; nothing is left open then. */
  static async start(configuration: NodeConfiguration, environment: NodeEnvironment = {}): Promise<LockNode> {
    try {
      checkConfiguration(configuration);
      return await LockNode.#open(configuration, environment);
    } catch (error) {
      throw startError(error, configuration);
    }
  }

  static async #open(configuration: NodeConfiguration, environment: NodeEnvironment): Promise<LockNode> {
    const log = environment.log ?? silentLogger;
    const clock = environment.clock ?? realClock;
    await mkdir(configuration.dataDir, { recursive: true });
    const service = await NodeService.open(configuration, {
      log,
      clock,
      random: environment.random ?? ((bound: number) => randomInt(bound)),
      storage: levelStorage(join(configuration.dataDir, 'raft'), clock),
      dialPeer,
      newClusterId: randomUUID,
      pid: process.pid,
      onFatal: (reason) => environment.onFatal?.(reason),
    });
    let client: Listener | undefined;
    try {
      client = await listenForClients(configuration, service);
      const peer = await listenForPeers(configuration, service);
      const node = new LockNode(configuration, log, service, { client, peer });
      service.start(node.#addresses);
      return node;
    } catch (error) {
      await client?.close();
      await service.stop('it cannot listen');
      throw error;
    }
  }

  /** Where clients reach this node. */
  get clientUrl(): string {
    return this.#addresses.client;
  }

  /** Where peers reach this node, `host:port`. */
  get peerAddress(): string {
    return this.#addresses.peer;
  }

  status(): NodeStatus {
    return this.#service.status();
  }

  /** Leads, and has applied the first entry of its term. */
  get isServing(): boolean {
    return this.#service.isServing;
  }

  /** Hands leadership over, finishes what is in flight, says goodbye, closes the storage. Idempotent; bounded. */
  stop(reason = 'the node is stopping'): Promise<void> {
    this.#stopping ??= this.#stop(reason);
    return this.#stopping;
  }

  async #stop(reason: string): Promise<void> {
    try {
      await this.#service.stop(reason);
    } finally {
      await Promise.all([this.#clientListener.close(), this.#peerListener.close()]);
    }
    this.#log.info('stopped');
  }

  #reachablePeer(): string {
    const { advertisePeer, initialCluster } = this.#configuration;
    // A listener may stand on a wildcard, or on any free port; the founding list says what others use.
    return advertisePeer ?? initialCluster.get(this.name) ?? formatHostPort(this.#peerListener.address);
  }

  #reachableUrl(): string {
    const { advertiseClient, clientToken } = this.#configuration;
    const { host, port } = this.#clientListener.address;
    // A wildcard is no address to go to.
    const reachable = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
    if (advertiseClient === undefined && reachable !== host) {
      this.#log.warn('clients are told to come to 127.0.0.1: give --advertise-client for those on other machines');
    }
    if (!isLoopback(host) && clientToken === undefined) {
      this.#log.warn('anybody who reaches the client port may take and release locks (--insecure-listen)');
    }
    return advertiseClient ?? `ws://${formatHostPort({ host: reachable, port })}`;
  }
}

function listenForClients({ listenClient }: NodeConfiguration, service: NodeService): Promise<Listener> {
  return Listener.open({
    address: listenClient,
    what: 'clients',
    // Larger than a frame may be, so that a frame that is too large gets an answer that says so.
    maxPayloadBytes: 4 * LIMITS.maxFrameBytes,
    chooseProtocol: (offered) => [...offered].find((name) => codecFor(name) !== undefined),
    onSocket: (socket) => service.acceptClient(socket, socket.protocol),
    onRequest: (request, response) =>
      handleHttp(
        {
          whyNotLive: () => service.whyNotLive(),
          whyNotReady: () => service.whyNotReady(),
          metrics: () => service.metrics(),
        },
        request,
        response,
      ),
  });
}

function listenForPeers({ listenPeer }: NodeConfiguration, service: NodeService): Promise<Listener> {
  return Listener.open({
    address: listenPeer,
    what: 'peers',
    maxPayloadBytes: PEER_LIMITS.maxFrameBytes,
    onSocket: (socket) => service.acceptPeer(socket),
    onRequest: (_request, response) => {
      response.writeHead(404, { 'content-type': 'text/plain' });
      response.end('lockd: this port is for the other nodes; clients use the other one\n');
    },
  });
}

function startError(error: unknown, { dataDir }: NodeConfiguration): Error {
  if (error instanceof ConfigurationError) return new NodeStartError('configuration', error.message, error);
  if (error instanceof ListenError) return new NodeStartError('listen', error.message, error);
  if (error instanceof StorageError) {
    return new NodeStartError('data-directory', `${dataDir}: ${error.message}. ${error.remedy}`, error);
  }
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'EACCES' || code === 'EROFS' || code === 'ENOTDIR' || code === 'EEXIST' || code === 'ENOSPC') {
    return new NodeStartError('data-directory', `${dataDir}: ${(error as Error).message}`, error);
  }
  return error instanceof Error ? error : new Error(String(error));
}
