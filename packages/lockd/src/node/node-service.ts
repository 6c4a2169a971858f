import { codecFor, type Member, type NodeStatus } from '@lockd/client/protocol';
import { type NodeId, nodeId, type RaftStatus, type Random } from '@lockd/raft';
import {
  bootstrapHash,
  type DriverOptions,
  type LogStorage,
  type NodeCondition,
  type OpenDriver,
  openDriver,
  type StateMachine,
} from '@lockd/raft/node';
import type { Clock } from '../clock.ts';
import { DEFAULTS, type NodeConfiguration } from '../config.ts';
import type { FrameSocket } from '../frame-socket.ts';
import { Gateway } from '../gateway/gateway.ts';
import { LeaseManager } from '../leases/lease-manager.ts';
import { LockTable } from '../lock-table/lock-table.ts';
import type { Logger } from '../log.ts';
import { Operations } from '../operations/operations.ts';
import { PeerTransport } from '../peers/peer-transport.ts';
import { LeaseDriver } from './lease-driver.ts';
import { LockStateMachine } from './lock-state-machine.ts';
import { nodeMetrics } from './metrics.ts';
import { NodeSink } from './node-sink.ts';
import { PeerBook } from './peer-book.ts';
import { damageRemedy } from './remedies.ts';

/** What a node needs to know of the cluster and of itself; where it listens is not its concern. */
export type ServiceConfiguration = Pick<
  NodeConfiguration,
  | 'name'
  | 'dataDir'
  | 'initialCluster'
  | 'join'
  | 'electionTimeoutMs'
  | 'heartbeatMs'
  | 'snapshotMinBytes'
  | 'clientToken'
>;

/** What a node touches of the world. */
export interface ServiceEnvironment {
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Random;
  /** Given away: the service closes it. */
  readonly storage: LogStorage;
  /** See `PeerTransportOptions.dial`. */
  readonly dialPeer: (address: string) => FrameSocket;
  readonly newClusterId: () => string;
  /** For people, in the status. */
  readonly pid: number;
  /** The node cannot go on and has stopped taking part: the storage failed, say. Called at most once. */
  readonly onFatal: (reason: string) => void;
  /** Bounds of the Raft driver other than its defaults. */
  readonly tuning?: Omit<Partial<DriverOptions>, 'id' | 'initialCluster' | 'seeds' | 'newClusterId'>;
  /** What the driver is given instead of the lock table's state machine: one that looks on, and passes everything on. */
  readonly observe?: (machine: StateMachine, table: LockTable) => StateMachine;
}

/** Where others reach the node. */
export interface ServiceAddresses {
  /** A WebSocket URL. */
  readonly client: string;
  /** `host:port`. */
  readonly peer: string;
}

/** How long a stopping node waits for what is on its way. */
const DRAIN_MS = 500;

/**
 * One running node without its listeners and its directory: Raft, lock table, leases, gateway, operations and links, put
 * together. `open`, then `start` once others can reach it, then connections through `acceptClient` and `acceptPeer`.
 */
export class NodeService {
  readonly name: string;
  readonly #configuration: ServiceConfiguration;
  readonly #electionTimeoutMs: number;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #driver: OpenDriver;
  readonly #transport: PeerTransport;
  readonly #gateway: Gateway;
  readonly #operations: Operations;
  readonly #leaseDriver: LeaseDriver;
  readonly #parts: Parts;
  #peerBook: PeerBook | undefined;
  #clientUrl = '';
  #peerAddress = '';
  /** What was last logged about role and leader. */
  #lastWords = '';
  #stopping: Promise<void> | undefined;

