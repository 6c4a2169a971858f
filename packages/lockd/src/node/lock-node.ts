import { randomInt, randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { codecFor, LIMITS, type Member, type NodeStatus } from '@lockd/client/protocol';
import { type NodeId, nodeId, type RaftStatus, type Random } from '@lockd/raft';
import {
  bootstrapHash,
  levelStorage,
  type NodeCondition,
  type OpenDriver,
  openDriver,
  StorageError,
} from '@lockd/raft/node';
import { type Clock, realClock } from '../clock.ts';
import {
  ConfigurationError,
  checkConfiguration,
  DEFAULTS,
  formatHostPort,
  isLoopback,
  type NodeConfiguration,
} from '../config.ts';
import { Gateway } from '../gateway/gateway.ts';
import { handleHttp } from '../gateway/http.ts';
import { ListenError, Listener } from '../gateway/listener.ts';
import { LeaseManager } from '../leases/lease-manager.ts';
import { LockTable } from '../lock-table/lock-table.ts';
import { type Logger, silentLogger } from '../log.ts';
import { Operations } from '../operations/operations.ts';
import { PEER_LIMITS } from '../peers/limits.ts';
import { PeerTransport } from '../peers/peer-transport.ts';
import { LeaseDriver } from './lease-driver.ts';
import { LockStateMachine } from './lock-state-machine.ts';
import { nodeMetrics } from './metrics.ts';
import { NodeStartError } from './node-error.ts';
import { NodeSink } from './node-sink.ts';
import { PeerBook } from './peer-book.ts';
import { damageRemedy } from './remedies.ts';

export interface NodeEnvironment {
  /** Default: silent. */
  readonly log?: Logger;
  readonly clock?: Clock;
  readonly random?: Random;
  /** The node cannot go on and has stopped taking part: the storage failed, say. Called at most once. */
  readonly onFatal?: (reason: string) => void;
}

/** How long a stopping node waits for what is on its way. */
const DRAIN_MS = 500;

/** One running node: everything `lockd start` runs, also for embedding (see `createNode`). */
export class LockNode {
  readonly name: string;
  readonly #configuration: NodeConfiguration;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #driver: OpenDriver;
  readonly #transport: PeerTransport;
  readonly #gateway: Gateway;
  readonly #operations: Operations;
  #peerBook: PeerBook | undefined;
  readonly #leaseDriver: LeaseDriver;
  readonly #parts: Parts;
  #clientListener: Listener | undefined;
  #peerListener: Listener | undefined;
  #clientUrl = '';
  #stopping: Promise<void> | undefined;

  private constructor(configuration: NodeConfiguration, parts: Parts, driver: OpenDriver, transport: PeerTransport) {
    this.name = configuration.name;
    this.#configuration = configuration;
    this.#parts = parts;
    this.#log = parts.log;
    this.#clock = parts.clock;
    this.#driver = driver;
    this.#transport = transport;
    const electionTimeoutMs = configuration.electionTimeoutMs ?? DEFAULTS.electionTimeoutMs;
    this.#leaseDriver = new LeaseDriver({
      clock: parts.clock,
      leases: parts.leases,
      table: parts.table,
      propose: (bytes, start, ends) => driver.propose(bytes, start, ends),
      lastStall: () => driver.lastStall(),
    });
    this.#gateway = new Gateway({
      self: nodeId(configuration.name),
      clock: parts.clock,
      log: parts.log,
      electionTimeoutMs,
      clientToken: configuration.clientToken,
      table: parts.table,
      leases: parts.leases,
      driver,
      sendApp: (to, payload) => transport.sendApp(to, payload),
      clientAddressOf: (node) => this.#clientAddressOf(node),
      nodeStatus: (members) => this.#nodeStatus(members),
      operate: (op, args, answer) => this.#operations.request(op, args, answer),
      onOperation: (from, payload) => this.#operations.onPayload(from, payload),
    });
    this.#operations = new Operations({
      clock: parts.clock,
      cluster: {
        self: nodeId(configuration.name),
        electionTimeoutMs,
        takesPart: () => driver.condition() === 'serving' || driver.condition() === 'disk-full',
        nowMs: () => parts.clock.nowMs(),
        status: () => driver.status(),
        proposeConfiguration: (changes) => driver.proposeConfiguration(changes),
        proposeAddress: (node, address) => driver.proposeAddress(node, address),
        addressOf: (node) => driver.addressOf(node),
        instanceOf: (node) => driver.instanceOf(node),
        progressOf: (node) => driver.progressOf(node),
        isConfigurationConfirmed: () => driver.isConfigurationConfirmed(),
        transferLeadership: (to) => driver.transferLeadership(to),
        makeSnapshot: () => driver.makeSnapshot(),
        peerAddressOf: (node) => this.#peerBook?.peerAddressOf(node),
        clientAddressOf: (node) => this.#clientAddressOf(node),
      },
      sendApp: (to, payload) => transport.sendApp(to, payload),
    });
  }

  /** Rejects with a {@link NodeStartError} when the node cannot run as configured; nothing is left open then. */
  static async start(configuration: NodeConfiguration, environment: NodeEnvironment = {}): Promise<LockNode> {
    try {
      checkConfiguration(configuration);
      const log = environment.log ?? silentLogger;
      const clock = environment.clock ?? realClock;
      const random = environment.random ?? ((bound: number) => randomInt(bound));
      const leases = new LeaseManager();
      const parts: Parts = {
        log,
        clock,
        random,
        leases,
        table: new LockTable(),
        sink: new NodeSink(leases),
        environment,
      };
      return await LockNode.#open(configuration, parts);
    } catch (error) {
      throw startError(error, configuration);
    }
  }

  static async #open(configuration: NodeConfiguration, parts: Parts): Promise<LockNode> {
    const { clock, log, random, sink, table } = parts;
    const self = nodeId(configuration.name);
    const members = [...configuration.initialCluster.keys()].map(nodeId);
    const settings = new Map(configuration.join ?? configuration.initialCluster);
    const peers = new Map([...settings].map(([name, address]) => [nodeId(name), address]));
    peers.delete(self);
    await mkdir(configuration.dataDir, { recursive: true });
    const late: { node?: LockNode } = {};
    const transport = new PeerTransport({
      name: self,
      peers,
      bootstrapHash: bootstrapHash(members),
      clock,
      random,
      log,
    });
    const stateMachine = new LockStateMachine(table, sink, {
      onApply: () => {
        sink.nowMs = clock.nowMs();
      },
      onReplaced: () => {
        if (late.node !== undefined) late.node.#gateway.sessions.stateReplaced();
      },
    });
    const driver = await openDriver(
      {
        id: self,
        initialCluster: members,
        seeds: configuration.join === undefined ? [] : [...peers.keys()],
        newClusterId: randomUUID,
        ...(configuration.snapshotMinBytes === undefined ? {} : { snapshotMinBytes: configuration.snapshotMinBytes }),
        raft: {
          electionTimeoutMs: configuration.electionTimeoutMs ?? DEFAULTS.electionTimeoutMs,
          heartbeatMs: configuration.heartbeatMs ?? DEFAULTS.heartbeatMs,
        },
      },
      {
        storage: levelStorage(join(configuration.dataDir, 'raft'), clock),
        transport,
        stateMachine,
        clock,
        random,
        // Before the node is complete nobody is connected who could hear of anything.
        events: {
          onReadsConfirmed: (round) => {
            if (late.node !== undefined) late.node.#gateway.onReadsConfirmed(round);
          },
          onStatusChanged: (status) => {
            if (late.node !== undefined) late.node.#onStatus(status);
          },
          onConditionChanged: (condition, reason) => {
            if (late.node !== undefined) late.node.#onCondition(condition, reason);
          },
          onTurnBegin: () => {
            if (late.node !== undefined) late.node.#onTurnBegin();
          },
          onRegistryChanged: () => {
            if (late.node !== undefined) late.node.#peerBook?.refresh();
          },
          onTurnEnd: () => {
            if (late.node !== undefined) late.node.#onTurnEnd();
          },
        },
      },
    );
    const node = new LockNode(configuration, parts, driver, transport);
    late.node = node;
    sink.sessions = node.#gateway.sessions;
    try {
      await node.#listen();
    } catch (error) {
      await node.#clientListener?.close();
      await driver.stop();
      throw error;
    }
    const own = { peer: node.peerAddress, client: node.#clientUrl, isGiven: false };
    const peerBook = new PeerBook({ self, settings, own, driver, transport });
    node.#peerBook = peerBook;
    node.#onCondition(driver.condition(), driver.conditionReason());
    node.#onStatus(driver.status());
    transport.start({
      handler: driver.handler,
      identity: () => driver.identity(),
      clientAddress: node.#clientUrl,
      peerAddress: node.peerAddress,
      members: () => peerBook.members(),
      hasRemoved: (instanceId) => driver.hasRemoved(instanceId) && driver.isConfigurationConfirmed(),
      app: {
        onPayload: (from, payload) => node.#gateway.onPayload(from, payload),
        onMembersTold: (told) => peerBook.told(told),
        onPeerUp: () => {
          peerBook.refresh();
          node.#gateway.onPeerUp();
        },
        onPeerDown: (peer) => {
          node.#operations.onPeerDown(peer);
          node.#gateway.onPeerDown(peer);
        },
      },
    });
    return node;
  }

  /** Where clients reach this node. */
  get clientUrl(): string {
    return this.#clientUrl;
  }

  /** Where peers reach this node, `host:port`. */
  get peerAddress(): string {
    const { advertisePeer, initialCluster } = this.#configuration;
    // A listener may stand on a wildcard, or on any free port; the founding list says what others use.
    return advertisePeer ?? initialCluster.get(this.name) ?? formatHostPort((this.#peerListener as Listener).address);
  }

  status(): NodeStatus {
    return this.#nodeStatus(this.#gateway.members());
  }

  /** Leads, and has applied the first entry of its term. */
  get isServing(): boolean {
    const { role, isReady } = this.#driver.status();
    return role === 'leader' && isReady;
  }

  /** Hands leadership over, finishes what is in flight, says goodbye, closes the storage. Idempotent; bounded. */
  stop(reason = 'the node is stopping'): Promise<void> {
    this.#stopping ??= this.#stop(reason);
    return this.#stopping;
  }

  async #listen(): Promise<void> {
    const { listenClient, listenPeer, advertiseClient } = this.#configuration;
    this.#clientListener = await Listener.open({
      address: listenClient,
      what: 'clients',
      // Larger than a frame may be, so that a frame that is too large gets an answer that says so.
      maxPayloadBytes: 4 * LIMITS.maxFrameBytes,
      chooseProtocol: (offered) => [...offered].find((name) => codecFor(name) !== undefined),
      onSocket: (socket) => {
        const codec = codecFor(socket.protocol);
        if (codec !== undefined) {
          this.#gateway.accept(socket, codec);
          return;
        }
        socket.on('error', () => {});
        socket.close(1002, 'offer the subprotocol lockd.v1.json or lockd.v1.msgpack');
      },
      onRequest: (request, response) =>
        handleHttp(
          {
            whyNotLive: () => this.#whyNotLive(),
            whyNotReady: () => this.#whyNotReady(),
            metrics: () => nodeMetrics(this.#driver, this.#gateway, this.#transport, this.#parts),
          },
          request,
          response,
        ),
    });
    this.#peerListener = await Listener.open({
      address: listenPeer,
      what: 'peers',
      maxPayloadBytes: PEER_LIMITS.maxFrameBytes,
      onSocket: (socket) => this.#transport.accept(socket),
      onRequest: (_request, response) => {
        response.writeHead(404, { 'content-type': 'text/plain' });
        response.end('lockd: this port is for the other nodes; clients use the other one\n');
      },
    });
    const { host, port } = this.#clientListener.address;
    // A wildcard is no address to go to.
    const reachable = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
    this.#clientUrl = advertiseClient ?? `ws://${formatHostPort({ host: reachable, port })}`;
    if (advertiseClient === undefined && reachable !== host) {
      this.#log.warn('clients are told to come to 127.0.0.1: give --advertise-client for those on other machines');
    }
    if (!isLoopback(host) && this.#configuration.clientToken === undefined) {
      this.#log.warn('anybody who reaches the client port may take and release locks (--insecure-listen)');
    }
  }

  #onStatus(status: RaftStatus): void {
    // The lease manager first: the gateway's renewals ask it.
    this.#leaseDriver.onStatus(status);
    this.#peerBook?.refresh();
    this.#gateway.onStatus(status);
    const words = `${status.role} ${status.term} ${status.leader ?? ''} ${status.isReady}`;
    if (words === this.#parts.lastWords) return;
    this.#parts.lastWords = words;
    this.#log.info(status.role === 'leader' ? (status.isReady ? 'leads and serves' : 'leads') : 'role', {
      role: status.role,
      term: status.term,
      leader: status.leader,
    });
  }

  #onCondition(condition: NodeCondition, reason: string | undefined): void {
    if (condition === 'serving') this.#log.info('takes part', { condition, reason });
    else if (condition === 'joining') this.#log.info('waits to take part', { condition, reason });
    else {
      this.#log.error('does not take part', { condition, reason });
      // Who stays connected here would wait for answers that do not come.
      this.#gateway.disconnectAll(condition);
    }
    if (condition !== 'stopped' || this.#stopping !== undefined) return;
    this.#parts.environment.onFatal?.(reason ?? 'the node stopped');
  }

  #onTurnBegin(): void {
    this.#transport.turnBegins();
    this.#gateway.onTurnBegin();
  }

  #onTurnEnd(): void {
    this.#gateway.onTurnEnd();
    this.#leaseDriver.arm();
    this.#transport.turnEnds();
  }

  #whyNotLive(): string | undefined {
    const condition = this.#driver.condition();
    return condition === 'damaged' || condition === 'stopped' || condition === 'removed'
      ? `${condition}: ${this.#driver.conditionReason() ?? ''}`
      : undefined;
  }

  #whyNotReady(): string | undefined {
    if (this.#stopping !== undefined) return 'stopping';
    const condition = this.#driver.condition();
    if (condition === 'joining') return `joining: ${this.#driver.conditionReason() ?? ''}`;
    const { role, isReady, leader } = this.#driver.status();
    return (role === 'leader' ? isReady : leader !== undefined) ? undefined : 'no leader';
  }

  #nodeStatus(members: readonly Member[]): NodeStatus {
    const { role, term, leader, commitIndex, appliedIndex, lastIndex } = this.#driver.status();
    const { sessions, held, waiting } = this.#parts.table.counters();
    return {
      name: this.name,
      pid: process.pid,
      clusterId: this.#driver.clusterId() ?? null,
      role: roleFor(this.#driver.condition(), role),
      reason: this.#reason() ?? null,
      leader: leader ?? null,
      term,
      commitIndex,
      appliedIndex,
      lastIndex,
      members: members.length > 0 ? members : this.#foundingMembers(),
      sessions,
      held,
      waiting,
    };
  }

  #clientAddressOf(node: NodeId): string | undefined {
    return node === this.name
      ? this.#clientUrl
      : (this.#peerBook?.clientAddressOf(node) ?? this.#transport.clientAddressOf(node));
  }

  /** What is the matter, and what to type. */
  #reason(): string | undefined {
    const reason = this.#driver.conditionReason();
    if (reason === undefined) return undefined;
    switch (this.#driver.condition()) {
      case 'damaged':
        return `${reason}. ${damageRemedy(this.name, this.#configuration.dataDir)}`;
      case 'removed':
        return `${reason}. Stop it; to bring it back, move ${this.#configuration.dataDir} away, start it with --join and run: lockd member add ${this.name} --peer ${this.peerAddress}`;
      case 'joining':
        return this.#driver.isDisowned() ? `${reason}: run lockd member replace ${this.name}` : reason;
      default:
        return reason;
    }
  }

  /** Before the log has said who takes part. */
  #foundingMembers(): Member[] {
    return [...this.#configuration.initialCluster.keys()].map((name) => ({
      name,
      client: (name === this.name ? this.#clientUrl : this.#transport.clientAddressOf(name as NodeId)) ?? null,
      role: 'voter',
    }));
  }

  async #stop(reason: string): Promise<void> {
    this.#log.info('stopping', { reason });
    const driver = this.#driver;
    const isAlone = driver.status().configuration.voters.length <= 1;
    if (driver.status().role === 'leader' && !isAlone) {
      driver.transferLeadership(undefined);
      const patienceMs = this.#configuration.electionTimeoutMs ?? DEFAULTS.electionTimeoutMs;
      await this.#until(() => driver.status().role !== 'leader', patienceMs);
    }
    await this.#until(() => {
      const { role, lastIndex, appliedIndex } = driver.status();
      return role !== 'leader' || lastIndex === appliedIndex;
    }, DRAIN_MS);
    this.#operations.stop();
    this.#gateway.stop(reason);
    this.#leaseDriver.stop();
    await driver.stop();
    this.#transport.stop(reason);
    await Promise.all([this.#clientListener?.close(), this.#peerListener?.close()]);
    this.#log.info('stopped');
  }

  /** Resolves when `condition` holds, or after `timeoutMs`. */
  async #until(condition: () => boolean, timeoutMs: number): Promise<void> {
    const endMs = this.#clock.nowMs() + timeoutMs;
    while (!condition() && this.#clock.nowMs() < endMs) {
      await new Promise<void>((resolve) => {
        this.#clock.after(5, resolve);
      });
    }
  }
}

/** What a node is made of besides its driver. */
export interface Parts {
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Random;
  readonly leases: LeaseManager;
  readonly table: LockTable;
  readonly sink: NodeSink;
  readonly environment: NodeEnvironment;
  /** What was last logged about role and leader. */
  lastWords?: string;
}

function roleFor(condition: NodeCondition, role: RaftStatus['role']): NodeStatus['role'] {
  switch (condition) {
    case 'joining':
    case 'damaged':
    case 'disk-full':
    case 'removed':
      return condition;
    case 'stopped':
      return 'damaged';
    case 'serving':
      return role === 'pre-candidate' ? 'candidate' : role;
    default:
      return 'damaged';
  }
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
