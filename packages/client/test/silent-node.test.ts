import { describe, expect, test } from 'vitest';
import { FakeCluster } from './support/fake-cluster.ts';
import { connected, connecting, outcome, type Scene } from './support/setup.ts';
import { fixedRandom, World } from './support/world.ts';

describe('a leader that is stopped', () => {
  test('is left as soon as another one is elected, because a follower is asked beside it and says so', async () => {
    const { world, cluster, client } = await strict();
    cluster.stop('fake://n1');
    const acquiring = outcome(client.acquire('a'));
    await world.advance(800);
    expect(acquiring.state).toBe('pending');
    cluster.elect('fake://n2');
    await world.settle();
    expect(acquiring.value?.held).toBe(true);
    expect(cluster.session.connection?.endpoint).toBe('fake://n2');
  });

  test('is left within 0.6 s where another one has been elected before', async () => {
    const { world, cluster, client } = await strict();
    cluster.stop('fake://n1');
    const acquiring = outcome(client.acquire('a'));
    await world.advance(300);
    cluster.elect('fake://n3');
    await world.advance(310);
    expect(acquiring.value?.held).toBe(true);
  });

  test('keeps its session until then: one attachment, under the next epoch', async () => {
    const { world, cluster, client } = await strict();
    cluster.frames.length = 0;
    cluster.stop('fake://n1');
    void outcome(client.acquire('a'));
    await world.advance(800);
    for (const [, hello] of cluster.sent('hello')) expect(hello.sessions).toEqual([]);
    expect(cluster.sent('attach')).toEqual([]);
    cluster.elect('fake://n2');
    await world.settle();
    expect(cluster.sent('attach').map((message) => message[4])).toEqual([2]);
  });

  test('that goes on is stayed with, and the probes go', async () => {
    const { world, cluster, client } = await strict();
    cluster.frames.length = 0;
    cluster.stop('fake://n1');
    const acquiring = outcome(client.acquire('a'));
    await world.advance(2000);
    expect(cluster.connections.size).toBeGreaterThan(1);
    cluster.resume('fake://n1');
    await world.settle();
    expect(acquiring.value?.held).toBe(true);
    expect(cluster.session).toMatchObject({ epoch: 1, connection: { endpoint: 'fake://n1' } });
    expect(cluster.connections.size).toBe(1);
    expect(cluster.sent('attach')).toEqual([]);
  });

  test('costs a bounded number of probes, and is given up after a sixth of the TTL', async () => {
    const { world, cluster, client } = await strict();
    const dials = cluster.dials.length;
    const events: string[] = [];
    client.on('disconnected', ({ reason }) => events.push(reason));
    cluster.stop('fake://n1');
    void outcome(client.acquire('a'));
    await world.advance(2450);
    expect(cluster.dials.length - dials).toBeLessThanOrEqual(3);
    expect(cluster.dials.slice(dials)).not.toContain('fake://n1');
    expect(events).toEqual([]);
    await world.advance(100);
    expect(events).toEqual(['fake://n1 has answered nothing for 2500 ms']);
    await world.advance(10_000);
    cluster.elect('fake://n2');
    await world.advance(100);
    expect((await soon(world, client.acquire('b'))).held).toBe(true);
  });

  test('nothing is probed while nothing is wanted', async () => {
    const { world, cluster } = await strict();
    const dials = cluster.dials.length;
    cluster.stop('fake://n1');
    await world.advance(4900);
    expect(cluster.dials.length).toBe(dials);
  });
});

describe('a node that was switched off', () => {
  test('and is still named as leader costs no time-out: the follower that names it is used meanwhile', async () => {
    const world = new World();
    const cluster = new FakeCluster(world);
    cluster.requiresLeader = true;
    cluster.stop('fake://n1');
    const connect = outcome(connecting(world, cluster, { endpoints: ['fake://n2'] }));
    await world.advance(900);
    expect(cluster.dials).toEqual(['fake://n2', 'fake://n1']);
    cluster.elect('fake://n3');
    await world.advance(100);
    expect(connect.state).toBe('fulfilled');
    expect(cluster.session.connection?.endpoint).toBe('fake://n3');
  });

  test('and stands first among the endpoints costs half a second: another one is dialled beside it', async () => {
    const world = new World();
    const cluster = new FakeCluster(world);
    cluster.leader = 'fake://n2';
    for (const endpoint of ['fake://n1', 'fake://n3']) cluster.stop(endpoint);
    const started = world.clock.nowMs;
    let tookMs = Number.POSITIVE_INFINITY;
    void connecting(world, cluster).then(() => {
      tookMs = world.clock.nowMs - started;
    });
    await world.advance(3000);
    expect(tookMs).toBeLessThanOrEqual(2000);
    expect(cluster.dials.length).toBeLessThanOrEqual(4);
  });

  test('a dial that is only slow is not given up for the second one', async () => {
    const world = new World();
    const cluster = new FakeCluster(world);
    world.delayMs = 350;
    const connect = outcome(connecting(world, cluster, { endpoints: ['fake://n1'] }));
    await world.advance(2500);
    expect(connect.state).toBe('fulfilled');
    expect(cluster.session.connection?.endpoint).toBe('fake://n1');
  });
});

