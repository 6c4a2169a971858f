import { nodeId } from '../../src/core/ids.ts';
import type { DriverOptions } from '../../src/node/driver-options.ts';
import { LogStore } from '../../src/node/log-store.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { MemoryNetwork } from '../../src/testing/memory-network.ts';
import { seededRandom } from '../../src/testing/seeded-random.ts';
import { SimulatedDisk } from '../../src/testing/simulated-disk.ts';
import { IDS, leaderOf, openNode, type TestNode } from './harness.ts';

export interface Member {
  readonly disk: SimulatedDisk;
  node: TestNode | undefined;
}

/** Three nodes in virtual time. */
export class Cluster {
  readonly clock = new ManualClock();
  readonly network: MemoryNetwork;
  readonly members = new Map<string, Member>();
  readonly #options: Partial<DriverOptions>;
  readonly #seed: number;
  readonly #syncDelayMs: (() => number) | undefined;
  #instances = 0;
  #disks = 0;

  constructor(
    options: Partial<DriverOptions> = {},
    settings: { readonly seed?: number; readonly syncDelayMs?: () => number; readonly delayMs?: () => number } = {},
  ) {
    this.#options = options;
    this.#seed = settings.seed ?? 1;
    this.network = new MemoryNetwork(this.clock, settings.delayMs);
    this.#syncDelayMs = settings.syncDelayMs;
    for (const id of IDS) this.emptyDisk(id);
  }

  /** Another, empty disk under this name. */
  emptyDisk(id: string): void {
    const random = seededRandom(this.#seed * 31 + this.#disks++);
    const syncDelayMs = this.#syncDelayMs;
    const disk = new SimulatedDisk({ clock: this.clock, random, ...(syncDelayMs && { syncDelayMs }) });
    this.members.set(id, { disk, node: undefined });
  }

  get nodes(): TestNode[] {
    return [...this.members.values()].flatMap(({ node }) => node ?? []);
  }

  async start(id: string, options: Partial<DriverOptions> = {}): Promise<void> {
    const member = this.members.get(id)!;
    const storage = new LogStore(member.disk.mount(), this.clock, { newInstanceId: () => `i${++this.#instances}` });
    void openNode(
      nodeId(id),
      { storage, clock: this.clock, network: this.network, seed: this.#seed },
      { ...this.#options, ...options },
    ).then((node) => {
      member.node = node;
    });
    await this.clock.advanceUntil(() => member.node !== undefined, 100);
  }

  async startAll(): Promise<TestNode> {
    for (const id of IDS) await this.start(id);
    return this.leader();
  }

  async leader(withinMs = 5000): Promise<TestNode> {
    await this.clock.advanceUntil(() => leaderOf(this.nodes) !== undefined, withinMs);
    const leader = leaderOf(this.nodes);
    if (leader === undefined) throw new Error(`no leader within ${withinMs} ms`);
    return leader;
  }

  /** The process is gone, with or without the machine. Its driver stays unanswered for ever. */
  end(id: string, how: 'kill' | 'losePower'): void {
    const member = this.members.get(id)!;
    member.disk[how]();
    this.network.detach(nodeId(id));
    void member.node?.driver.stop();
    member.node = undefined;
  }

  diskOf(node: TestNode): SimulatedDisk {
    return this.members.get(node.id)!.disk;
  }
}
