import { StorageError } from '@lockd/raft/node';
import type { Chance } from '../world/chance.ts';
import type { Strikes } from '../world/strikes.ts';
import type { World } from '../world/world.ts';
import type { Member } from './member.ts';

export const SECOND_US = 1_000_000;
/** After everything that a run could wait for. */
export const FOR_EVER_US = 1_000_000_000_000;

/** What may happen to a single member, whatever runs there; each undoes itself. */
export class MemberFaults<Node extends Member> {
  readonly #world: World;
  readonly #strikes: Strikes;
  readonly #nodes: readonly Node[];
  readonly #heldDown = new Set<Node>();

  constructor(world: World, strikes: Strikes, nodes: readonly Node[]) {
    this.#world = world;
    this.#strikes = strikes;
    this.#nodes = nodes;
    // A supervisor starts what has ended by itself.
    for (const node of nodes) node.onExit = () => this.restartSoon(node, 2 * SECOND_US);
  }

  others(node: Node): Node[] {
    return this.#nodes.filter((other) => other !== node);
  }

  crash(node: Node, isPowerLost: boolean, downUs: number): void {
    if (!node.isUp) return;
    if (isPowerLost) node.losePower();
    else node.kill();
    this.restartSoon(node, downUs);
  }

  restartSoon(node: Node, downUs: number): void {
    this.#world.in(downUs, () => {
      if (!node.isUp && !this.#heldDown.has(node)) node.start();
    });
  }

  pause(node: Node, lastsUs: number): void {
    this.#strikes.say('stalls', `${node.id} for ${Math.floor(lastsUs / 1000)} ms`, lastsUs);
    node.process?.stall(lastsUs);
  }

  stallDisk(node: Node, lastsUs: number): void {
    const { disk } = node;
    this.#strikes.say('stalls the disk of', node.id, lastsUs);
    disk.holdSyncs();
    this.#strikes.later(lastsUs, () => {
      disk.releaseSyncs();
      this.#world.touch();
    });
  }

  /** Its host is suspended: the monotonic clock stands still as well. */
  suspend(node: Node, lastsUs: number): void {
    this.#strikes.say('suspends', `${node.id} for ${Math.floor(lastsUs / 1000)} ms`, lastsUs);
    node.process?.suspend(lastsUs);
  }

  slowDisk(node: Node, chance: Chance, lastsUs: number): void {
    node.diskFactor = chance.pick([10, 50, 200]);
    this.#strikes.later(lastsUs, () => {
      node.diskFactor = 1;
    });
  }

  /** The next write of some kind fails, having been carried out or not. */
  failWrite(node: Node, chance: Chance): void {
    node.disk.failNext(chance.pick(['batch', 'batch', 'slot', 'file']));
  }

  /** The device says that it is full, and sometimes a write finds out. */
  fillDisk(node: Node, chance: Chance, lastsUs: number): void {
    const { disk } = node;
    disk.freeBytes = 0;
    if (chance.oneIn(2)) disk.failNext('batch', new StorageError('STORAGE_FULL', 'simulated: no space left on device'));
    this.#strikes.later(lastsUs, () => {
      disk.freeBytes = Number.MAX_SAFE_INTEGER;
    });
  }

  /** It does not start again. */
  holdDown(node: Node): void {
    node.onExit = () => undefined;
    this.#heldDown.add(node);
  }

  /** Leaves it broken for the rest of the run; false where that is for the links between nodes to do. */
  leave(node: Node, how: string): boolean {
    this.#strikes.say('leaves', `${node.id} ${how}`);
    switch (how) {
      case 'dead':
        this.holdDown(node);
        node.kill();
        return true;
      case 'dark':
        this.holdDown(node);
        node.losePower();
        return true;
      case 'frozen':
        node.process?.stall(FOR_EVER_US);
        return true;
      case 'stuck disk':
        node.disk.holdSyncs();
        return true;
      default:
        return false;
    }
  }
}
