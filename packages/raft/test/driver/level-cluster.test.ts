import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { nodeId } from '../../src/core/ids.ts';
import { realClock } from '../../src/node/clock.ts';
import type { DriverOptions } from '../../src/node/driver-options.ts';
import { levelStorage } from '../../src/node/level-storage.ts';
import { MemoryNetwork } from '../../src/testing/memory-network.ts';
import { IDS, leaderOf, openNode, propose, type TestNode, until } from './harness.ts';

let root: string;
let network: MemoryNetwork;
let nodes: TestNode[];

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'lockd-raft-'));
  network = new MemoryNetwork(realClock);
  nodes = [];
});

afterEach(async () => {
  await Promise.all(nodes.map(({ driver }) => driver.stop().catch(() => undefined)));
  await rm(root, { recursive: true, force: true });
});

async function start(
  id: (typeof IDS)[number],
  options: Partial<DriverOptions> = {},
  directory = id as string,
): Promise<TestNode> {
  const storage = levelStorage(path.join(root, directory), realClock);
  const node = await openNode(id, { storage, clock: realClock, network }, options);
  nodes.push(node);
  return node;
}

async function startAll(options: Partial<DriverOptions> = {}): Promise<TestNode> {
  await Promise.all(IDS.map((id) => start(id, options)));
  await until(() => leaderOf(nodes) !== undefined);
  return leaderOf(nodes)!;
}

/** Stops the process without closing anything: what it has on the disk is copied as it is at this moment. */
async function crash(node: TestNode): Promise<void> {
  network.detach(node.id);
  nodes = nodes.filter((other) => other !== node);
  const directory = path.join(root, node.id);
  await rm(`${directory}-copy`, { recursive: true, force: true });
  await cp(directory, `${directory}-copy`, { recursive: true });
  await node.driver.stop();
  await rm(directory, { recursive: true });
  await cp(`${directory}-copy`, directory, { recursive: true });
}

describe('three nodes on LevelDB', () => {
  test('found a cluster, elect a leader, and apply what is proposed on every node', async () => {
    const leader = await startAll();
    expect(propose(leader, 'a', 'b', 'c').type).toBe('accepted');
    await until(() => nodes.every(({ machine }) => machine.commands.length === 3));
    for (const { machine, driver } of nodes) {
      expect(machine.commands).toEqual(leader.machine.commands);
      expect(driver.clusterId()).toMatch(/^cluster-of-n/);
      expect(driver.clusterId()).toBe(leader.driver.clusterId());
    }
  });

  test('a restarted node comes back with what it acknowledged, as its next incarnation', async () => {
    const leader = await startAll();
    propose(leader, 'before');
    await until(() => nodes.every(({ machine }) => machine.commands.length === 1));
    const follower = nodes.find((node) => node !== leader)!;
    await follower.driver.stop();
    network.detach(follower.id);
    nodes = nodes.filter((node) => node !== follower);
    propose(leader, 'meanwhile');
    const again = await start(follower.id);
    expect(again.driver.identity()?.instanceId).toBe(follower.driver.identity()?.instanceId);
    expect(again.driver.identity()?.incarnation).toBe(2);
    await until(() => again.machine.texts.join() === 'before,meanwhile');
  });

  test('nothing that was committed is lost when all nodes crash at once', async () => {
    const leader = await startAll();
    const texts = Array.from({ length: 200 }, (_, number) => `c${number}`);
    for (const text of texts) {
      propose(leader, text);
      if (text.endsWith('0')) await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => leader.machine.commands.length === texts.length);
    for (const node of [...nodes]) await crash(node);
    await startAll();
    await until(() => nodes.every(({ machine }) => machine.texts.join() === texts.join()));
  });

  test('leadership is handed over on stop, without an election time-out', async () => {
    const leader = await startAll({ raft: { electionTimeoutMs: 2000, heartbeatMs: 100 } });
    await until(() => nodes.every(({ driver }) => driver.status().commitIndex === leader.driver.status().commitIndex));
    const startedMs = performance.now();
    await leader.driver.stop();
    network.detach(leader.id);
    nodes = nodes.filter((node) => node !== leader);
    await until(() => leaderOf(nodes) !== undefined);
    expect(performance.now() - startedMs).toBeLessThan(1500);
  });

  test('an emptied directory under the name of a member is refused', async () => {
    const leader = await startAll();
    const follower = nodes.find((node) => node !== leader)!;
    propose(leader, 'a');
    await until(() => nodes.every(({ machine }) => machine.commands.length === 1));
    await new Promise((resolve) => setTimeout(resolve, 100));
    await follower.driver.stop();
    network.detach(follower.id);
    nodes = nodes.filter((node) => node !== follower);
    const impostor = await start(follower.id, {}, 'elsewhere');
    await until(() => /another data directory|is registered with/.test(impostor.driver.conditionReason() ?? ''));
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(impostor.driver.condition()).toBe('joining');
    expect(impostor.driver.status().lastIndex).toBe(0);
  });

  test('a node that starts late is admitted by the leader', async () => {
    await Promise.all([start(IDS[0]!), start(IDS[1]!)]);
    await until(() => leaderOf(nodes) !== undefined);
    propose(leaderOf(nodes)!, 'a');
    const late = await start(IDS[2]!);
    await until(() => late.machine.texts.join() === 'a');
    expect(late.driver.condition()).toBe('serving');
  });

  test('a follower far behind receives a snapshot in chunks', async () => {
    const options: Partial<DriverOptions> = { snapshotMinBytes: 100_000, keepLogBytes: 10_000 };
    const leader = await startAll(options);
    const follower = nodes.find((node) => node !== leader)!;
    await follower.driver.stop();
    network.detach(follower.id);
    nodes = nodes.filter((node) => node !== follower);
    const filler = 'x'.repeat(2000);
    for (let number = 0; number < 500; number++) {
      propose(leader, `${number} ${filler}`);
      if (number % 10 === 9) await until(() => leader.machine.commands.length === number + 1);
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
    const again = await start(follower.id, options);
    await until(() => again.machine.commands.length === 500);
    expect(again.machine.restores).toBe(1);
    expect(again.machine.texts).toEqual(leader.machine.texts);
    await again.driver.stop();
    network.detach(again.id);
    nodes = nodes.filter((node) => node !== again);
    const third = await start(follower.id, options);
    await until(() => third.machine.commands.length === 500);
    expect(third.machine.restores).toBe(1);
  });

  test('a learner of another name joins empty and catches up', async () => {
    const leader = await startAll();
    propose(leader, 'a');
    const newcomer = nodeId('n4');
    expect(leader.driver.proposeConfiguration([{ type: 'add-learner', node: newcomer }]).type).toBe('accepted');
    const node = await start(newcomer, { initialCluster: [], seeds: IDS });
    await until(() => node.machine.texts.join() === 'a');
    expect(node.driver.status().role).toBe('learner');
  });
});
