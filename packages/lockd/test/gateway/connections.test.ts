import { SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK } from '@lockd/client/protocol';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { createNode, NodeStartError } from '../../src/index.ts';
import { TestNodes } from '../support/nodes.ts';
import { RawClient } from '../support/raw-client.ts';
import { until } from '../support/until.ts';

let cluster: TestNodes;
let url: string;

beforeAll(async () => {
  cluster = await TestNodes.start(1);
  url = (await cluster.leader()).clientUrl;
}, 30_000);
afterAll(async () => {
  await cluster.stop();
}, 30_000);

/** The node is as well as ever: somebody else acquires and releases. */
async function expectServing(): Promise<void> {
  const client = await RawClient.connect(url);
  const session = await client.open(`serving ${Math.random()}`);
  client.send(['acquire', session, 1, 0, `serving ${Math.random()}`, 0, null, null]);
  await client.next('granted');
  client.send(['close', session, 2, 1]);
  await client.next('ok');
  client.close();
}

async function connections(): Promise<number> {
  const response = await fetch(`${url.replace('ws://', 'http://')}/metrics`);
  return Number(/^lockd_connections (\d+)$/m.exec(await response.text())?.[1]);
}

describe.each([SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK])('a client that speaks %s', (subprotocol) => {
  test('opens a session, acquires, waits, is granted and releases', async () => {
    const holder = await RawClient.connect(url, {}, subprotocol);
    const other = await RawClient.connect(url, {}, subprotocol);
    const name = `shared by two ${subprotocol}`;
    const first = await holder.open(`first ${subprotocol}`);
    const second = await other.open(`second ${subprotocol}`);
    holder.send(['acquire', first, 1, 0, name, 0, null, null]);
    const { 3: token } = await holder.next('granted');
    other.send(['acquire', second, 1, 0, name, 0, null, null], ['acquire', second, 2, 0, name, 5000, null, null]);
    expect((await other.next('error'))[3]).toBe('LOCKD_BUSY');
    expect((await other.next('waiting')).slice(1)).toEqual([second, 2, 1]);
    holder.send(['release', first, 2, 1, 1]);
    expect((await other.next('granted'))[3]).toBeGreaterThan(token);
    holder.send(['list', 9, name, 10, null]);
    expect((await holder.next('result'))[2]).toMatchObject([{ name, holders: [{ session: second, handle: 2 }] }]);
    holder.close();
    other.close();
  });
});

