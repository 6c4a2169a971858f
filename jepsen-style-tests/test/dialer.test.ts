import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { canTellDialers, dialerAmong, socketOf } from '../src/cluster/dialer.ts';
import { Network } from '../src/cluster/network.ts';
import { Random } from '../src/random.ts';

const TABLE = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1B58 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0
   1: 0100007F:1B58 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0 20 4 0 10 -1
   2: 0100007F:D431 0100007F:1B58 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0 20 4 0 10 -1
   3: 0100007F:D433 0100007F:1B58 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0`;

test('of the two ends of a connection the dialling one is found, and not one that is closed', () => {
  expect(socketOf(TABLE, 0xd431, 7000)).toBe('13');
  expect(socketOf(TABLE, 0xd433, 7000)).toBeUndefined();
  expect(socketOf(TABLE, 0xd435, 7000)).toBeUndefined();
});

async function echoServer(): Promise<{ readonly port: number; close(): void }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as { port: number }).port,
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

test.skipIf(!canTellDialers())('whoever dials the one address that all are told gets a link of its own', async () => {
  const network = new Network(new Random(1));
  const echo = await echoServer();
  const dialerOf = ({ localPort, remotePort }: Socket): string | undefined =>
    dialerAmong(
      { local: localPort as number, remote: remotePort as number },
      new Map([
        ['n2', undefined],
        ['n1', process.pid],
      ]),
    );
  const address = { host: '127.0.0.1', port: echo.port };
  const door = await network.listenForAll(dialerOf, 'n3', address);
  const socket = connect(door, '127.0.0.1');
  socket.write('hello');
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toBe('hello');
  expect(network.counters('n1', 'n3').passedBytes).toBe(5);
  expect(network.counters('n2', 'n3').passedBytes).toBe(0);
  socket.destroy();

  const strange = await network.listenForAll(() => undefined, 'n3', address);
  const refused = connect(strange, '127.0.0.1');
  const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
  expect(error.code).toBe('ECONNRESET');
  await network.close();
  echo.close();
});
