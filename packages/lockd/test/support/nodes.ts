import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createNode, type LockNode, type NodeConfiguration, type NodeEnvironment } from '../../src/index.ts';
import { freePorts } from './ports.ts';
import { until } from './until.ts';

/** Nodes in this process, with real sockets and LevelDB in a temporary folder. */
export class TestNodes {
  readonly nodes = new Map<string, LockNode>();
  readonly #directory = mkdtempSync(join(tmpdir(), 'lockd-test-'));
  readonly #configurations: readonly NodeConfiguration[];
  readonly #environment: NodeEnvironment;

  private constructor(
    configurations: (directory: string) => readonly NodeConfiguration[],
    environment: NodeEnvironment,
  ) {
    this.#configurations = configurations(this.#directory);
    this.#environment = environment;
  }

  /** All nodes run in the same `environment`. */
  static async start(
    count: number,
    more: Partial<NodeConfiguration> = {},
    environment: NodeEnvironment = {},
  ): Promise<TestNodes> {
    const peerPorts = await freePorts(count);
    const names = peerPorts.map((_, position) => `n${position + 1}`);
    const initialCluster = new Map(names.map((name, position) => [name, `127.0.0.1:${peerPorts[position]}`]));
    const cluster = new TestNodes(
      (directory) =>
        names.map((name, position) => ({
          name,
          dataDir: join(directory, name),
          listenClient: { host: '127.0.0.1', port: 0 },
          listenPeer: { host: '127.0.0.1', port: peerPorts[position] as number },
          initialCluster,
          electionTimeoutMs: 300,
          heartbeatMs: 50,
          ...more,
        })),
      environment,
    );
    await Promise.all(names.map((name) => cluster.startNode(name)));
    await cluster.leader();
    return cluster;
  }

  async startNode(name: string): Promise<LockNode> {
    const configuration = this.#configurations.find((candidate) => candidate.name === name);
    if (configuration === undefined) throw new Error(`no node ${name}`);
    const node = await createNode(configuration, this.#environment);
    this.nodes.set(name, node);
    return node;
  }

  async stopNode(name: string): Promise<void> {
    const node = this.nodes.get(name);
    this.nodes.delete(name);
    await node?.stop();
  }

  /** The node that leads and serves, once there is one. */
  async leader(): Promise<LockNode> {
    return await until('a leader', () => [...this.nodes.values()].find((node) => node.isServing));
  }

  /** One that knows who leads, and is not it. */
  async follower(): Promise<LockNode> {
    const leader = await this.leader();
    return await until('a follower', () =>
      [...this.nodes.values()].find((node) => node !== leader && node.status().leader === leader.name),
    );
  }

  async stop(): Promise<void> {
    await Promise.all([...this.nodes.keys()].map((name) => this.stopNode(name)));
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