describe('what a client must not say', () => {
  const hello = ['hello', { version: 1, client: 'test' }] as const;

  test.each([
    ['a message before hello', [['open', 1, 'nonce', 15_000, 0, null]]],
    ['a second hello', [hello, hello]],
    ['an unknown message', [hello, ['frobnicate', 1]]],
    ['another version', [['hello', { version: 99, client: 'test' }]]],
    ['another cluster', [['hello', { version: 1, client: 'test', clusterId: 'somebody else’s' }]]],
    ['wrong types', [hello, ['acquire', 'one', 1, 0, 'name', 0, null, null]]],
    ['a negative number', [hello, ['acquire', -1, 1, 0, 'name', 0, null, null]]],
    ['a name that is no text', [hello, ['acquire', 1, 1, 0, { name: 'x' }, 0, null, null]]],
    ['an operation without its fields', [hello, ['release']]],
    ['a frame that is no list', 'null'],
    ['a message that is no list', '[1]'],
    ['no JSON at all', '}{'],
    ['bytes where text was agreed', Uint8Array.of(0xc1, 0xff, 0x00)],
  ])('%s: LOCKD_PROTOCOL, and the connection ends', async (_what, frame) => {
    const client = await RawClient.dial(url);
    client.sendFrame(typeof frame === 'string' || frame instanceof Uint8Array ? frame : JSON.stringify(frame));
    const error = await client.next('error');
    expect(error.slice(1, 4)).toEqual([0, 0, 'LOCKD_PROTOCOL']);
    expect(error[4]).not.toBe('');
    expect(await client.closed()).toBe(1008);
    await expectServing();
  });

  test('a name of 10 MiB: LOCKD_PROTOCOL that names the bound', async () => {
    const client = await RawClient.connect(url);
    client.send(['acquire', 1, 1, 0, 'x'.repeat(10 * 1024 * 1024), 0, null, null]);
    const error = await client.next('error');
    expect(error[3]).toBe('LOCKD_PROTOCOL');
    expect(error[4]).toContain('4194304');
    await client.closed();
    await expectServing();
  });

  test('a frame beyond anything: the connection ends', async () => {
    const client = await RawClient.connect(url);
    client.sendFrame('x'.repeat(20 * 1024 * 1024));
    await client.closed();
    await expectServing();
  });

  test('a name of 600 bytes: LOCKD_INVALID for that operation, and the connection goes on', async () => {
    const client = await RawClient.connect(url);
    const session = await client.open('long names');
    client.send(
      ['acquire', session, 1, 0, 'x'.repeat(600), 0, null, null],
      ['acquire', session, 2, 0, 'short', 0, null, null],
    );
    expect((await client.next('error')).slice(1, 4)).toEqual([session, 1, 'LOCKD_INVALID']);
    expect((await client.next('granted'))[2]).toBe(2);
    client.close();
  });

  test('no subprotocol, or one we do not speak', async () => {
    for (const offered of [[], ['graphql-ws']]) {
      const socket = new WebSocket(url, offered);
      const code = await new Promise((resolve) => {
        socket.on('error', () => resolve('refused'));
        socket.on('close', resolve);
      });
      expect(code === 1002 || code === 'refused').toBe(true);
    }
    await expectServing();
  });

  test('frames of anything at all end at most their own connection', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          fc.string({ maxLength: 200 }),
          fc.json({ maxDepth: 4 }),
          fc
            .array(
              fc.tuple(
                fc.constantFrom('open', 'attach', 'renew', 'acquire', 'release', 'ask', 'list', 'close'),
                fc.anything(),
              ),
            )
            .map((messages) => JSON.stringify([hello, ...messages]) ?? ''),
        ),
        async (frame) => {
          const client = await RawClient.dial(url);
          client.sendFrame(frame);
          client.close();
        },
      ),
      { numRuns: 100 },
    );
    await expectServing();
  });
});

