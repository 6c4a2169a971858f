import { SimulatedProcess } from '../world/process.ts';
import type { World } from '../world/world.ts';
import type { Internet } from './internet.ts';

interface LoneSurroundings {
  readonly world: World;
  readonly internet: Internet;
}

/** A client beside those whose history is judged: one process that no fault strikes, until it goes without a word. */
export abstract class LoneClient {
  readonly host: string;
  readonly #around: LoneSurroundings;
  #process: SimulatedProcess | undefined;
  #isFinished = false;

  constructor(host: string, around: LoneSurroundings) {
    this.host = host;
    this.#around = around;
  }

  /** Whether it has been started. */
  get hasStarted(): boolean {
    return this.#process !== undefined;
  }

  start(): void {
    const { world } = this.#around;
    const process = new SimulatedProcess(this.host, world, { originMs: 0, ratePpm: 0 });
    this.#process = process;
    process.arrive(() => {
      world.touch();
      this.run(process).catch((error: unknown) => world.fail(error));
    });
  }

  /** Goes without a word; what it leaves ends with its connection, or by its TTL. */
  finish(): void {
    this.#isFinished = true;
    const process = this.#process;
    if (process === undefined) return;
    process.die();
    this.#around.internet.ended(process, 'closed');
  }

  protected get isFinished(): boolean {
    return this.#isFinished;
  }

  /** What it does, over and over, until it is finished. */
  protected abstract run(process: SimulatedProcess): Promise<void>;
}
