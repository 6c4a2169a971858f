import { mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { NodeStatus } from '@lockd/client/protocol';
import { monotonicNs, waitFor } from '../clock.ts';
import type { Random } from '../random.ts';
import type { Network } from './network.ts';
import { NodeProcess } from './node-process.ts';
import { StatusPoller } from './status-poller.ts';

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
}

export interface ClusterEvent {
  readonly atNs: number;
  readonly node: string;
  /** `undefined`: it does not answer. */
  readonly status: Pick<NodeStatus, 'role' | 'term' | 'commitIndex' | 'leader'> | undefined;
}

/** A cluster of real processes on loopback, with the network between them and their clients in our hands. */
export class Cluster {
  readonly network: Network;
  readonly nodes: ReadonlyMap<string, NodeProcess>;
  /** Changes of role, term or reachability of each node, as seen from outside. */
  readonly events: ClusterEvent[] = [];
  readonly #pollers = new Map<string, StatusPoller>();
  /** What nodes tell clients about where they are: rewritten by each client's transport to links of its own. */
  readonly advertised: ReadonlyMap<string, string>;

  private constructor(
    network: Network,
    nodes: ReadonlyMap<string, NodeProcess>,
    advertised: ReadonlyMap<string, string>,
  ) {
    this.network = network;
    this.nodes = nodes;
    this.advertised = advertised;
  }

  static async create(network: Network, options: ClusterOptions): Promise<Cluster> {
    const names = Array.from({ length: options.nodes }, (_, index) => `n${index + 1}`);
    const ports = await freePorts(options.nodes * 2, options.random);
    const peerPort = new Map(names.map((name, index) => [name, ports[index * 2] as number]));
    const clientPort = new Map(names.map((name, index) => [name, ports[index * 2 + 1] as number]));
    const nodes = new Map<string, NodeProcess>();
    const advertised = new Map<string, string>();
    mkdirSync(options.directory, { recursive: true });
    for (const name of names) {
      const members: string[] = [];
      for (const peer of names) {
        const address = { host: '127.0.0.1', port: peerPort.get(peer) as number };
        members.push(`${peer}=127.0.0.1:${peer === name ? address.port : await network.listen(name, peer, address)}`);
      }
      // Clients never use this address as it is: it only has to be one that names the node.
      const client = `ws://127.0.0.1:${clientPort.get(name)}`;
      advertised.set(name, client);
      const dataDir = options.dataDirs?.get(name) ?? join(options.directory, name);
      const args = [
        'start',
        ...['--name', name],
        ...['--data-dir', dataDir],
        ...['--listen-client', `127.0.0.1:${clientPort.get(name)}`],
        ...['--listen-peer', `127.0.0.1:${peerPort.get(name)}`],
        ...['--initial-cluster', members.join(',')],
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
        }),
      );
    }
    return new Cluster(network, nodes, advertised);
  }

  get names(): readonly string[] {
    return [...this.nodes.keys()];
  }

  node(name: string): NodeProcess {
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(`no node is called ${name}`);
    return node;
  }

  /** Starts all nodes and the watch over them. */
  async start(): Promise<void> {
    await Promise.all([...this.nodes.values()].map((node) => node.start()));
    for (const [name, node] of this.nodes) {
      let before = '';
      const poller = new StatusPoller(`ws://127.0.0.1:${node.spec.clientPort}`, 200, (sample) => {
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
  }

  /** Links of its own for one client: what is advertised, and where this client reaches it. */
  async linksFor(client: string): Promise<Record<string, string>> {
    const links: Record<string, string> = {};
    for (const [name, url] of this.advertised) {
      const port = await this.network.listen(client, name, {
        host: '127.0.0.1',
        port: this.node(name).spec.clientPort,
      });
      links[url] = `ws://127.0.0.1:${port}`;
    }
    return links;
  }

  status(name: string): NodeStatus | undefined {
    return this.#pollers.get(name)?.last?.status;
  }

  /** The running node that says it leads, in the highest term. */
  leader(): { readonly name: string; readonly term: number } | undefined {
    let best: { readonly name: string; readonly term: number } | undefined;
    for (const name of this.nodes.keys()) {
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
    return this.names.flatMap((from) => this.names.filter((to) => to !== from).map((to) => [from, to] as const));
  }

  /** Whatever is paused runs, whatever is dead is started, all links between nodes are open. */
  async repair(): Promise<void> {
    this.network.heal({ links: this.peerLinks });
    for (const node of this.nodes.values()) {
      if (node.state === 'stopped') node.resume();
    }
    await Promise.all([...this.nodes.values()].filter((node) => node.state === 'dead').map((node) => node.start()));
  }

  async stop(): Promise<void> {
    for (const poller of this.#pollers.values()) poller.close();
    await Promise.all([...this.nodes.values()].map((node) => node.terminate(5000)));
    await this.network.close();
  }
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
