import { describe, expect, test } from 'vitest';
import { Chance } from '../../src/sim/world/chance.ts';
import { Counters } from '../../src/sim/world/counters.ts';
import { type Endpoint, Network, type NetworkShape } from '../../src/sim/world/network.ts';
import { SimulatedProcess } from '../../src/sim/world/process.ts';
import { World } from '../../src/sim/world/world.ts';

const exact = { originMs: 0, ratePpm: 0 };

describe('virtual time', () => {
  test('passes from one occurrence to the next, in the order of time and then of planning', async () => {
    const world = new World();
    const seen: string[] = [];
    world.at(20, () => seen.push(`b at ${world.nowUs}`));
    world.at(10, () => world.in(10, () => seen.push(`c at ${world.nowUs}`)));
    world.at(10, () => seen.push(`a at ${world.nowUs}`));
    world.at(15, () => seen.push('never')).cancel();
    await world.run(100);
    expect(seen).toEqual(['a at 10', 'b at 20', 'c at 20']);
    expect(world.nowUs).toBe(100);
  });

  test('lets promises run to their end before anything else happens', async () => {
    const world = new World();
    const seen: string[] = [];
    world.at(1, () => {
      world.touch();
      void (async (): Promise<void> => {
        for (let hop = 0; hop < 20; hop += 1) await Promise.resolve();
        seen.push('promise');
      })();
    });
    world.at(1, () => seen.push('next'));
    await world.run(1);
    expect(seen).toEqual(['promise', 'next']);
  });
});

describe('a process', () => {
  test('after a stall runs its timers before it reads what arrived, and ends its turn after both', async () => {
    const world = new World();
    const process = new SimulatedProcess('p', world, exact);
    const seen: string[] = [];
    process.clock.after(5, () => {
      seen.push(`timer at ${process.nowMs()}`);
      process.clock.endOfTurn(() => seen.push('turn end'));
    });
    process.stall(50_000);
    world.at(1_000, () => process.arrive(() => seen.push('message')));
    await world.run(100_000);
    expect(seen).toEqual(['timer at 50', 'message', 'turn end']);
  });

  test('with a fast clock has its timers early by just as much', async () => {
    const world = new World();
    const process = new SimulatedProcess('p', world, { originMs: 700, ratePpm: 200_000 });
    let firedUs = 0;
    process.clock.after(120, () => {
      firedUs = world.nowUs;
      expect(process.nowMs()).toBe(820);
    });
    await world.run(1_000_000);
    expect(firedUs).toBe(100_000);
  });

  test('on a suspended host has neither a clock nor timers, and makes up for nothing afterwards', async () => {
    const world = new World();
    const process = new SimulatedProcess('p', world, exact);
    const seen: string[] = [];
    const note = (what: string) => (): void => {
      seen.push(`${what} at ${process.nowMs()}, truly at ${world.nowUs / 1000}`);
    };
    process.clock.after(30, note('timer of before'));
    world.at(10_000, () => process.suspend(100_000));
    world.at(20_000, () => process.arrive(note('message')));
    world.at(20_000, () => process.clock.after(5, note('timer of meanwhile')));
    await world.run(200_000);
    expect(seen).toEqual([
      'message at 10, truly at 110',
      'timer of meanwhile at 15, truly at 115',
      'timer of before at 30, truly at 130',
    ]);
    expect(process.sleptMs).toBe(100);
  });

  test('that died does nothing any more', async () => {
    const world = new World();
    const process = new SimulatedProcess('p', world, exact);
    const seen: string[] = [];
    process.clock.after(5, () => seen.push('timer'));
    process.arrive(() => seen.push('message'));
    process.die();
    await world.run(100_000);
    expect(seen).toEqual([]);
  });
});

describe('links', () => {
  const calm: NetworkShape = {
    minDelayUs: 100,
    maxDelayUs: 100,
    lossPerMille: 0,
    duplicatePerMille: 0,
    reorderPerMille: 0,
    reorderUs: 0,
    extraDelayUs: 0,
  };

  function pair(): {
    world: World;
    network: Network<string>;
    left: Endpoint<string>;
    right: Endpoint<string>;
    seen: string[];
  } {
    const world = new World();
    const network = new Network<string>(world, Chance.of(1, 'network'), { ...calm }, new Counters());
    const seen: string[] = [];
    const end = (name: string): Endpoint<string> => ({
      name,
      process: new SimulatedProcess(name, world, exact),
      hello: () => name,
      judge: () => undefined,
      refused: () => undefined,
      receive: (from, payload) => seen.push(`${name} gets ${payload} from ${from}`),
      unreachable: (peer) => seen.push(`${name} cannot reach ${peer}`),
      linkClosed: (peer) => seen.push(`${name} has evidence against ${peer}`),
    });
    const left = end('a');
    const right = end('b');
    network.attach(left);
    network.attach(right);
    return { world, network, left, right, seen };
  }

  test('carry messages in order, and lose them silently while they are cut in that direction', async () => {
    const { world, network, left, right, seen } = pair();
    await world.run(1_000);
    network.cuts.cut('a', 'b');
    network.send(left, 'b', 'lost');
    network.send(right, 'a', 'x');
    network.send(right, 'a', 'y');
    await world.run(2_000);
    expect(seen).toEqual(['a gets x from b', 'a gets y from b']);
  });

  test('of a process that died are evidence, of a machine that went dark are not', async () => {
    const dead = pair();
    await dead.world.run(1_000);
    dead.network.detach('b', 'closed');
    await dead.world.run(500_000);
    expect(dead.seen).toEqual(['a has evidence against b']);

    const dark = pair();
    await dark.world.run(1_000);
    dark.network.detach('b', 'dark');
    await dark.world.run(500_000);
    expect(dark.seen).toEqual([]);
  });

  test('that are closed and dialled again at once are no evidence', async () => {
    const { world, network, left, seen } = pair();
    await world.run(1_000);
    network.close('a', 'b');
    await world.run(500_000);
    network.send(left, 'b', 'x');
    await world.run(600_000);
    expect(seen).toEqual(['b gets x from a']);
  });
});
