import { mkdirSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { NodeStatus } from '@lockd/client/protocol';
import { monotonicNs, waitFor } from '../clock.ts';
import type { Random } from '../random.ts';
import { dialerAmong } from './dialer.ts';
import type { FakeClock } from './fake-clock.ts';
import type { Namespaces } from './namespaces.ts';
import type { Network } from './network.ts';
import { NodeProcess, type NodeSpec } from './node-process.ts';
import { StatusPoller } from './status-poller.ts';

const POLL_MS = 200;

export interface ClusterOptions {
  readonly nodes: number;
  /** Built `lockd` binary. */
  readonly bin: string;
  readonly directory: string;
  /** Chooses ports: unlike anything else of a run, not by its seed, or two runs would collide. */
  readonly random: Random;
  readonly electionTimeoutMs?: number;
  readonly heartbeatMs?: number;
  /** Data directories by node name, where not inside `directory`. */
  readonly dataDirs?: ReadonlyMap<string, string>;
  /** The wall clock of a node, where it shall be in our hands. */
  readonly clockFor?: (name: string) => FakeClock | undefined;
  /** For every node: see `NodeSpec`. */
  readonly preload?: NodeSpec['preload'];
  /** Networks of their own; otherwise all live on loopback. The spare node has one too. */
  readonly namespaces?: Namespaces | undefined;
}

export interface ClusterEvent {
  readonly atNs: number;
  readonly node: string;
  /** `undefined`: it does not answer. */
  readonly status: Pick<NodeStatus, 'role' | 'term' | 'commitIndex' | 'leader'> | undefined;
  /** It is no member and has been ended: its silence means nothing. */
  readonly isAway?: boolean;
}

/**
 * A cluster of real processes on loopback, with the network between them and their clients in our hands: its founding
 * members, and a spare node that faults may make a member for a while.
 */
export class Cluster {
  readonly network: Network;
  /** Changes of role, term or reachability of each node, as seen from outside. */
  readonly events: ClusterEvent[] = [];
  /** Not a member at first, and not running. */
  readonly spare: NodeProcess;
  readonly #founders: ReadonlyMap<string, NodeProcess>;
  readonly #pollers = new Map<string, StatusPoller>();
  readonly #peerDoors = new Map<string, string>();

  readonly #namespaces: Namespaces | undefined;

  private constructor(
    network: Network,
    founders: ReadonlyMap<string, NodeProcess>,
    spare: NodeProcess,
    namespaces: Namespaces | undefined,
  ) {
    this.network = network;
    this.#founders = founders;
    this.spare = spare;
    this.#namespaces = namespaces;
  }

  static async create(network: Network, options: ClusterOptions): Promise<Cluster> {
    const all = nodeNames(options.nodes);
    const founders = all.slice(0, -1);
    const spare = all.at(-1) as string;
    const { namespaces } = options;
    const ports = await freePorts(all.length * 2, options.random);
    const peerPort = new Map(all.map((name, index) => [name, ports[index * 2] as number]));
    const clientPort = new Map(all.map((name, index) => [name, ports[index * 2 + 1] as number]));
    const nodes = new Map<string, NodeProcess>();
    mkdirSync(options.directory, { recursive: true });
    const addressOf = (name: string): string => namespaces?.host(name)?.address ?? '127.0.0.1';
    for (const name of all) {
      const members: string[] = [];
      const host = namespaces?.host(name);
      const proxyHost = host?.gateway ?? '127.0.0.1';
      for (const peer of founders) {
        const address = { host: addressOf(peer), port: peerPort.get(peer) as number };
        members.push(
          peer === name
            ? `${peer}=${address.host}:${address.port}`
            : `${peer}=${proxyHost}:${await network.listen(name, peer, address, proxyHost)}`,
        );
      }
      const dataDir = options.dataDirs?.get(name) ?? join(options.directory, name);
      const args = [
        'start',
        ...['--name', name],
        ...['--data-dir', dataDir],
        ...['--listen-client', `${host === undefined ? '127.0.0.1' : '0.0.0.0'}:${clientPort.get(name)}`],
        ...['--listen-peer', `${addressOf(name)}:${peerPort.get(name)}`],
        ...(host === undefined
          ? []
          : [
              ...['--advertise-client', `${host.watchAddress}:${clientPort.get(name)}`],
              ...['--insecure-listen', '--insecure-peer-listen'],
            ]),
        ...[name === spare ? '--join' : '--initial-cluster', members.join(',')],
        ...(options.electionTimeoutMs === undefined ? [] : ['--election-timeout', `${options.electionTimeoutMs}`]),
        ...(options.heartbeatMs === undefined ? [] : ['--heartbeat', `${options.heartbeatMs}`]),
        ...['-o', 'json'],
      ];
      nodes.set(
        name,
        new NodeProcess({
          name,
          bin: options.bin,
          args,
          dataDir,
          clientPort: clientPort.get(name) as number,
          peerPort: peerPort.get(name) as number,
          logFile: join(options.directory, `${name}.log`),
          clock: options.clockFor?.(name),
          prefix: host?.prefix,
          preload: options.preload,
        }),
      );
    }
    const spareNode = nodes.get(spare) as NodeProcess;
    nodes.delete(spare);
    const cluster = new Cluster(network, nodes, spareNode, namespaces);
    for (const name of all) {
      const address = { host: addressOf(name), port: peerPort.get(name) as number };
      const doorHost = namespaces?.host(name)?.gateway ?? '127.0.0.1';
      const port = await network.listenForAll((socket) => cluster.#dialerOf(socket), name, address, doorHost);
      cluster.#peerDoors.set(name, `${doorHost}:${port}`);
    }
    return cluster;
  }

  /** The founding members: whatever is done to the membership, in the end it is them again. */
  get names(): readonly string[] {
    return [...this.#founders.keys()];
  }

  /** With the spare node, which may be a member just now. */
  get everyone(): readonly string[] {
    return [...this.names, this.spare.spec.name];
  }

  /** Founding members. */
  get nodes(): ReadonlyMap<string, NodeProcess> {
    return this.#founders;
  }

  node(name: string): NodeProcess {
    const node = name === this.spare.spec.name ? this.spare : this.#founders.get(name);
    if (node === undefined) throw new Error(`no node is called ${name}`);
    return node;
  }

  /** Where a node tells clients that it is: rewritten by each client's transport to links of its own. */
  clientUrl(name: string): string {
    const host = this.#namespaces?.host(name)?.watchAddress ?? '127.0.0.1';
    return `ws://${host}:${this.node(name).spec.clientPort}`;
  }

  /** The peer address that may stand in the log: whoever dials it gets a link of its own. */
  peerDoor(name: string): string {
    return this.#peerDoors.get(name) as string;
  }

  /** Starts the founding members and the watch over them. */
  async start(): Promise<void> {
    await Promise.all([...this.#founders.values()].map((node) => node.start()));
    for (const name of this.#founders.keys()) this.#watch(name);
  }

  /** Starts the spare node with an empty directory, and watches it. */
  async startSpare(): Promise<void> {
    const { name } = this.spare.spec;
    if (this.spare.state !== 'dead') await this.spare.kill();
    this.wipe(name);
    await this.spare.start();
    this.#watch(name);
  }

  /** Ends the spare node. What it was a member of goes on without it. */
  async stopSpare(): Promise<void> {
    const { name } = this.spare.spec;
    await this.spare.terminate(5000);
    this.#pollers.get(name)?.close();
    this.#pollers.delete(name);
    this.events.push({ atNs: monotonicNs(), node: name, status: undefined, isAway: true });
  }

  /** The node must not run. What it promised is lost with its directory: only who is no member may come back so. */
  wipe(name: string): void {
    rmSync(this.node(name).spec.dataDir, { recursive: true, force: true });
  }

  /** Links of its own for one client: what is advertised, and where this client reaches it. */
  async linksFor(client: string): Promise<Record<string, string>> {
    const links: Record<string, string> = {};
    for (const name of this.everyone) {
      const host = this.#namespaces?.host(name)?.address ?? '127.0.0.1';
      const address = { host, port: this.node(name).spec.clientPort };
      links[this.clientUrl(name)] = `ws://127.0.0.1:${await this.network.listen(client, name, address)}`;
    }
    return links;
  }

  status(name: string): NodeStatus | undefined {
    return this.#pollers.get(name)?.last?.status;
  }

  /** The running node that says it leads, in the highest term. */
  leader(): { readonly name: string; readonly term: number } | undefined {
    let best: { readonly name: string; readonly term: number } | undefined;
    for (const name of this.everyone) {
      const status = this.status(name);
      if (status?.role === 'leader' && this.node(name).state === 'running' && status.term > (best?.term ?? -1))
        best = { name, term: status.term };
    }
    return best;
  }

  followers(): readonly string[] {
    const leader = this.leader()?.name;
    return this.names.filter((name) => name !== leader && this.node(name).state === 'running');
  }

  /** A leader that is not `not` at `notTerm`. */
  async waitForLeader(
    timeoutMs: number,
    not?: { readonly name: string; readonly term: number },
  ): Promise<string | undefined> {
    return waitFor(() => {
      const leader = this.leader();
      return leader === undefined || (leader.name === not?.name && leader.term === not.term) ? undefined : leader.name;
    }, timeoutMs);
  }

  /** Everybody runs, answers and knows the one leader. */
  async waitForHealth(timeoutMs: number): Promise<boolean> {
    const healthy = await waitFor(() => {
      const leader = this.leader()?.name;
      if (leader === undefined) return undefined;
      return this.names.every((name) => {
        const status = this.status(name);
        return status?.leader === leader && (status.role === 'leader' || status.role === 'follower');
      })
        ? true
        : undefined;
    }, timeoutMs);
    return healthy === true;
  }

  /** Every directed link between nodes. */
  get peerLinks(): readonly (readonly [from: string, to: string])[] {
    return this.everyone.flatMap((from) => this.everyone.filter((to) => to !== from).map((to) => [from, to] as const));
  }

  /** Whatever is paused runs, whatever is dead is started, all links between nodes are open. */
  async repair(): Promise<void> {
    this.network.heal({ links: this.peerLinks });
    if (this.#namespaces !== undefined) for (const name of this.everyone) this.#namespaces.heal(name);
    const nodes = [...this.#founders.values()];
    for (const node of [...nodes, this.spare]) if (node.state === 'stopped') node.resume();
    await Promise.all(nodes.filter((node) => node.state === 'dead').map((node) => node.start()));
  }

  async stop(): Promise<void> {
    for (const poller of this.#pollers.values()) poller.close();
    await Promise.all([...this.#founders.values(), this.spare].map((node) => node.terminate(5000)));
    await this.network.close();
  }

  #watch(name: string): void {
    let before = '';
    this.#pollers.get(name)?.close();
    const poller = new StatusPoller(this.clientUrl(name), POLL_MS, (sample) => {
      const status = sample?.status;
      const now = status === undefined ? 'silent' : `${status.role} ${status.term} ${status.leader}`;
      if (now === before) return;
      before = now;
      this.events.push({
        atNs: sample?.atNs ?? monotonicNs(),
        node: name,
        status:
          status === undefined
            ? undefined
            : { role: status.role, term: status.term, commitIndex: status.commitIndex, leader: status.leader },
      });
    });
    this.#pollers.set(name, poller);
  }

  #dialerOf({ localPort, remoteAddress, remotePort }: Socket): string | undefined {
    if (this.#namespaces !== undefined) return this.#namespaces.nameOf(remoteAddress ?? '');
    if (localPort === undefined || remotePort === undefined) return undefined;
    return dialerAmong(
      { local: localPort, remote: remotePort },
      new Map(this.everyone.map((name) => [name, this.node(name).pid])),
    );
  }
}

/** Of a cluster with so many founding members, those, and the spare node's last. */
export function nodeNames(nodes: number): readonly string[] {
  return Array.from({ length: nodes + 1 }, (_, index) => `n${index + 1}`);
}

/**
 * Ports nobody listens on now, below the range from which systems take ports for outgoing connections: a node that was
 * killed must find its port free when it starts again.
 */
export async function freePorts(count: number, random: Random): Promise<number[]> {
  const ports: number[] = [];
  for (let tries = 0; ports.length < count; tries++) {
    if (tries > 1000) throw new Error('no free ports between 12000 and 31999');
    const port = random.between(12_000, 31_999);
    if (!ports.includes(port) && (await isFree(port))) ports.push(port);
  }
  return ports;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