describe('a node that is cut off from the others', () => {
  test('and says so is left for one that knows the leader', async () => {
    const { world, cluster, client } = await strict();
    cluster.beliefs.set('fake://n1', undefined);
    cluster.elect('fake://n2');
    const acquiring = outcome(client.acquire('a'));
    await world.advance(1000);
    expect(acquiring.state).toBe('pending');
    await world.advance(1000);
    expect(acquiring.value?.held).toBe(true);
    expect(cluster.session.connection?.endpoint).toBe('fake://n2');
  });

  test('while nobody leads anywhere, it is stayed with, at a bounded rate of probes', async () => {
    const { world, cluster } = await strict();
    cluster.elect(undefined);
    const dials = cluster.dials.length;
    await world.advance(12_000);
    expect(cluster.dials.length - dials).toBeLessThan(10);
    expect(cluster.connections.size).toBeLessThanOrEqual(2);
  });

  test('a lookout that was let go is not gone back to when the link breaks', async () => {
    const { world, cluster } = await strict();
    cluster.kill('fake://n3');
    cluster.elect(undefined);
    // n2 is watched, and n3 has refused a dial.
    await world.advance(5000);
    const endpoints = (): string[] => [...cluster.connections].map(({ endpoint }) => endpoint).sort();
    expect(endpoints()).toEqual(['fake://n1', 'fake://n2']);
    // Both name a leader that cannot be reached: n1 forwards, and n2 knows no more.
    const [link, lookout] = [...cluster.connections];
    for (const connection of [link, lookout]) connection?.push(['leader', { name: 'n3', client: 'fake://n3' }]);
    // Before n1 has said anything more.
    world.post(() => link?.break());
    const dials = cluster.dials.length;
    await world.settle();
    // Somebody is dialled at once: n2 was taken leave of, and would be silent for ever.
    expect(cluster.dials.length).toBe(dials + 1);
    await world.advance(1000);
    expect(endpoints()).toEqual(['fake://n2']);
  });

  test('a probe that finds an old leader while the link speaks again is not followed', async () => {
    const { world, cluster, client } = await strict();
    cluster.elect('fake://n2');
    await world.settle();
    cluster.beliefs.set('fake://n1', 'fake://n1');
    cluster.beliefs.set('fake://n3', 'fake://n1');
    cluster.stop('fake://n2');
    void outcome(client.acquire('a'));
    world.delayMs = 100;
    await world.advance(650);
    cluster.resume('fake://n2');
    await world.advance(1000);
    expect(cluster.session).toMatchObject({ epoch: 2, connection: { endpoint: 'fake://n2' } });
  });
});

describe('whatever happens', () => {
  test.each(Array.from({ length: 40 }, (_, index) => index + 1))(
    'epochs rise, one hello at a time claims the session, and the client finds back (seed %i)',
    async (seed) => {
      const random = fixedRandom(seed * 7919);
      const { world, cluster, client } = await strict();
      const pick = <Value>(from: readonly Value[]): Value => from[Math.floor(random.next() * from.length)] as Value;
      // One for the whole run, or frames would overtake each other.
      world.delayMs = pick([0, 0, 5, 200]);
      let most = 0;
      for (let step = 0; step < 40; step++) {
        const endpoint = pick(cluster.endpoints);
        const action = pick(['stop', 'resume', 'resume', 'elect', 'break', 'belief', 'acquire', 'acquire']);
        if (action === 'stop') cluster.stop(endpoint);
        else if (action === 'resume') cluster.resume(endpoint);
        else if (action === 'elect') cluster.elect(pick([endpoint, endpoint, undefined]));
        else if (action === 'break') cluster.breakConnections();
        else if (action === 'belief') cluster.beliefs.set(endpoint, pick([undefined, ...cluster.endpoints]));
        else void outcome(client.tryAcquire(`k${step}`));
        await world.advance(pick([0, 50, 400, 1500]));
        most = Math.max(most, cluster.connections.size);
      }
      const epochs = new Map<number, number>();
      for (const [id, epoch] of cluster.attachesAsked) {
        expect(epoch).toBeGreaterThan(epochs.get(id) ?? 1);
        epochs.set(id, epoch);
      }
      // The link, the lookout, two dials, and what is being closed on a slow wire.
      expect(most).toBeLessThanOrEqual(6);
      cluster.beliefs.clear();
      for (const endpoint of cluster.endpoints) cluster.resume(endpoint);
      cluster.elect('fake://n2');
      await world.advance(10_000);
      const last = outcome(client.acquire('last'));
      await world.advance(1000);
      expect(last.value?.held).toBe(true);
      expect(cluster.session.connection?.endpoint).toBe('fake://n2');
      expect(cluster.connections.size).toBe(1);
    },
  );
});

/** A cluster that takes nothing without a leader that runs. */
async function strict(): Promise<Scene> {
  const scene = await connected();
  scene.cluster.requiresLeader = true;
  return scene;
}

async function soon<Value>(world: World, promise: Promise<Value>): Promise<Value> {
  await world.settle();
  return promise;
}
