import { describe, expect, test } from 'vitest';
import { Internet, type Party } from '../../src/sim/service/internet.ts';
import type { SimulatedSocket } from '../../src/sim/service/simulated-socket.ts';
import { Chance } from '../../src/sim/world/chance.ts';
import { Counters } from '../../src/sim/world/counters.ts';
import { SimulatedProcess } from '../../src/sim/world/process.ts';
import { World } from '../../src/sim/world/world.ts';

describe('a stream between two simulated processes', () => {
  test('carries frames in the order sent, text as text and bytes as bytes, in memory of their own', async () => {
    const { world, client, heard } = await connected();
    const bytes = Uint8Array.of(1, 2, 3);
    client.send(bytes);
    bytes.fill(9);
    for (const text of ['a', 'b', 'c', 'd']) client.send(text);
    await world.run(world.nowUs + 100_000);
    expect(heard.server).toEqual(['bytes 1,2,3', 'a', 'b', 'c', 'd']);
  });

  test('withholds what is sent into a cut until that is mended, and tells nobody', async () => {
    const { world, internet, client, server, heard } = await connected();
    internet.cut('c', 'n');
    client.send('late');
    server.send('heard all the same');
    await world.run(world.nowUs + 20_000_000);
    expect(heard).toEqual({ server: [], client: ['heard all the same'] });
    internet.mend('c', 'n');
    await world.run(world.nowUs + 2_000_000);
    expect(heard.server).toEqual(['late']);
  });

  test('ends with the process at one end, after what that has sent', async () => {
    const { world, internet, server, heard, parties } = await connected();
    server.send('last words');
    parties.server.process.die();
    internet.ended(parties.server.process, 'closed');
    await world.run(world.nowUs + 100_000);
    expect(heard.client).toEqual(['last words', 'closed']);
  });

  test('stays half open when a machine goes dark, until that runs again and answers', async () => {
    const { world, internet, client, heard, parties } = await connected();
    parties.server.process.die();
    internet.ended(parties.server.process, 'dark');
    client.send('to nobody');
    await world.run(world.nowUs + 20_000_000);
    expect(heard.client).toEqual([]);
    internet.lit('n');
    await world.run(world.nowUs + 3_000_000);
    expect(heard.client).toEqual(['closed']);
  });

  test('that is broken off in a cut is found out by whoever sends next', async () => {
    const { world, internet, client, server, heard } = await connected();
    internet.cut('n', 'c');
    server.terminate();
    await world.run(world.nowUs + 5_000_000);
    internet.mend('n', 'c');
    await world.run(world.nowUs + 5_000_000);
    expect(heard.client).toEqual([]);
    client.send('anybody there?');
    await world.run(world.nowUs + 100_000);
    expect(heard.client).toEqual(['closed']);
  });

  test('is refused where nobody listens, and where it is told to be', async () => {
    const { world, internet, parties } = await connected();
    const reasons: string[] = [];
    const dial = (address: string): void => {
      const socket = internet.dial(parties.client, 'n', address);
      socket.on('close', () => reasons.push(socket.reason));
    };
    dial('ws://elsewhere');
    internet.refuse('c', 'n', true);
    dial('ws://n');
    await world.run(world.nowUs + 100_000);
    expect(reasons).toEqual(['refused', 'refused']);
  });
});

interface Scene {
  readonly world: World;
  readonly internet: Internet;
  readonly client: SimulatedSocket;
  readonly server: SimulatedSocket;
  readonly parties: { readonly client: Party; readonly server: Party };
  readonly heard: { readonly server: string[]; readonly client: string[] };
}

/** A client on host c, connected to a node on host n. */
async function connected(): Promise<Scene> {
  const world = new World();
  const shape = { minDelayUs: 100, maxDelayUs: 900, retransmitPerMille: 0, extraDelayUs: 0 };
  const internet = new Internet(world, Chance.of(1, 'streams'), shape, new Counters());
  const party = (host: string): Party => ({
    host,
    process: new SimulatedProcess(host, world, { originMs: 0, ratePpm: 0 }),
    usesPromises: false,
  });
  const parties = { client: party('c'), server: party('n') };
  const heard = { server: [] as string[], client: [] as string[] };
  const listen = (socket: SimulatedSocket, to: string[]): void => {
    socket.on('message', (data: Buffer, isBinary: boolean) =>
      to.push(isBinary ? `bytes ${[...data].join(',')}` : data.toString()),
    );
    socket.on('close', () => to.push('closed'));
  };
  let server: SimulatedSocket | undefined;
  internet.listen('ws://n', {
    ...parties.server,
    choose: ([first]) => first ?? '',
    onSocket: (socket) => {
      server = socket;
      listen(socket, heard.server);
    },
  });
  const client = internet.dial(parties.client, 'n', 'ws://n', ['lockd.v1.json']);
  listen(client, heard.client);
  await world.run(10_000);
  expect(client.protocol).toBe('lockd.v1.json');
  return { world, internet, client, server: server as unknown as SimulatedSocket, parties, heard };
}