describe('sessions and their connections', () => {
  test('an operation for a session that this connection does not have is refused, without effect', async () => {
    const owner = await RawClient.connect(url);
    const session = await owner.open('owned');
    const stranger = await RawClient.connect(url);
    stranger.send(['acquire', session, 1, 0, 'not yours', 0, null, null]);
    expect((await stranger.next('error')).slice(1, 4)).toEqual([session, 1, 'LOCKD_SESSION_EXPIRED']);
    stranger.send(['attach', 4, session, 'guessed', 2]);
    expect((await stranger.next('error')).slice(1, 4)).toEqual([0, 4, 'LOCKD_UNAUTHORIZED']);
    owner.send(['acquire', session, 1, 0, 'mine', 0, null, null]);
    await owner.next('granted');
    owner.close();
    stranger.close();
  });

  test('a session resumed by hello goes on, and the old connection speaks for it no more', async () => {
    const old = await RawClient.connect(url);
    const session = await old.open('resumed');
    old.send(['acquire', session, 1, 0, 'kept', 0, null, null]);
    const { 3: token } = await old.next('granted');
    const next = await RawClient.connect(url, { sessions: [[session, 'resumed', 2]] });
    expect((await next.next('attached')).slice(1, 4)).toEqual([0, session, 2]);
    old.send(['release', session, 2, 1, 1]);
    expect((await old.next('error')).slice(1, 4)).toEqual([session, 2, 'LOCKD_SESSION_EXPIRED']);
    // An answer that was lost: the same number again gets the same grant.
    next.send(['acquire', session, 1, 0, 'kept', 0, null, null]);
    expect((await next.next('granted')).slice(1, 4)).toEqual([session, 1, token]);
    old.close();
    next.close();
  });

  test('a refused resumption by hello is told under the session', async () => {
    const client = await RawClient.connect(url, { sessions: [[999_999_999, 'never', 2]] });
    expect((await client.next('error')).slice(1, 4)).toEqual([999_999_999, 0, 'LOCKD_SESSION_EXPIRED']);
    client.close();
  });

  test('a waiter whose connection has closed is passed over', async () => {
    const [holder, gone, patient] = [
      await RawClient.connect(url),
      await RawClient.connect(url),
      await RawClient.connect(url),
    ];
    const [first, second, third] = [await holder.open('h'), await gone.open('g'), await patient.open('p')];
    holder.send(['acquire', first, 1, 0, 'queue', 0, null, null]);
    await holder.next('granted');
    gone.send(['acquire', second, 1, 0, 'queue', 60_000, null, null]);
    await gone.next('waiting');
    patient.send(['acquire', third, 1, 0, 'queue', 60_000, null, null]);
    expect((await patient.next('waiting'))[3]).toBe(2);
    const before = await connections();
    gone.drop();
    await until('the node to notice', async () => (await connections()) < before);
    holder.send(['release', first, 2, 1, 1]);
    await patient.next('granted');
    holder.close();
    patient.close();
  });

  test('with releaseOnDisconnect everything is free when the connection is gone', async () => {
    const client = await RawClient.connect(url);
    client.send(['open', 1, 'bound', 15_000, 0, { releaseOnDisconnect: true }]);
    const [, , session] = await client.next('opened');
    client.send(['acquire', session, 1, 0, 'until I leave', 0, null, null]);
    await client.next('granted');
    const other = await RawClient.connect(url);
    const waiting = await other.open('waits for it');
    other.send(['acquire', waiting, 1, 0, 'until I leave', 60_000, null, null]);
    await other.next('waiting');
    client.drop();
    await other.next('granted');
    other.close();
  });

  test('a session that is not renewed ends, and what it held passes on', async () => {
    const silent = await RawClient.connect(url);
    // Raised to four election time-outs.
    silent.send(['open', 1, 'silent', 1000, 0, null]);
    const [, , session, ttlMs] = await silent.next('opened');
    expect(ttlMs).toBe(1200);
    silent.send(['acquire', session, 1, 0, 'left behind', 0, null, null]);
    await silent.next('granted');
    const other = await RawClient.connect(url);
    const patient = await other.open('patient');
    other.send(['acquire', patient, 1, 0, 'left behind', 60_000, null, null]);
    await other.next('waiting');
    expect((await silent.next('session-ended'))[1]).toBe(session);
    await other.next('granted');
    silent.close();
    other.close();
  });
});

describe('who may connect', () => {
  test('with a client token, only a hello that shows it is welcome', async () => {
    const guarded = await TestNodes.start(1, { clientToken: 'correct horse' });
    try {
      const { clientUrl } = await guarded.leader();
      for (const credentials of [undefined, '', 'battery staple']) {
        const client = await RawClient.dial(clientUrl);
        client.send(['hello', { version: 1, client: 'test', ...(credentials === undefined ? {} : { credentials }) }]);
        expect((await client.next('error'))[3]).toBe('LOCKD_UNAUTHORIZED');
        await client.closed();
      }
      const client = await RawClient.connect(clientUrl, { credentials: 'correct horse' });
      client.close();
    } finally {
      await guarded.stop();
    }
  });

  test('nothing listens beyond loopback without authentication, unless told to in so many words', async () => {
    const attempt = createNode({
      name: 'n1',
      dataDir: '/nonexistent',
      listenClient: { host: '0.0.0.0', port: 0 },
      listenPeer: { host: '127.0.0.1', port: 0 },
      initialCluster: new Map([['n1', '127.0.0.1:1']]),
    });
    await expect(attempt).rejects.toThrow(/--insecure-listen/);
    await expect(attempt).rejects.toBeInstanceOf(NodeStartError);
  });
});

describe('HTTP beside the WebSocket', () => {
  const get = async (path: string): Promise<{ status: number; body: string }> => {
    const response = await fetch(url.replace('ws://', 'http://') + path);
    return { status: response.status, body: await response.text() };
  };

  test('health, metrics and a hint', async () => {
    expect(await get('/livez')).toEqual({ status: 200, body: 'ok\n' });
    expect(await get('/readyz')).toEqual({ status: 200, body: 'ok\n' });
    expect((await get('/metrics')).body).toMatch(/^lockd_raft_is_leader 1$/m);
    expect((await get('/')).body).toContain('lockd.v1.json');
    expect((await get('/nonsense')).status).toBe(404);
  });
});