  private constructor(configuration: ServiceConfiguration, parts: Parts, driver: OpenDriver, transport: PeerTransport) {
    this.name = configuration.name;
    this.#configuration = configuration;
    this.#parts = parts;
    const { clock, log } = parts.environment;
    this.#log = log;
    this.#clock = clock;
    this.#driver = driver;
    this.#transport = transport;
    const electionTimeoutMs = configuration.electionTimeoutMs ?? DEFAULTS.electionTimeoutMs;
    this.#electionTimeoutMs = electionTimeoutMs;
    this.#leaseDriver = new LeaseDriver({
      clock,
      leases: parts.leases,
      table: parts.table,
      propose: (bytes, start, ends) => driver.propose(bytes, start, ends),
      lastStall: () => driver.lastStall(),
    });
    this.#gateway = new Gateway({
      self: nodeId(configuration.name),
      clock,
      log,
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
      clock,
      cluster: {
        self: nodeId(configuration.name),
        electionTimeoutMs,
        takesPart: () => driver.condition() === 'serving' || driver.condition() === 'disk-full',
        nowMs: () => clock.nowMs(),
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

  /** Recovers what is stored. Rejects with a `StorageError` where that cannot be used at all; nothing is left open then. */
  static async open(configuration: ServiceConfiguration, environment: ServiceEnvironment): Promise<NodeService> {
    const { clock, log, random, storage, tuning, observe } = environment;
    const self = nodeId(configuration.name);
    const members = [...configuration.initialCluster.keys()].map(nodeId);
    const peers = peersOf(configuration);
    const leases = new LeaseManager();
    const table = new LockTable();
    const sink = new NodeSink(leases);
    const late: { service?: NodeService } = {};
    const transport = new PeerTransport({
      name: self,
      peers,
      bootstrapHash: bootstrapHash(members),
      dial: environment.dialPeer,
      clock,
      random,
      log,
    });
    const stateMachine = new LockStateMachine(table, sink, {
      onApply: () => {
        sink.nowMs = clock.nowMs();
      },
      onReplaced: () => {
        if (late.service !== undefined) late.service.#gateway.sessions.stateReplaced();
      },
    });
    const driver = await openDriver(
      {
        ...tuning,
        id: self,
        initialCluster: members,
        seeds: configuration.join === undefined ? [] : [...peers.keys()],
        newClusterId: environment.newClusterId,
        ...(configuration.snapshotMinBytes === undefined ? {} : { snapshotMinBytes: configuration.snapshotMinBytes }),
        raft: {
          ...tuning?.raft,
          electionTimeoutMs: configuration.electionTimeoutMs ?? DEFAULTS.electionTimeoutMs,
          heartbeatMs: configuration.heartbeatMs ?? DEFAULTS.heartbeatMs,
        },
      },
      {
        storage,
        transport,
        stateMachine: observe === undefined ? stateMachine : observe(stateMachine, table),
        clock,
        random,
        // Before the node is complete nobody is connected who could hear of anything.
        events: {
          onReadsConfirmed: (round) => {
            if (late.service !== undefined) late.service.#gateway.onReadsConfirmed(round);
          },
          onStatusChanged: (status) => {
            if (late.service !== undefined) late.service.#onStatus(status);
          },
          onConditionChanged: (condition, reason) => {
            if (late.service !== undefined) late.service.#onCondition(condition, reason);
          },
          onTurnBegin: () => {
            if (late.service !== undefined) late.service.#onTurnBegin();
          },
          onRegistryChanged: () => {
            if (late.service !== undefined) late.service.#peerBook?.refresh();
          },
          onTurnEnd: () => {
            if (late.service !== undefined) late.service.#onTurnEnd();
          },
        },
      },
    );
    const service = new NodeService(configuration, { environment, leases, table, sink }, driver, transport);
    late.service = service;
    sink.sessions = service.#gateway.sessions;
    return service;
  }

  /** Others can reach it now: begins to take part. Once. */
  start(addresses: ServiceAddresses): void {
    this.#clientUrl = addresses.client;
    this.#peerAddress = addresses.peer;
    const driver = this.#driver;
    const own = { ...addresses, isGiven: false };
    const settings = settingsOf(this.#configuration);
    const transport = this.#transport;
    const peerBook = new PeerBook({ self: nodeId(this.name), settings, own, driver, transport });
    this.#peerBook = peerBook;
    this.#onCondition(driver.condition(), driver.conditionReason());
    this.#onStatus(driver.status());
    transport.start({
      handler: driver.handler,
      identity: () => driver.identity(),
      clientAddress: addresses.client,
      peerAddress: addresses.peer,
      members: () => peerBook.members(),
      hasRemoved: (instanceId) => driver.hasRemoved(instanceId) && driver.isConfigurationConfirmed(),
      app: {
        onPayload: (from, payload) => this.#gateway.onPayload(from, payload),
        onMembersTold: (told) => peerBook.told(told),
        onPeerUp: () => {
          peerBook.refresh();
          this.#gateway.onPeerUp();
        },
        onPeerDown: (peer) => {
          this.#operations.onPeerDown(peer);
          this.#gateway.onPeerDown(peer);
        },
      },
    });
  }

  /** A client's connection that is open, and the subprotocol both sides agreed on. */
  acceptClient(socket: FrameSocket, subprotocol: string): void {
    const codec = codecFor(subprotocol);
    if (codec !== undefined) {
      this.#gateway.accept(socket, codec);
      return;
    }
    socket.on('error', () => {});
    socket.close(1002, 'offer the subprotocol lockd.v1.json or lockd.v1.msgpack');
  }

  /** Another node's connection that is open. */
  acceptPeer(socket: FrameSocket): void {
    this.#transport.accept(socket);
  }

  status(): NodeStatus {
    return this.#nodeStatus(this.#gateway.members());
  }

  /** Leads, and has applied the first entry of its term. */
  get isServing(): boolean {
    const { role, isReady } = this.#driver.status();
    return role === 'leader' && isReady;
  }

  /** For observers: the driver itself. */
  get driver(): OpenDriver {
    return this.#driver;
  }

  /** Renewals that had to wait for the fate of a proposed end, so far. */
  get heldBackRenewals(): number {
    return this.#parts.leases.counters.heldBackRenewals;
  }

  /** Why the process should be restarted, or undefined. */
  whyNotLive(): string | undefined {
    const condition = this.#driver.condition();
    return condition === 'damaged' || condition === 'stopped' || condition === 'removed'
      ? `${condition}: ${this.#driver.conditionReason() ?? ''}`
      : undefined;
  }

  /** Why clients should not come here now, or undefined. */
  whyNotReady(): string | undefined {
    if (this.#stopping !== undefined) return 'stopping';
    const condition = this.#driver.condition();
    if (condition === 'joining') return `joining: ${this.#driver.conditionReason() ?? ''}`;
    const { role, isReady, leader } = this.#driver.status();
    return (role === 'leader' ? isReady : leader !== undefined) ? undefined : 'no leader';
  }

  /** The page at /metrics. */
  metrics(): string {
    return nodeMetrics(this.#driver, this.#gateway, this.#transport, this.#parts);
  }

  /** Hands leadership over, finishes what is in flight, says goodbye, closes the storage. Idempotent; bounded. */
  stop(reason: string): Promise<void> {
    this.#stopping ??= this.#stop(reason);
    return this.#stopping;
  }

  #onStatus(status: RaftStatus): void {
    // The lease manager first: the gateway's renewals ask it.
    this.#leaseDriver.onStatus(status);
    this.#peerBook?.refresh();
    this.#gateway.onStatus(status);
    const words = `${status.role} ${status.term} ${status.leader ?? ''} ${status.isReady}`;
    if (words === this.#lastWords) return;
    this.#lastWords = words;
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
    this.#parts.environment.onFatal(reason ?? 'the node stopped');
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

  #nodeStatus(members: readonly Member[]): NodeStatus {
    const { role, term, leader, commitIndex, appliedIndex, lastIndex } = this.#driver.status();
    const { sessions, held, waiting } = this.#parts.table.counters();
    return {
      name: this.name,
      pid: this.#parts.environment.pid,
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
    const { dataDir } = this.#configuration;
    switch (this.#driver.condition()) {
      case 'damaged':
        return `${reason}. ${damageRemedy(this.name, dataDir)}`;
      case 'removed':
        return `${reason}. Stop it; to bring it back, move ${dataDir} away, start it with --join and run: lockd member add ${this.name} --peer ${this.#peerAddress}`;
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
      await this.#until(() => driver.status().role !== 'leader', this.#electionTimeoutMs);
    }
    await this.#until(() => {
      const { role, lastIndex, appliedIndex } = driver.status();
      return role !== 'leader' || lastIndex === appliedIndex;
    }, DRAIN_MS);
    this.#operations.stop();
    this.#gateway.stop(reason);
    this.#leaseDriver.stop();
    try {
      await driver.stop();
    } finally {
      // Also where the storage could not write its last: the process has to come to its end.
      this.#transport.stop(reason);
    }
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
interface Parts {
  readonly environment: ServiceEnvironment;
  readonly leases: LeaseManager;
  readonly table: LockTable;
  readonly sink: NodeSink;
}

/** Names and addresses a node was started with: the founding members, or whom it was told to join. */
function settingsOf({ join, initialCluster }: ServiceConfiguration): ReadonlyMap<string, string> {
  return join ?? initialCluster;
}

function peersOf(configuration: ServiceConfiguration): Map<NodeId, string> {
  const peers = new Map([...settingsOf(configuration)].map(([name, address]) => [nodeId(name), address]));
  peers.delete(nodeId(configuration.name));
  return peers;
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
