import { describe, expect, test } from 'vitest';
import { FakeCluster } from './support/fake-cluster.ts';
import { connected, connecting, outcome } from './support/setup.ts';
import { World } from './support/world.ts';

describe('finding the leader', () => {
  test('hello stands alone in the first frame, and asks to be led on', async () => {
    const { cluster } = await connected();
    expect(cluster.frames[0]?.messages).toHaveLength(1);
    expect(cluster.sent('hello')[0]?.[1]).toMatchObject({
      version: 1,
      sessions: [],
      onlyLeader: true,
      clusterId: null,
    });
  });

  test('a follower names the leader, and the session is opened there', async () => {
    const { cluster } = await connected();
    expect(cluster.session.connection?.endpoint).toBe(cluster.leader);
    expect(cluster.connections.size).toBe(1);
  });

  test('where the leader cannot be reached, the follower forwards', async () => {
    const world = new World();
    const cluster = new FakeCluster(world);
    cluster.leader = 'fake://n1';
    const refuse = cluster.nodes.get('fake://n1') as { isUp: boolean };
    refuse.isUp = false;
    const client = await connecting(world, cluster, { endpoints: ['fake://n2'] });
    expect(cluster.dials).toEqual(['fake://n2', 'fake://n1']);
    expect(cluster.session.connection?.endpoint).toBe('fake://n2');
    const lock = client.acquire('a');
    await world.settle();
    expect((await lock).held).toBe(true);
  });

  test('where the address of the leader is not known, the follower forwards', async () => {
    const world = new World();
    const cluster = new FakeCluster(world);
    cluster.hidesLeader = true;
    await connecting(world, cluster, { endpoints: ['fake://n3'] });
    expect(cluster.dials).toEqual(['fake://n3']);
    expect(cluster.session.connection?.endpoint).toBe('fake://n3');
  });

  test('when the leader changes, the client moves: goodbye on the old connection, then the session is attached on the new one', async () => {
    const { world, cluster, client } = await connected();
    const lock = await granted(world, client.acquire('a'));
    const old = cluster.session.connection;
    cluster.elect('fake://n2');
    await world.settle();
    expect(cluster.session.connection?.endpoint).toBe('fake://n2');
    expect(old?.saidGoodbye).toBe(true);
    expect(cluster.session.epoch).toBe(2);
    expect(lock.held).toBe(true);
    await granted(world, lock.release());
  });

  test('a new leader that cannot be reached changes nothing', async () => {
    const { world, cluster, client } = await connected();
    const node = cluster.nodes.get('fake://n2') as { isUp: boolean };
    node.isUp = false;
    cluster.elect('fake://n2');
    await world.settle();
    const lock = await granted(world, client.acquire('a'));
    expect(lock.held).toBe(true);
    expect(cluster.session.epoch).toBe(1);
  });

  test('a node that refused a connection is moved to as soon as it is elected again', async () => {
    const { world, cluster } = await connected();
    const node = cluster.nodes.get('fake://n2') as { isUp: boolean };
    node.isUp = false;
    cluster.elect('fake://n2');
    await world.settle();
    cluster.elect('fake://n1');
    await world.settle();
    node.isUp = true;
    cluster.elect('fake://n2');
    await world.settle();
    expect(cluster.session.connection?.endpoint).toBe('fake://n2');
  });

  test('a node that says goodbye is left at once', async () => {
    const { world, cluster } = await connected();
    const dials = cluster.dials.length;
    cluster.leader = 'fake://n2';
    cluster.session.connection?.push(['goodbye', 'stopping']);
    await world.settle();
    expect(cluster.dials.length).toBeGreaterThan(dials);
    expect(cluster.session.connection?.endpoint).not.toBe('fake://n1');
  });

  test('the first attempt after a broken connection has no back-off; later ones have', async () => {
    const { world, cluster } = await connected();
    const dials = cluster.dials.length;
    for (const endpoint of cluster.endpoints) cluster.kill(endpoint);
    await world.settle();
    expect(cluster.dials.length).toBe(dials + 1);
    await world.advance(10_000);
    const attempts = cluster.dials.length - dials;
    expect(attempts).toBeGreaterThan(5);
    // 2 s at most between two of them, more than half of that between late ones.
    expect(attempts).toBeLessThan(20);
  });

  test('members learnt from the cluster are tried as well', async () => {
    const world = new World();
    const cluster = new FakeCluster(world);
    await connecting(world, cluster, { endpoints: ['fake://n1'] });
    cluster.kill('fake://n1');
    cluster.leader = 'fake://n3';
    await world.advance(1000);
    expect(cluster.session.connection?.endpoint).toBe('fake://n3');
  });

  test('a node that accepts but says nothing is given up', async () => {
    const world = new World();
    const cluster = new FakeCluster(world);
    cluster.leader = 'fake://n2';
    cluster.intercept = (connection) => connection.endpoint !== 'fake://n2';
    const connect = connecting(world, cluster);
    await world.advance(5000);
    await connect;
    expect(cluster.session.connection?.endpoint).toBe('fake://n2');
  });

  test('without any node, connect fails with what went wrong', async () => {
    const world = new World();
    const cluster = new FakeCluster(world);
    for (const endpoint of cluster.endpoints) cluster.kill(endpoint);
    const connect = outcome(connecting(world, cluster, { connectTimeout: '3s' }));
    await world.advance(2900);
    expect(connect.state).toBe('pending');
    await world.advance(200);
    expect(connect.error).toMatchObject({ code: 'LOCKD_NO_QUORUM', retryable: true });
    expect(String(connect.error)).toMatch(/ECONNREFUSED/);
    expect(world.clock.timers.size).toBe(0);
  });

  test('the process stays alive for as long as somebody awaits an answer, and no longer', async () => {
    const { world, cluster, client } = await connected();
    const keepsAlive = (): boolean => [...world.clock.timers].some((timer) => timer.keepsAlive);
    await world.advance(3000);
    expect(keepsAlive()).toBe(false);
    for (const endpoint of cluster.endpoints) cluster.kill(endpoint);
    await world.advance(1000);
    expect(keepsAlive()).toBe(false);
    const acquiring = outcome(client.acquire('a', { wait: '3s' }));
    expect(keepsAlive()).toBe(true);
    await world.advance(3100);
    expect(acquiring.state).toBe('rejected');
    await world.advance(3000);
    expect(keepsAlive()).toBe(false);
  });

  test('also for a release or an extension, which have no deadline but that of the session; not for what nobody awaits', async () => {
    const { world, cluster, client } = await connected();
    const keepsAlive = (): boolean => [...world.clock.timers].some((timer) => timer.keepsAlive);
    const lock = await granted(world, client.acquire('a'));
    const leased = await granted(world, client.acquire('b', { lease: '1m' }));
    const free = cluster.occupy('c');
    const controller = new AbortController();
    void outcome(client.acquire('c', { wait: '1h', signal: controller.signal }));
    await world.advance(1000);
    for (const endpoint of cluster.endpoints) cluster.kill(endpoint);
    controller.abort();
    free();
    await world.advance(5000);
    // A cancel is on its way, and its caller has gone.
    expect(keepsAlive()).toBe(false);
    const releasing = outcome(lock.release());
    expect(keepsAlive()).toBe(true);
    const extending = outcome(leased.extend('1m'));
    await world.advance(15_000);
    expect(releasing.error).toMatchObject({ code: 'LOCKD_SESSION_EXPIRED', outcome: 'unknown' });
    expect(extending.state).toBe('rejected');
    await world.advance(3000);
    expect(keepsAlive()).toBe(false);
  });

  test('wrong credentials fail at once', async () => {
    const world = new World();
    const cluster = new FakeCluster(world);
    cluster.intercept = (connection, message) => {
      if (message[0] === 'hello')
        connection.push(['error', 0, 0, 'LOCKD_UNAUTHORIZED', 'not right', 'not-applied', false, null]);
      return true;
    };
    const connect = outcome(connecting(world, cluster));
    await world.settle();
    expect(connect.error).toMatchObject({ code: 'LOCKD_UNAUTHORIZED', retryable: false });
  });

  test('a node of another cluster is not used', async () => {
    const { world, cluster } = await connected();
    cluster.frames.length = 0;
    cluster.breakConnections();
    await world.settle();
    expect(cluster.sent('hello')[0]?.[1].clusterId).toBe('fake');
  });
});

