import { connect, LockdError } from '@lockd/client';
import { Chance } from '../world/chance.ts';
import type { Counters } from '../world/counters.ts';
import type { SimulatedProcess } from '../world/process.ts';
import type { World } from '../world/world.ts';
import { ClientClock, clientRandom, simulatedTransport, workloadTime } from './client-parts.ts';
import type { Internet } from './internet.ts';
import { LoneClient } from './lone-client.ts';

interface BoundSurroundings {
  readonly seed: number;
  readonly world: World;
  readonly counters: Counters;
  readonly internet: Internet;
  readonly ttlMs: number;
  readonly endpoints: readonly string[];
}

/**
 * A client whose locks go with its connection (`onDisconnect: 'release'`), outside of the lease promises, so that no history
 * is kept of it. It closes in an orderly way, or goes without a word; and it looks around: names, holders, the node's status.
 */
export class BoundClient extends LoneClient {
  readonly #around: BoundSurroundings;

  constructor(host: string, around: BoundSurroundings) {
    super(host, around);
    this.#around = around;
  }

  protected override async run(process: SimulatedProcess): Promise<void> {
    const { seed, world, counters, internet, ttlMs, endpoints } = this.#around;
    const chance = Chance.of(seed, `bound client ${this.host}`);
    const time = workloadTime(world, process, () => 1);
    while (!this.isFinished) {
      try {
        const client = await connect({
          endpoints,
          transport: simulatedTransport(
            internet,
            { host: this.host, process, usesPromises: true },
            ['lockd.v1.msgpack'],
            () => undefined,
          ),
          clock: new ClientClock(world, process),
          random: clientRandom(chance),
          sessionTtl: ttlMs,
          requestTimeout: 3000,
          trackHolding: false,
          onDisconnect: 'release',
        });
        for (let step = chance.between(1, 6); step > 0; step -= 1) {
          await client.acquire(`bound:${chance.between(1, 2)}`, { wait: chance.between(0, 3000) }).then(
            async (lock) => {
              await time.sleep(chance.between(10, 800), lock.signal);
              // What it does not give back goes with the connection, or with the session.
              if (chance.oneIn(2)) await lock.release();
            },
            () => undefined,
          );
          const names = await client.list('', { limit: 5 });
          const first = names[0];
          if (first !== undefined) await client.inspect(first.name);
          counters.add('lists answered');
        }
        // Its locks are free at once, and a new session is opened.
        if (chance.oneIn(2)) for (const endpoint of endpoints) internet.reset(this.host, endpoint.replace('ws://', ''));
        await client.close();
      } catch (error) {
        if (!(error instanceof LockdError)) throw error;
      }
      await time.sleep(chance.between(200, 2_000));
    }
  }
}
