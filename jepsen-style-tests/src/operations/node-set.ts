import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from '../clock.ts';
import { freePorts } from '../cluster/cluster.ts';
import { NodeProcess } from '../cluster/node-process.ts';
import type { Random } from '../random.ts';
import { LOCKD_BIN, lockd } from './lockd-cli.ts';

export interface StatusRow {
  readonly name: string;
  readonly reachable: boolean;
  readonly role: string | null;
  readonly reason: string | null;
  readonly appliedIndex: number | null;
  readonly lastIndex: number | null;
  readonly held: number | null;
}

/** Real node processes that come and go, without proxies between them. */
export class NodeSet {
  readonly nodes: Map<string, NodeProcess> = new Map();
  readonly #directory: string;
  readonly #random: Random;
  #founding = '';

  private constructor(directory: string, random: Random) {
    this.#directory = directory;
    this.#random = random;
  }

  /** `n1` to `nN`, started, with a leader that all of them follow. */
  static async found(
    directory: string,
    count: number,
    random: Random,
    flags: readonly string[] = [],
  ): Promise<NodeSet> {
    const set = new NodeSet(directory, random);
    const names = Array.from({ length: count }, (_, index) => `n${index + 1}`);
    const ports = await freePorts(count * 2, random);
    set.#founding = names.map((name, index) => `${name}=127.0.0.1:${ports[index]}`).join(',');
    for (const [index, name] of names.entries())
      set.#define(name, ports[index] as number, ports[count + index] as number, [
        '--initial-cluster',
        set.#founding,
        ...flags,
      ]);
    await Promise.all([...set.nodes.values()].map((node) => node.start()));
    if (!(await set.settled(20_000))) throw new Error('the cluster was not founded within 20 s');
    return set;
  }

  /** One more, not started: it is told of one node of the cluster. */
  async define(name: string): Promise<NodeProcess> {
    const [peerPort, clientPort] = (await freePorts(2, this.#random)) as [number, number];
    return this.#define(name, peerPort, clientPort, ['--join', this.#founding.split(',')[0] as string]);
  }

  node(name: string): NodeProcess {
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(`no node is called ${name}`);
    return node;
  }

  get endpoints(): readonly string[] {
    return [...this.nodes.values()].map((node) => `ws://127.0.0.1:${node.spec.clientPort}`);
  }

  /** For the command line. */
  get flags(): readonly string[] {
    return ['--endpoints', this.endpoints.join(',')];
  }

  async status(): Promise<{
    readonly leader: string | null;
    readonly term: number | null;
    readonly nodes: readonly StatusRow[];
  }> {
    const { lines } = await lockd('status', ...this.flags);
    return (lines[0] ?? { leader: null, term: null, nodes: [] }) as never;
  }

  async statusOf(name: string): Promise<StatusRow | undefined> {
    const { lines } = await lockd('status', '--endpoints', `ws://127.0.0.1:${this.node(name).spec.clientPort}`);
    return (lines[0] as { nodes?: readonly StatusRow[] } | undefined)?.nodes?.find((row) => row.name === name);
  }

  async leader(): Promise<string> {
    const leader = await waitFor(async () => (await this.status()).leader ?? undefined, 20_000);
    if (leader === undefined) throw new Error('nobody leads');
    return leader;
  }

  /** Every running node follows the one leader and lacks little of its log. */
  async settled(timeoutMs: number, ...but: readonly string[]): Promise<boolean> {
    const isSettled = await waitFor(async () => {
      const { leader, nodes } = await this.status();
      const running = nodes.filter(({ name }) => this.nodes.get(name)?.state === 'running' && !but.includes(name));
      const furthest = Math.max(...running.map((row) => row.appliedIndex ?? 0));
      const isFine = running.every(
        (row) => (row.role === 'leader' || row.role === 'follower') && furthest - (row.appliedIndex ?? 0) < 2000,
      );
      return leader !== null && isFine && running.length > 0 ? true : undefined;
    }, timeoutMs);
    return isSettled === true;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.nodes.values()].map((node) => node.terminate(8000)));
  }

  #define(name: string, peerPort: number, clientPort: number, more: readonly string[]): NodeProcess {
    const dataDir = join(this.#directory, name);
    mkdirSync(this.#directory, { recursive: true });
    const node = new NodeProcess({
      name,
      bin: LOCKD_BIN,
      args: [
        'start',
        ...['--name', name, '--data-dir', dataDir],
        ...['--listen-client', `127.0.0.1:${clientPort}`, '--listen-peer', `127.0.0.1:${peerPort}`],
        ...more,
        ...['-o', 'json'],
      ],
      dataDir,
      clientPort,
      peerPort,
      logFile: join(this.#directory, `${name}.log`),
    });
    this.nodes.set(name, node);
    return node;
  }
}