describe('after a broken connection', () => {
  test('what has no answer is sent again with the same numbers and content, and takes effect once', async () => {
    const { world, cluster, client } = await connected();
    cluster.isMute = true;
    const acquiring = outcome(client.acquire('a'));
    await world.settle();
    expect(cluster.holder('a')).toBeDefined();
    cluster.isMute = false;
    cluster.frames.length = 0;
    cluster.breakConnections();
    await world.settle();
    expect(cluster.sent('acquire')).toEqual([['acquire', cluster.session.id, 1, 0, 'a', 30_000, null, null]]);
    expect(cluster.grants).toHaveLength(1);
    expect(acquiring.value?.token).toBe(cluster.grants[0]?.token);
  });

  test('the session is attached with the next epoch, in the hello where the leader is found at once', async () => {
    const { world, cluster } = await connected();
    const { id, nonce } = cluster.session;
    cluster.frames.length = 0;
    cluster.breakConnections();
    await world.settle();
    const hellos = cluster.sent('hello').map(([, hello]) => hello.sessions?.[0]);
    for (const [index, session] of hellos.entries()) expect(session).toEqual([id, nonce, index + 2]);
    expect(cluster.session.epoch).toBe(hellos.length + 1);
  });

  test('nothing is sent for a session before it is attached', async () => {
    const { world, cluster, client } = await connected();
    cluster.breakConnections();
    cluster.frames.length = 0;
    const acquiring = client.acquire('a');
    await world.settle();
    await acquiring;
    const kinds = cluster.frames.flatMap((frame) => frame.messages.map((message) => message[0]));
    expect(kinds.indexOf('acquire')).toBeGreaterThan(kinds.lastIndexOf('hello'));
  });

  test('unanswered operations are repeated in order before new ones', async () => {
    const { world, cluster, client } = await connected();
    cluster.isDeaf = true;
    for (let index = 0; index < 5; index++) void outcome(client.acquire(`k${index}`));
    await world.settle();
    cluster.isDeaf = false;
    cluster.frames.length = 0;
    cluster.breakConnections();
    const late = client.acquire('late');
    await world.settle();
    await late;
    expect(cluster.sent('acquire').map((message) => [message[2], message[4]])).toEqual([
      [1, 'k0'],
      [2, 'k1'],
      [3, 'k2'],
      [4, 'k3'],
      [5, 'k4'],
      [6, 'late'],
    ]);
  });

  test('a grant that was pushed while nobody listened is found out by asking', async () => {
    const { world, cluster, client } = await connected();
    const free = cluster.occupy('a');
    const acquiring = outcome(client.acquire('a'));
    await world.settle();
    cluster.isMute = true;
    free();
    await world.settle();
    expect(acquiring.state).toBe('pending');
    cluster.isMute = false;
    cluster.frames.length = 0;
    cluster.breakConnections();
    await world.settle();
    expect(cluster.sent('ask').map((message) => message[2])).toEqual([[1]]);
    expect(acquiring.value?.held).toBe(true);
    expect(cluster.sent('acquire')).toHaveLength(0);
  });

  test('many grants are asked about a thousand at a time, so that an acquire behind them does not wait for all', async () => {
    const { world, cluster, client } = await connected();
    const names = Array.from({ length: 2500 }, (_, i) => `k${i}`);
    const acquired = Promise.all(names.map((name) => client.acquire(name)));
    await world.settle();
    const locks = await acquired;
    cluster.frames.length = 0;
    cluster.breakConnections();
    const acquiring = outcome(client.acquire('behind'));
    await world.settle();
    const asked = cluster.sent('ask').map((message) => message[2].length);
    expect(asked).toEqual([1000, 1000, 500]);
    // The frame with the first ask has the acquire, and no frame has two of them.
    const perFrame = cluster.frames.map(({ messages }) => messages.filter((message) => message[0] === 'ask').length);
    expect(Math.max(...perFrame)).toBe(1);
    const first = cluster.frames.find(({ messages }) => messages.some((message) => message[0] === 'ask'));
    expect(first?.messages.some((message) => message[0] === 'acquire')).toBe(true);
    expect(acquiring.value?.held).toBe(true);
    expect(locks.every((lock) => lock.held)).toBe(true);
  });

  test('the end of a grant that nobody heard of is found out by asking', async () => {
    const { world, cluster, client } = await connected();
    const lock = await granted(world, client.acquire('a'));
    cluster.isMute = true;
    cluster.take('a', 'forced');
    await world.settle();
    expect(lock.held).toBe(true);
    cluster.isMute = false;
    cluster.breakConnections();
    await world.settle();
    expect(lock.held).toBe(false);
    expect(lock.signal.reason).toMatchObject({ code: 'LOCKD_LOST' });
  });

  test('a release without an answer is repeated, and resolves', async () => {
    const { world, cluster, client } = await connected();
    const lock = await granted(world, client.acquire('a'));
    cluster.isMute = true;
    const releasing = outcome(lock.release());
    await world.settle();
    cluster.isMute = false;
    cluster.breakConnections();
    await world.settle();
    expect(releasing.state).toBe('fulfilled');
    expect(cluster.holder('a')).toBeUndefined();
  });

  test('reads are asked again', async () => {
    const { world, cluster, client } = await connected();
    cluster.isMute = true;
    const reading = outcome(client.inspect('a'));
    await world.settle();
    cluster.isMute = false;
    cluster.breakConnections();
    await world.settle();
    expect(reading.value).toMatchObject({ name: 'a', holders: [] });
  });

  test('a connection that answers nothing is given up', async () => {
    const { world, cluster, client } = await connected();
    cluster.isDeaf = true;
    const acquiring = outcome(client.acquire('a'));
    await world.advance(2000);
    expect(acquiring.state).toBe('pending');
    const stuck = cluster.session.connection;
    cluster.isDeaf = false;
    cluster.leader = 'fake://n2';
    await world.advance(1500);
    expect(stuck?.isOpen).toBe(false);
    expect(acquiring.value?.held).toBe(true);
  });

  test('a reattach push repeats what has no answer on the same connection', async () => {
    const { world, cluster, client } = await connected();
    cluster.intercept = (_connection, message) => message[0] === 'acquire';
    const acquiring = outcome(client.acquire('a'));
    await world.settle();
    cluster.intercept = undefined;
    const connection = cluster.session.connection;
    connection?.push(['reattach', cluster.session.id]);
    await world.settle();
    expect(acquiring.value?.held).toBe(true);
    expect(cluster.session.connection).toBe(connection);
    expect(cluster.session.epoch).toBe(2);
  });

  test('an operation that got lost on a living connection is sent again after a while', async () => {
    const { world, cluster, client } = await connected();
    cluster.intercept = (_connection, message) => message[0] === 'acquire';
    const acquiring = outcome(client.acquire('a'));
    await world.settle();
    cluster.intercept = undefined;
    // Other answers keep coming.
    for (let second = 0; second < 7; second++) {
      void outcome(client.inspect('x'));
      await world.advance(1000);
    }
    expect(acquiring.value?.held).toBe(true);
  });

  test('a refused epoch is followed by a higher one', async () => {
    const { world, cluster, client } = await connected();
    cluster.session.epoch = 5;
    cluster.breakConnections();
    await world.advance(5000);
    expect(cluster.session.epoch).toBeGreaterThan(5);
    expect((await granted(world, client.acquire('a'))).held).toBe(true);
  });

  test('an open without an answer is repeated with the same secret, and opens one session', async () => {
    const world = new World();
    const cluster = new FakeCluster(world);
    cluster.isMute = true;
    const connect = outcome(connecting(world, cluster));
    await world.settle();
    expect(cluster.sessions.size).toBe(1);
    cluster.isMute = false;
    cluster.breakConnections();
    await world.settle();
    await world.settle();
    expect(connect.state).toBe('fulfilled');
    expect(cluster.sessions.size).toBe(1);
    expect(new Set(cluster.sent('open').map((message) => message[2])).size).toBe(1);
    expect(new Set(cluster.sent('open').map((message) => message[4])).size).toBe(1);
  });
});

async function granted<Value>(world: World, promise: Promise<Value>): Promise<Value> {
  await world.settle();
  return promise;
}

test('an open that the service calls too old is made anew on another connection, whose index is newer', async () => {
  const { world, cluster, client } = await connected();
  const first = cluster.session.id;
  // Many sessions have come and gone since the client connected: the service remembers only the newest.
  cluster.index += 1_000_000;
  const watermark = cluster.index;
  cluster.intercept = (connection, message) => {
    if (message[0] !== 'open' || message[4] >= watermark) return false;
    connection.push([
      'error',
      0,
      message[1],
      'LOCKD_SESSION_EXPIRED',
      'this open is too old',
      'not-applied',
      false,
      null,
    ]);
    return true;
  };
  cluster.endSession(first, true);
  await world.advance(5000);
  const acquiring = outcome(client.acquire('a'));
  await world.settle();
  expect(acquiring.value?.held).toBe(true);
});
