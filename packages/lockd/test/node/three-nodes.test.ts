import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestNodes } from '../support/nodes.ts';
import { RawClient } from '../support/raw-client.ts';

describe('three nodes with real sockets and storage', () => {
  let cluster: TestNodes;

  beforeAll(async () => {
    cluster = await TestNodes.start(3);
  }, 30_000);
  afterAll(async () => {
    await cluster.stop();
  }, 30_000);

  test('a follower forwards: open, acquire, renew, read and release through it', async () => {
    const follower = await cluster.follower();
    const client = await RawClient.connect(follower.clientUrl);
    const session = await client.open('through-a-follower');
    client.send(['acquire', session, 1, 0, 'forwarded', 0, null, null], ['renew', session, 7]);
    const granted = await client.next('granted');
    expect(granted.slice(1, 3)).toEqual([session, 1]);
    await client.next('renewed', (message) => message[1] === session && message[2] === 7);

    client.send(['inspect', 2, 'forwarded']);
    const [, , info] = await client.next('result');
    expect(info).toMatchObject({ holders: [{ session, token: granted[3] }] });

    client.send(['release', session, 2, 1, 1], ['acquire', session, 3, 1, 'forwarded', 0, null, null]);
    await client.next('ok', (message) => message[2] === 2);
    const again = await client.next('granted');
    expect(again[3]).toBeGreaterThan(granted[3]);
    client.send(['close', session, 4, 3]);
    await client.next('ok', (message) => message[2] === 4);
    client.close();
  });

  test('a waiter connected to one node is told when a holder connected to another releases', async () => {
    const [first, second] = [await cluster.leader(), await cluster.follower()];
    const holder = await RawClient.connect(first.clientUrl);
    const waiter = await RawClient.connect(second.clientUrl);
    const holding = await holder.open('holder');
    const waiting = await waiter.open('waiter');
    holder.send(['acquire', holding, 1, 0, 'passed on', 0, null, null]);
    const { 3: token } = await holder.next('granted');
    waiter.send(['acquire', waiting, 1, 0, 'passed on', 60_000, null, null]);
    expect((await waiter.next('waiting'))[3]).toBe(1);
    holder.send(['release', holding, 2, 1, 1]);
    expect((await waiter.next('granted'))[3]).toBeGreaterThan(token);
    holder.close();
    waiter.close();
  });

  test('a read at a follower sees what was acknowledged at the leader before', async () => {
    const writer = await RawClient.connect((await cluster.leader()).clientUrl);
    const reader = await RawClient.connect((await cluster.follower()).clientUrl);
    const session = await writer.open('writer');
    for (let round = 0; round < 20; round++) {
      writer.send(['acquire', session, 2 * round + 1, 2 * round, 'seen', 0, null, null]);
      const { 3: token } = await writer.next('granted');
      reader.send(['inspect', round, 'seen']);
      const [, , info] = await reader.next('result', (message) => message[1] === round);
      expect(info).toMatchObject({ holders: [{ token }] });
      writer.send(['release', session, 2 * round + 2, 2 * round + 1, 2 * round + 1]);
      await writer.next('ok');
    }
    writer.close();
    reader.close();
  });

  test('when the leader stops, a client of a follower is told, attaches again, and gets larger tokens', async () => {
    const leader = await cluster.leader();
    const client = await RawClient.connect((await cluster.follower()).clientUrl);
    const session = await client.open('survivor');
    client.send(['acquire', session, 1, 0, 'across', 0, null, null]);
    const { 3: token } = await client.next('granted');
    await cluster.stopNode(leader.name);
    const successor = await cluster.leader();
    await client.next('leader', (message) => message[1]?.name === successor.name);

    client.send(['attach', 5, session, 'survivor', 2]);
    await client.next('attached', (message) => message[2] === session && message[3] === 2);
    // What was granted before is still held.
    client.send(['ask', session, [1]]);
    expect((await client.next('requests'))[2]).toEqual([[1, 'granted', token, null]]);
    client.send(['release', session, 2, 1, 1], ['acquire', session, 3, 2, 'across', 0, null, null]);
    expect((await client.next('granted'))[3]).toBeGreaterThan(token);
    client.close();
    await cluster.startNode(leader.name);
  });

  test('a client of a stopping node is told to go elsewhere, and resumes its session there', async () => {
    const leader = await cluster.leader();
    const client = await RawClient.connect(leader.clientUrl);
    const session = await client.open('moved');
    client.send(['acquire', session, 1, 0, 'moved', 0, null, null]);
    const { 3: token } = await client.next('granted');
    await cluster.stopNode(leader.name);
    await client.next('goodbye');
    await client.closed();

    const next = await RawClient.connect((await cluster.leader()).clientUrl, { sessions: [[session, 'moved', 2]] });
    await next.next('attached');
    next.send(['ask', session, [1, 2]]);
    expect((await next.next('requests'))[2]).toEqual([
      [1, 'granted', token, null],
      [2, 'ended', 'unknown'],
    ]);
    next.close();
    await cluster.startNode(leader.name);
  });

  test('what was applied before is never refused as if it had not been, majority or not', async () => {
    const leader = await cluster.leader();
    const others = [...cluster.nodes.keys()].filter((name) => name !== leader.name);
    const client = await RawClient.connect(leader.clientUrl);
    const session = await client.open('asks twice');
    client.send(['acquire', session, 1, 0, 'once only', 0, null, null]);
    await client.next('granted');
    await Promise.all(others.map((name) => cluster.stopNode(name)));
    await client.next('leader', (message) => message[1] === null);
    // As if the answer had been lost: the same operation, and one that nobody has seen.
    client.send(
      ['acquire', session, 1, 0, 'once only', 0, null, null],
      ['acquire', session, 2, 0, 'never', 0, null, null],
    );
    expect((await client.next('reattach'))[1]).toBe(session);
    expect(client.received.filter((message) => message[0] === 'error' && message[2] === 1)).toEqual([]);
    client.close();
    await Promise.all(others.map((name) => cluster.startNode(name)));
    await cluster.leader();
  });

  test('without a majority nothing is granted, and the client is told that nothing happened', async () => {
    const leader = await cluster.leader();
    const others = [...cluster.nodes.keys()].filter((name) => name !== leader.name);
    const client = await RawClient.connect(leader.clientUrl);
    const session = await client.open('alone');
    await Promise.all(others.map((name) => cluster.stopNode(name)));
    await client.next('leader', (message) => message[1] === null);
    client.send(['attach', 3, session, 'alone', 2]);
    const refused = await client.next('error');
    expect(refused.slice(1, 4)).toEqual([0, 3, 'LOCKD_NO_QUORUM']);
    expect(refused.slice(5, 7)).toEqual(['not-applied', true]);
    client.send(['inspect', 4, 'anything']);
    expect((await client.next('error', (message) => message[2] === 4)).slice(3, 4)).toEqual(['LOCKD_NO_QUORUM']);
    client.close();
    await Promise.all(others.map((name) => cluster.startNode(name)));
    await cluster.leader();
  });
});
