import type { AddressInfo } from 'node:net';
import { type ConnectionHandler, connect, webSocketTransport } from '@lockd/client';
import {
  type ClientMessage,
  codecFor,
  parseClientMessage,
  type ServerMessage,
  SUBPROTOCOL_JSON,
} from '@lockd/client/protocol';
import { afterEach, describe, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';

const servers: WebSocketServer[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    for (const socket of server.clients) socket.terminate();
    server.close();
  }
});

/** A node that grants everything, over real sockets. */
async function listen(
  accepts: (offered: string[]) => string | false = (offered) => offered[0] ?? false,
): Promise<{ endpoint: string; subprotocols: string[] }> {
  const subprotocols: string[] = [];
  const server = new WebSocketServer({
    port: 0,
    host: '127.0.0.1',
    handleProtocols: (offered) => accepts([...offered]),
  });
  servers.push(server);
  await new Promise((resolve) => server.once('listening', resolve));
  server.on('connection', (socket) => {
    subprotocols.push(socket.protocol);
    const codec = codecFor(socket.protocol);
    socket.on('message', (data: Buffer, isBinary) => {
      const messages =
        codec?.decode(isBinary ? data : data.toString()).map((raw) => parseClientMessage(raw) as ClientMessage) ?? [];
      const answers = messages.flatMap(answer);
      if (answers.length > 0) socket.send(codec?.encode(answers) ?? '');
    });
  });
  return { endpoint: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, subprotocols };
}

function answer(message: ClientMessage): ServerMessage[] {
  switch (message[0]) {
    case 'hello':
      return [
        [
          'welcome',
          {
            version: 1,
            clusterId: 'c',
            node: 'n1',
            leader: { name: 'n1', client: null },
            isLeader: true,
            members: [],
            index: 1,
            attaching: true,
            limits: { maxFrameBytes: 4_194_304, maxNameBytes: 512, window: 1024 },
          },
        ],
      ];
    case 'open':
      return [['opened', message[1], 7, message[3]]];
    case 'acquire':
      return [['granted', message[1], message[2], 41, null]];
    case 'release':
    case 'close':
      return [['ok', message[1], message[2], null]];
    default:
      return [];
  }
}

describe('over real WebSockets', () => {
  test.each(['msgpack', 'json'] as const)('a lock is acquired and released with the %s codec', async (codec) => {
    const { endpoint, subprotocols } = await listen();
    const client = await connect({ endpoints: [endpoint], transport: webSocketTransport({ codec }) });
    const value = await client.withLock('ä', (lock) => lock.token);
    expect(value).toBe(41);
    expect(subprotocols).toEqual([`lockd.v1.${codec}`]);
    await client.close();
  });

  test('a node that insists on JSON gets JSON', async () => {
    const { endpoint } = await listen(() => SUBPROTOCOL_JSON);
    const client = await connect({ endpoints: [endpoint] });
    expect((await client.acquire('a')).held).toBe(true);
    await client.close();
  });

  test('another kind of server, a closed port and a wrong address fail with the reason', async () => {
    const { endpoint } = await listen(() => false);
    for (const [address, reason] of [
      [endpoint, /subprotocol/i],
      ['ws://127.0.0.1:1', /ECONNREFUSED/],
      ['ws://[', /invalid|Invalid/],
    ] as const) {
      await expect(connect({ endpoints: [address], connectTimeout: 300 })).rejects.toMatchObject({
        code: 'LOCKD_NO_QUORUM',
      });
      await expect(connect({ endpoints: [address], connectTimeout: 300 })).rejects.toThrow(reason);
    }
    await expect(connect({ endpoints: ['http://x'] })).rejects.toMatchObject({ code: 'LOCKD_INVALID' });
    await expect(connect({ endpoints: [] })).rejects.toMatchObject({ code: 'LOCKD_INVALID' });
  });

  test('closing while connecting tells once, and nothing opens', async () => {
    const { endpoint } = await listen();
    const told: string[] = [];
    await new Promise<void>((resolve) => {
      const handler: ConnectionHandler = {
        onOpen: () => told.push('open'),
        onFrame: () => told.push('frame'),
        onClose: () => {
          told.push('close');
          resolve();
        },
      };
      webSocketTransport().open(endpoint, handler).close();
    });
    expect(told).toEqual(['close']);
  });
});
