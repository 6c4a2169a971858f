import type { ClientMessage } from '@lockd/client/protocol';
import { Chance } from '../world/chance.ts';
import type { Counters } from '../world/counters.ts';
import type { SimulatedProcess } from '../world/process.ts';
import type { World } from '../world/world.ts';
import { workloadTime } from './client-parts.ts';
import type { Internet } from './internet.ts';
import { LoneClient } from './lone-client.ts';
import { RawLink } from './raw-link.ts';

/** What a client that speaks the protocol by itself needs. */
export interface RawSurroundings {
  readonly seed: number;
  readonly world: World;
  readonly counters: Counters;
  readonly internet: Internet;
  readonly ttlMs: number;
  /** Names of the nodes. */
  readonly nodes: readonly string[];
  readonly urlOf: (node: string) => string;
}

/**
 * Speaks the protocol by itself, as somebody else's client may: a cancel before its acquire, everything twice, an open
 * that is late by a whole session. What the SDK never sends has to be answered rightly too.
 */
export class RawClient extends LoneClient {
  readonly #around: RawSurroundings;
  readonly #chance: Chance;

  constructor(host: string, around: RawSurroundings) {
    super(host, around);
    this.#around = around;
    this.#chance = Chance.of(around.seed, `raw client ${host}`);
  }

  protected override async run(process: SimulatedProcess): Promise<void> {
    const { world, nodes, counters } = this.#around;
    const time = workloadTime(world, process, () => 1);
    for (let count = 1; !this.isFinished; count += 1) {
      const late = this.#dial(process, this.#chance.pick(nodes));
      const link = this.#dial(process, this.#chance.pick(nodes));
      const nonce = `${this.host}-${count}`.padEnd(32, '0');
      await this.#session(link, late, nonce);
      if (this.#chance.oneIn(2)) {
        // The same open once more, from before: its session may be over by now.
        const answer = await late.ask(['open', 9, nonce, this.#around.ttlMs, late.index, null], 'opened', 'error');
        if (answer !== undefined) counters.add(`late open: ${answer[0]}`);
      }
      link.close();
      late.close();
      await time.sleep(this.#chance.between(400, 3_000));
    }
  }

  async #session(link: RawLink, late: RawLink, nonce: string): Promise<void> {
    const { ttlMs } = this.#around;
    const chance = this.#chance;
    if (!(await link.isWelcome()) || !(await late.isWelcome())) return;
    const opened = await link.ask(['open', 1, nonce, ttlMs, link.index, null], 'opened', 'error');
    if (opened?.[0] !== 'opened') return;
    const session = opened[2] as number;
    const name = `raw:${chance.between(1, 3)}`;
    const twice = (message: ClientMessage): void => {
      link.say(message);
      if (chance.oneIn(2)) link.say(message);
    };
    // A cancel that overtakes its acquire; the acquire comes all the same.
    if (chance.oneIn(2)) twice(['cancel', session, 2, 0, 1]);
    twice(['acquire', session, 1, 0, name, 1000, null, null]);
    twice(['acquire', session, 3, 0, name, 1000, null, null]);
    await link.hear('granted', 'waiting', 'error', 'ended');
    twice(['release', session, 4, 0, 3]);
    twice(['acquire', session, 3, 0, name, 1000, null, null]);
    if (chance.oneIn(3)) return;
    await link.ask(['close', session, 5, 0], 'session-ended', 'error');
  }

  #dial(process: SimulatedProcess, node: string): RawLink {
    const { internet, urlOf, world } = this.#around;
    return new RawLink(world, internet, process, { host: this.host, node, url: urlOf(node) });
  }
}
