import { describe, expect, test } from 'vitest';
import { connected, outcome } from './support/setup.ts';

describe('acquire and release', () => {
  test('a free lock is granted with its token, and held until it is released', async () => {
    const { world, cluster, client } = await connected();
    const acquiring = client.acquire('a');
    await world.settle();
    const lock = await acquiring;
    expect(lock).toMatchObject({
      name: 'a',
      held: true,
      state: 'held',
      holdCount: 1,
      token: cluster.holder('a')?.token,
    });
    expect(lock.remaining).toBeGreaterThan(14_000);
    const releasing = lock.release();
    expect(lock.held).toBe(false);
    await world.settle();
    await releasing;
    expect(cluster.holder('a')).toBeUndefined();
    expect(lock.state).toBe('released');
    expect(lock.signal.aborted).toBe(false);
  });

  test('two acquires of one client exclude each other, in order', async () => {
    const { world, client } = await connected();
    const first = client.acquire('a');
    const second = outcome(client.acquire('a'));
    await world.settle();
    expect(second.state).toBe('pending');
    await Promise.all([(await first).release(), world.settle()]);
    await world.settle();
    expect(second.state).toBe('fulfilled');
    expect(second.value?.token).toBeGreaterThan((await first).token);
  });

  test('everything of a turn leaves in one frame', async () => {
    const { world, cluster, client } = await connected();
    cluster.frames.length = 0;
    const locks = Promise.all(Array.from({ length: 50 }, (_, index) => client.acquire(`k${index}`)));
    await world.settle();
    expect(cluster.frames).toHaveLength(1);
    cluster.frames.length = 0;
    // What continuations submit once their answers have come leaves together as well.
    const released = Promise.all((await locks).map((lock) => lock.release()));
    await world.settle();
    await released;
    expect(cluster.frames).toHaveLength(1);
    expect(cluster.frames[0]?.messages).toHaveLength(50);
  });
});
