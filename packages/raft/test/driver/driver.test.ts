import { describe, expect, test } from 'vitest';
import { ENTRY_KIND } from '../../src/core/entry-run.ts';
import { logIndex, nodeId, term } from '../../src/core/ids.ts';
import type { Message } from '../../src/core/message.ts';
import type { Clock } from '../../src/node/clock.ts';
import { openDriver } from '../../src/node/driver.ts';
import { LogStore } from '../../src/node/log-store.ts';
import { StorageError } from '../../src/node/storage-error.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { MemoryNetwork } from '../../src/testing/memory-network.ts';
import { seededRandom } from '../../src/testing/seeded-random.ts';
import { SimulatedDisk } from '../../src/testing/simulated-disk.ts';
import { Cluster } from './cluster.ts';
import { IDS, ListMachine, leaderOf, openNode, propose, Record, type TestNode } from './harness.ts';

describe('a turn', () => {
  test('an idle node adds no delay: proposed, stored, sent, committed and applied at the same instant', async () => {
    const cluster = new Cluster();
    const leader = await cluster.startAll();
    await cluster.clock.advance(1000);
    const beforeMs = cluster.clock.nowMs();
    propose(leader, 'a');
    await cluster.clock.settle();
    expect(leader.machine.texts).toEqual(['a']);
    expect(cluster.clock.nowMs()).toBe(beforeMs);
  });

  test('all that is proposed in a turn is one write, and what comes during that write is the next', async () => {
    const cluster = new Cluster({}, { syncDelayMs: () => 3 });
    const leader = await cluster.startAll();
    await cluster.clock.advance(1000);
    const before = cluster.diskOf(leader).syncs;
    for (let number = 0; number < 50; number++) propose(leader, `a${number}`);
    await cluster.clock.advance(1);
    for (let number = 0; number < 50; number++) propose(leader, `b${number}`);
    await cluster.clock.advanceUntil(() => leader.machine.commands.length === 100, 100);
    // Two writes of entries, and the marker once or twice.
    expect(cluster.diskOf(leader).syncs - before).toBeLessThanOrEqual(4);
  });

  test('reads are confirmed once the state machine has caught up', async () => {
    const cluster = new Cluster();
    const leader = await cluster.startAll();
    propose(leader, 'a');
    const read = leader.driver.requestRead();
    expect(read.type).toBe('round');
    await cluster.clock.settle();
    expect(leader.record.confirmed).toBe(read.type === 'round' ? read.round : undefined);
    const follower = cluster.nodes.find((node) => node !== leader)!;
    expect(follower.driver.requestRead()).toMatchObject({ type: 'refused', reason: 'not-leader', leader: leader.id });
  });

  test('a long queue of committed entries is applied over several turns', async () => {
    const cluster = new Cluster({ applyTurnMs: 0, applySliceBytes: 100 });
    const leader = await cluster.startAll();
    const turns = leader.record.turns;
    propose(leader, ...Array.from({ length: 200 }, (_, number) => `number ${number}`));
    await cluster.clock.settle();
    expect(leader.machine.commands.length).toBe(200);
    expect(leader.record.turns - turns).toBeGreaterThan(15);
  });
});

describe('a stalled event loop', () => {
  const PEER = nodeId('n1');

  test('does not campaign when heartbeats wait in its sockets', async () => {
    const manual = new ManualClock();
    let waiting: Message[] = [];
    let deliver: (message: Message) => void = () => undefined;
    // A turn's end comes after the sockets have been read; timers before.
    const clock: Clock = {
      nowMs: () => manual.nowMs(),
      after: (delayMs, callback) => manual.after(delayMs, callback),
      endOfTurn: (callback) =>
        manual.endOfTurn(() => {
          const arrived = waiting;
          waiting = [];
          for (const message of arrived) deliver(message);
          callback();
        }),
    };
    const sent: Message[] = [];
    const disk = new SimulatedDisk({ clock: manual, random: seededRandom(3) });
    const record = new Record();
    const first = new LogStore(disk.mount(), clock, { newInstanceId: () => 'i' });
    await first.recover();
    await first.bootstrap({ voters: IDS, outgoing: [], learners: [], learnersNext: [], autoLeave: false });
    await first.close();
    const driver = await openDriver(
      { id: IDS[1]!, initialCluster: IDS, newClusterId: () => 'c', minFreeBytes: 0 },
      {
        storage: new LogStore(disk.mount(), clock, { newInstanceId: () => 'i' }),
        transport: { send: (message) => sent.push(message), sendSnapshot: () => undefined, sendProbe: () => undefined },
        stateMachine: new ListMachine(),
        clock,
        events: record,
        random: seededRandom(5),
      },
    );
    deliver = (message) => driver.handler.onMessage(message);
    const heartbeat = (): Message => ({
      type: 'append-request',
      from: PEER,
      to: IDS[1]!,
      term: term(2),
      previousIndex: logIndex(1),
      previousTerm: term(1),
      runs: [],
      commitIndex: logIndex(1),
    });
    driver.handler.onMessage(heartbeat());
    await manual.advance(50);
    expect(driver.status().leader).toBe(PEER);
    for (let round = 0; round < 5; round++) {
      manual.stall(1500);
      waiting = [heartbeat()];
      await manual.advance(10);
      expect(driver.status().leader, `round ${round}`).toBe(PEER);
    }
    expect(sent.filter(({ type }) => type === 'vote-request')).toEqual([]);
    expect(driver.lastStall()?.lengthMs).toBeGreaterThanOrEqual(1500);
    // Without them it does, so the test can tell.
    manual.stall(1500);
    await manual.advance(10);
    expect(sent.some(({ type }) => type === 'vote-request')).toBe(true);
  });
});

describe('the disk', () => {
  test('a leader whose disk stalls abdicates, and another one leads', async () => {
    const cluster = new Cluster();
    const leader = await cluster.startAll();
    await cluster.clock.advance(300);
    cluster.diskOf(leader).holdSyncs();
    propose(leader, 'a');
    await cluster.clock.advance(600);
    expect(leader.driver.status().role).not.toBe('leader');
    const next = await cluster.leader();
    expect(next).not.toBe(leader);
    cluster.diskOf(leader).releaseSyncs();
    propose(next, 'b');
    await cluster.clock.advance(500);
    expect(new Set(cluster.nodes.map(({ machine }) => machine.texts.join())).size).toBe(1);
  });

  test('a failed write stops the node, and the others go on', async () => {
    const cluster = new Cluster();
    const leader = await cluster.startAll();
    cluster.diskOf(leader).failNext('batch');
    propose(leader, 'a');
    await cluster.clock.advance(10);
    expect(leader.driver.condition()).toBe('stopped');
    expect(leader.record.conditions.at(-1)?.reason).toMatch(/input\/output error/);
    expect(propose(leader, 'b')).toMatchObject({ type: 'refused', reason: 'not-leader' });
    cluster.end(leader.id, 'kill');
    const next = await cluster.leader();
    propose(next, 'c');
    await cluster.start(leader.id);
    await cluster.clock.advance(2000);
    expect(new Set(cluster.nodes.map(({ machine }) => machine.texts.join())).size).toBe(1);
    expect(cluster.nodes[0]?.machine.texts).toContain('c');
  });

  test('a full disk stops the node until there is room, and then it catches up', async () => {
    const cluster = new Cluster({ minFreeBytes: 1000 });
    const leader = await cluster.startAll();
    propose(leader, 'a');
    await cluster.clock.advance(100);
    const disk = cluster.diskOf(leader);
    disk.failNext('batch', new StorageError('STORAGE_FULL', 'simulated: no space'));
    disk.freeBytes = 10;
    propose(leader, 'lost or not');
    await cluster.clock.advance(3000);
    expect(leader.driver.condition()).toBe('disk-full');
    const next = await cluster.leader();
    propose(next, 'b');
    disk.freeBytes = 1_000_000;
    await cluster.clock.advance(3000);
    expect(leader.driver.condition()).toBe('serving');
    expect(leader.machine.resets).toBe(1);
    expect(leader.machine.texts).toEqual(next.machine.texts);
  });

  test('a node that somebody calls upon while it recovers from a full disk takes its turns afterwards', async () => {
    const cluster = new Cluster({ minFreeBytes: 1000 });
    const leader = await cluster.startAll();
    const disk = cluster.diskOf(leader);
    disk.failNext('batch', new StorageError('STORAGE_FULL', 'simulated: no space'));
    disk.freeBytes = 10;
    propose(leader, 'lost or not');
    await cluster.clock.advance(3000);
    const { machine } = leader;
    const reset = machine.reset.bind(machine);
    machine.reset = () => {
      reset();
      leader.driver.wake();
    };
    disk.freeBytes = 1_000_000;
    await cluster.clock.advance(3000);
    const next = await cluster.leader();
    propose(next, 'b');
    await cluster.clock.advance(1000);
    expect(machine.texts).toEqual(next.machine.texts);
    expect(machine.texts).toContain('b');
  });

  test('new work is refused before the disk is full', async () => {
    const cluster = new Cluster({ minFreeBytes: 1000 });
    const leader = await cluster.startAll();
    cluster.diskOf(leader).freeBytes = 900;
    await cluster.clock.advance(1100);
    expect(leader.driver.condition()).toBe('disk-full');
    expect(leader.driver.status().role).toBe('leader');
    expect(propose(leader, 'an end, which may still pass').type).toBe('accepted');
    cluster.diskOf(leader).freeBytes = 100;
    await cluster.clock.advance(1100);
    expect(propose(leader, 'x')).toMatchObject({ type: 'refused', reason: 'overloaded' });
    cluster.diskOf(leader).freeBytes = 2000;
    await cluster.clock.advance(1100);
    expect(leader.driver.condition()).toBe('serving');
  });

  test('a damaged directory neither votes nor acknowledges, and says why', async () => {
    const cluster = new Cluster();
    const leader = await cluster.startAll();
    propose(leader, 'a');
    await cluster.clock.advance(100);
    const victim = cluster.nodes.find((node) => node !== leader)!;
    cluster.end(victim.id, 'kill');
    cluster.diskOf(victim).forgetBatches(2, { complains: false });
    await cluster.start(victim.id);
    const again = cluster.members.get(victim.id)!.node!;
    expect(again.driver.condition()).toBe('damaged');
    expect(again.driver.conditionReason()).toMatch(/acknowledged|promised/);
    const sent: string[] = [];
    cluster.network.filter = (from, _to, payload) => {
      if (from === victim.id) sent.push(payload.kind);
      return true;
    };
    await cluster.clock.advance(3000);
    expect(sent).toEqual([]);
  });

  test('a directory rolled back to an older copy is noticed by its peers, and stays refused', async () => {
    const cluster = new Cluster();
    const leader = await cluster.startAll();
    const victim = cluster.nodes.find((node) => node !== leader)!;
    cluster.end(victim.id, 'kill');
    const rollBack = cluster.diskOf(victim).backUp();
    await cluster.start(victim.id);
    propose(leader, 'a');
    await cluster.clock.advance(500);
    cluster.end(victim.id, 'kill');
    rollBack();
    await cluster.start(victim.id);
    const rolledBack = cluster.members.get(victim.id)!.node!;
    // The peers have seen this start's number before; a second start of the copy would be the number they know.
    await cluster.clock.advance(1000);
    expect(rolledBack.driver.condition()).toBe('damaged');
    cluster.end(victim.id, 'kill');
    await cluster.start(victim.id);
    expect(cluster.members.get(victim.id)!.node!.driver.conditionReason()).toMatch(/rolled back|acknowledged/);
  });

  test('a peer that has seen a later start of a directory refuses the earlier one', async () => {
    const cluster = new Cluster();
    const leader = await cluster.startAll();
    const victim = cluster.nodes.find((node) => node !== leader)!;
    const identity = victim.driver.identity()!;
    expect(leader.driver.handler.onPeerIdentity(victim.id, { ...identity, incarnation: 3 })).toEqual({ accept: true });
    const verdict = leader.driver.handler.onPeerIdentity(victim.id, identity);
    expect(verdict).toMatchObject({ accept: false, code: 'rolled-back' });
    victim.driver.handler.onRefused(leader.id, 'rolled-back', 'seen start 3');
    await cluster.clock.advance(10);
    expect(victim.driver.condition()).toBe('damaged');
    cluster.end(victim.id, 'kill');
    await cluster.start(victim.id);
    expect(cluster.members.get(victim.id)!.node!.driver.conditionReason()).toMatch(/rolled back/);
  });
});

describe('founding a cluster', () => {
  test('one node alone waits', async () => {
    const cluster = new Cluster();
    await cluster.start('n1');
    await cluster.clock.advance(10_000);
    expect(cluster.nodes[0]?.driver.condition()).toBe('joining');
    expect(cluster.nodes[0]?.driver.conditionReason()).toMatch(/majority/);
  });

  test('nodes started with different lists do not found one', async () => {
    const clock = new ManualClock();
    const network = new MemoryNetwork(clock);
    const open = (id: string, initialCluster: string[]): Promise<TestNode> => {
      const disk = new SimulatedDisk({ clock, random: seededRandom(1) });
      const storage = new LogStore(disk.mount(), clock, { newInstanceId: () => id });
      return openNode(nodeId(id), { storage, clock, network }, { initialCluster: initialCluster.map(nodeId) });
    };
    const one = await open('n1', ['n1', 'n2', 'n3']);
    const two = await open('n2', ['n1', 'n2', 'n4']);
    await clock.advance(10_000);
    expect([one.driver.condition(), two.driver.condition()]).toEqual(['joining', 'joining']);
    expect(one.driver.conditionReason()).toMatch(/another initial cluster/);
  });

  test('a single node founds its cluster at once', async () => {
    const clock = new ManualClock();
    const disk = new SimulatedDisk({ clock, random: seededRandom(1) });
    const node = await openNode(
      nodeId('n1'),
      {
        storage: new LogStore(disk.mount(), clock, { newInstanceId: () => 'i' }),
        clock,
        network: new MemoryNetwork(clock),
      },
      { initialCluster: [nodeId('n1')] },
    );
    await clock.advance(60);
    expect(node.driver.status()).toMatchObject({ role: 'leader', isReady: true });
    propose(node, 'a');
    await clock.settle();
    expect(node.machine.texts).toEqual(['a']);
    const stopping = node.driver.stop();
    await clock.settle();
    await stopping;
    const turns = node.record.turns;
    await clock.advance(5000);
    expect(node.record.turns).toBe(turns);
  });

  test('every member of a founded cluster is registered with its directory', async () => {
    const cluster = new Cluster();
    await cluster.startAll();
    await cluster.clock.advance(500);
    const [asked] = cluster.nodes;
    for (const { id, driver } of cluster.nodes) {
      if (id === asked?.id) continue;
      const identity = driver.identity()!;
      expect(asked?.driver.handler.onPeerIdentity(id, identity)).toEqual({ accept: true });
      const verdict = asked?.driver.handler.onPeerIdentity(id, { ...identity, instanceId: 'another' });
      expect(verdict).toMatchObject({ accept: false, code: 'another-instance' });
    }
    const foreign = asked?.driver.handler.onPeerIdentity(IDS[2]!, {
      instanceId: 'x',
      incarnation: 1,
      clusterId: 'foreign',
    });
    expect(foreign).toMatchObject({ accept: false, code: 'another-cluster' });
  });

  test('a directory that was rolled back is noticed however often it has been started meanwhile', async () => {
    const cluster = new Cluster();
    const leader = await cluster.startAll();
    const victim = cluster.nodes.find((node) => node !== leader)!;
    const { instanceId, clusterId } = victim.driver.identity()!;
    const judge = (incarnation: number, [start, ...earlierStarts]: readonly string[]) =>
      leader.driver.handler.onPeerIdentity(victim.id, { instanceId, clusterId, incarnation, start, earlierStarts });
    expect(judge(4, ['d', 'c', 'b'])).toEqual({ accept: true });
    // A copy made during start 2, started three times.
    expect(judge(5, ['z', 'y', 'x', 'b'])).toMatchObject({ accept: false, code: 'rolled-back' });
    // Started in places where this node did not see it.
    expect(judge(6, ['f', 'e', 'd', 'c'])).toEqual({ accept: true });
    // So often that nobody can tell any more.
    expect(judge(40, ['w', 'v'])).toEqual({ accept: true });
  });

  test('what is known of a directory outlives its member', async () => {
    const cluster = new Cluster();
    const leader = await cluster.startAll();
    await cluster.clock.advance(500);
    const gone = cluster.nodes.find((node) => node !== leader)!;
    const identity = gone.driver.identity()!;
    expect(leader.driver.handler.onPeerIdentity(gone.id, { ...identity, incarnation: 3 })).toEqual({ accept: true });
    leader.driver.proposeConfiguration([{ type: 'remove', node: gone.id }]);
    await cluster.clock.advance(1000);
    leader.driver.proposeConfiguration([{ type: 'add-learner', node: gone.id }]);
    await cluster.clock.advance(1000);
    expect(leader.driver.handler.onPeerIdentity(gone.id, identity)).toMatchObject({ code: 'rolled-back' });
  });

  test('the same start number with another random id is a directory rolled back by exactly one start', async () => {
    const cluster = new Cluster();
    const leader = await cluster.startAll();
    await cluster.clock.advance(500);
    const victim = cluster.nodes.find((node) => node !== leader)!;
    const identity = victim.driver.identity()!;
    // The same start may connect as often as it likes.
    expect(leader.driver.handler.onPeerIdentity(victim.id, identity)).toEqual({ accept: true });
    const verdict = leader.driver.handler.onPeerIdentity(victim.id, { ...identity, start: 'another' });
    expect(verdict).toMatchObject({ accept: false, code: 'rolled-back' });
  });

  test('a member that is behind lets in the directory that replaced the one it knows: it may be the leader’s', async () => {
    const cluster = new Cluster();
    await cluster.startAll();
    await cluster.clock.advance(500);
    const leader = leaderOf(cluster.nodes)!;
    const [behind, third] = cluster.nodes.filter((node) => node !== leader) as [TestNode, TestNode];
    const replaced = (node: TestNode) => ({ ...node.driver.identity()!, instanceId: `another one of ${node.id}` });
    const { handler } = behind.driver;
    const [ofLeader, ofThird] = [replaced(leader), replaced(third)];
    expect(handler.onPeerIdentity(third.id, ofThird)).toMatchObject({ code: 'another-instance' });
    expect(handler.onPeerIdentity(leader.id, ofLeader)).toEqual({ accept: true });
    for (const other of [leader, third]) cluster.end(other.id, 'kill');
    await cluster.clock.advance(3000);
    expect(behind.driver.status().leader).toBeUndefined();
    const emptied = { ...ofThird, clusterId: undefined };
    expect(handler.onPeerIdentity(third.id, emptied)).toMatchObject({ code: 'another-instance' });
    expect(handler.onPeerIdentity(third.id, ofThird)).toEqual({ accept: true });
  });

  test('between founding and registration, a member that comes with another directory is refused by whoever met the first', async () => {
    const cluster = new Cluster();
    for (const id of IDS) await cluster.start(id);
    await cluster.clock.advanceUntil(() => cluster.nodes.every(({ driver }) => driver.condition() === 'serving'), 5000);
    const [asked, other] = cluster.nodes;
    expect(asked?.driver.instanceOf(other!.id)).toBeUndefined();
    const verdict = asked?.driver.handler.onPeerIdentity(other!.id, {
      instanceId: 'wiped',
      incarnation: 1,
      clusterId: undefined,
    });
    expect(verdict).toMatchObject({ accept: false, code: 'another-instance' });
  });

  test('a node that was removed while it was away is told so, says so, and disturbs nobody', async () => {
    const cluster = new Cluster();
    await cluster.startAll();
    await cluster.clock.advance(500);
    const leader = leaderOf(cluster.nodes)!;
    const away = cluster.nodes.find((node) => node !== leader)!;
    cluster.end(away.id, 'kill');
    leader.driver.proposeConfiguration([{ type: 'remove', node: away.id }]);
    await cluster.clock.advance(1000);
    expect(leader.driver.isConfigurationConfirmed()).toBe(true);
    const { term: termBefore } = leader.driver.status();
    await cluster.start(away.id);
    await cluster.clock.advance(10_000);
    const again = cluster.members.get(away.id)!.node!;
    const identity = again.driver.identity()!;
    const verdict = leader.driver.handler.onPeerIdentity(away.id, identity);
    expect(verdict).toMatchObject({ accept: false, code: 'removed' });
    again.driver.handler.onRefused(leader.id, 'removed', 'n was removed');
    await cluster.clock.advance(5000);
    expect(again.driver.condition()).toBe('removed');
    expect(leader.driver.status().term).toBe(termBefore);
  });

  test('a member that is told by one that lags that it was removed is back as soon as a leader sends to it', async () => {
    const cluster = new Cluster();
    await cluster.startAll();
    await cluster.clock.advance(500);
    const leader = leaderOf(cluster.nodes)!;
    const [told, other] = cluster.nodes.filter((node) => node !== leader) as [TestNode, TestNode];
    told.driver.handler.onRefused(other.id, 'removed', `${told.id} was removed`);
    expect(told.driver.condition()).toBe('serving');
    // By the leader itself, before it has heard of the second change.
    told.driver.handler.onRefused(leader.id, 'removed', `${told.id} was removed`);
    expect(told.driver.condition()).toBe('removed');
    await cluster.clock.advance(200);
    expect(told.driver.condition()).toBe('serving');
  });

  test('a node without a leader tells nobody that it was removed: it may be the one that is behind', async () => {
    const cluster = new Cluster();
    await cluster.startAll();
    await cluster.clock.advance(500);
    const leader = leaderOf(cluster.nodes)!;
    const [gone, left] = cluster.nodes.filter((node) => node !== leader) as [TestNode, TestNode];
    leader.driver.proposeConfiguration([{ type: 'remove', node: gone.id }]);
    await cluster.clock.advance(1000);
    const identity = gone.driver.identity()!;
    expect(left.driver.handler.onPeerIdentity(gone.id, identity)).toMatchObject({ accept: false, code: 'removed' });
    cluster.end(leader.id, 'kill');
    await cluster.clock.advance(3000);
    expect(left.driver.status().leader).toBeUndefined();
    expect(left.driver.handler.onPeerIdentity(gone.id, identity)).toEqual({ accept: true });
  });

  test('a node that finds its directory registered under another name stops', async () => {
    const cluster = new Cluster();
    await cluster.startAll();
    await cluster.clock.advance(500);
    const leader = leaderOf(cluster.nodes)!;
    const [one, two] = cluster.nodes.filter((node) => node !== leader) as [TestNode, TestNode];
    cluster.end(one.id, 'kill');
    cluster.end(two.id, 'kill');
    cluster.members.set(two.id, { disk: cluster.members.get(one.id)!.disk, node: undefined });
    await cluster.start(two.id);
    await cluster.clock.advance(3000);
    const misplaced = cluster.members.get(two.id)!.node!;
    expect(misplaced.driver.condition()).toBe('stopped');
    expect(misplaced.driver.conditionReason()).toContain(`the data directory is that of ${one.id}`);
  });

  test('stopping does not wait for ever for a disk that does not answer', async () => {
    let delayMs = 0;
    const cluster = new Cluster({ stopTimeoutMs: 2000 }, { syncDelayMs: () => delayMs });
    const leader = await cluster.startAll();
    await cluster.clock.advance(500);
    delayMs = 3_600_000;
    propose(leader, 'hangs');
    await cluster.clock.advance(10);
    let hasStopped = false;
    void leader.driver.stop().then(() => {
      hasStopped = true;
    });
    await cluster.clock.advance(4000);
    expect(hasStopped).toBe(true);
  });

  // Found by the simulator: the leader registered the directory that it remembered under the name.
  test('a name that was removed and added again stands for the directory that comes with it, not for the one that left', async () => {
    const cluster = new Cluster();
    await cluster.startAll();
    await cluster.clock.advance(500);
    const leader = leaderOf(cluster.nodes)!;
    const replaced = cluster.nodes.find((node) => node !== leader)!;
    leader.driver.proposeConfiguration([{ type: 'remove', node: replaced.id }]);
    await cluster.clock.advance(500);
    cluster.end(replaced.id, 'kill');
    cluster.members.set(replaced.id, {
      disk: new SimulatedDisk({ clock: cluster.clock, random: seededRandom(9) }),
      node: undefined,
    });
    // Added before its new directory has been heard of.
    leader.driver.proposeConfiguration([{ type: 'add-voter', node: replaced.id }]);
    await cluster.clock.advance(500);
    await cluster.start(replaced.id);
    propose(leader, 'a');
    await cluster.clock.advance(3000);
    const again = cluster.members.get(replaced.id)?.node;
    expect(again?.driver.condition()).toBe('serving');
    expect(again?.machine.texts).toEqual(['a']);
  });
});

describe('a snapshot on its way to a follower', () => {
  const options = { snapshotMinBytes: 20_000, keepLogBytes: 2000 };

  /** A cluster in which one node has missed what only a snapshot still has, of about 2 MB. */
  async function withOneBehind(): Promise<{ cluster: Cluster; leader: TestNode; behind: string }> {
    const cluster = new Cluster(options, { delayMs: () => 1 });
    const leader = await cluster.startAll();
    const behind = cluster.nodes.find((node) => node !== leader)!.id;
    cluster.end(behind, 'kill');
    for (let number = 0; number < 200; number++) {
      propose(leader, `${number} ${'x'.repeat(10_000)}`);
      await cluster.clock.advance(5);
    }
    await cluster.clock.advance(200);
    return { cluster, leader, behind };
  }

  test('arrives although a third of its chunks and answers are lost', async () => {
    const { cluster, leader, behind } = await withOneBehind();
    const random = seededRandom(7);
    let lost = 0;
    cluster.network.filter = (_from, _to, { kind }) => {
      const isLost = kind === 'snapshot' && random(3) === 0;
      if (isLost) lost += 1;
      return !isLost;
    };
    await cluster.start(behind);
    const follower = cluster.members.get(behind)!.node!;
    await cluster.clock.advanceUntil(() => follower.machine.commands.length === 200, 60_000);
    expect(follower.machine.texts).toEqual(leader.machine.texts);
    expect(follower.machine.restores).toBe(1);
    expect(lost).toBeGreaterThan(0);
  });

  test('goes on where it was when the link was cut for a while', async () => {
    const { cluster, leader, behind } = await withOneBehind();
    const offsets: number[] = [];
    let chunks = 0;
    cluster.network.filter = (_from, to, payload) => {
      if (payload.kind !== 'snapshot' || payload.transfer.type !== 'snapshot-chunk') return true;
      chunks += 1;
      offsets.push(payload.transfer.offset);
      if (chunks === 4) cluster.network.cut(leader.id, to);
      return true;
    };
    await cluster.start(behind);
    await cluster.clock.advance(1500);
    cluster.network.heal();
    const follower = cluster.members.get(behind)!.node!;
    await cluster.clock.advanceUntil(() => follower.machine.commands.length === 200, 60_000);
    expect(follower.machine.texts).toEqual(leaderOf(cluster.nodes)?.machine.texts);
    // Asked about once or twice more, but not sent all over again.
    expect(offsets.filter((offset) => offset === 0).length).toBeLessThanOrEqual(4);
  });

  test('is not installed when a chunk was changed on the way', async () => {
    const { cluster, leader, behind } = await withOneBehind();
    let isSpoiled = false;
    cluster.network.filter = (_from, _to, payload) => {
      if (
        payload.kind === 'snapshot' &&
        payload.transfer.type === 'snapshot-chunk' &&
        !isSpoiled &&
        payload.transfer.offset > 0
      ) {
        isSpoiled = true;
        payload.transfer.bytes[5] = (payload.transfer.bytes[5] as number) ^ 1;
      }
      return true;
    };
    await cluster.start(behind);
    const follower = cluster.members.get(behind)!.node!;
    await cluster.clock.advanceUntil(() => follower.machine.commands.length === 200, 60_000);
    expect(isSpoiled).toBe(true);
    expect(follower.machine.texts).toEqual(leader.machine.texts);
  });
});

/** More for a long run: `RAFT_DRIVER_SEEDS`. */
const SEEDS = Number(process.env['RAFT_DRIVER_SEEDS'] ?? 15);

/** Over all seeds, to see that enough happened. */
const totals = { commands: 0, restores: 0 };

/**
 * A cluster under proposals, with processes killed and machines losing power, all three at once among it. Returns what was
 * committed and then lost, or undefined. Every index must have one command for ever, on whatever node.
 */
async function torture(
  seed: number,
  options: { readonly acknowledgesBeforeSync?: boolean } = {},
): Promise<string | undefined> {
  const random = seededRandom(seed);
  const cluster = new Cluster(
    { snapshotMinBytes: 3000, keepLogBytes: 500 },
    { seed, syncDelayMs: () => random(12), delayMs: () => random(4) },
  );
  for (const { disk } of cluster.members.values())
    disk.sabotage = { acknowledgesBeforeSync: options.acknowledgesBeforeSync ?? false };
  const committed = new Map<number, string>();
  const observe = (): string | undefined => {
    for (const { id, machine } of cluster.nodes) {
      for (const { index, text } of machine.commands) {
        const known = committed.get(index);
        if (known !== undefined && known !== text) return `index ${index} is ${known}, but ${text} on ${id}`;
        committed.set(index, text);
      }
    }
    return undefined;
  };
  for (const id of IDS) await cluster.start(id);
  let number = 0;
  for (let round = 0; round < 12; round++) {
    for (let step = 0; step < 80; step++) {
      const leader = leaderOf(cluster.nodes);
      if (leader !== undefined)
        for (let count = random(4); count > 0; count--) propose(leader, `${number++} ${'.'.repeat(random(60))}`);
      await cluster.clock.advance(random(25));
      const wrong = observe();
      if (wrong !== undefined) return wrong;
    }
    const how = random(2) === 0 ? 'kill' : 'losePower';
    const victims = random(3) === 0 ? IDS : [IDS[random(3)]!];
    for (const id of victims) cluster.end(id, how);
    await cluster.clock.advance(random(300));
    for (const id of victims) await cluster.start(id);
    const damaged = cluster.nodes.find(
      ({ driver }) => driver.condition() === 'damaged' || driver.condition() === 'stopped',
    );
    if (damaged !== undefined) return `${damaged.id}: ${damaged.driver.conditionReason()}`;
  }
  // Healed, it serves again, and all have the same.
  const leader = await cluster.leader(20_000);
  propose(leader, 'last');
  const isEqual = (): boolean => cluster.nodes.every(({ machine }) => machine.texts.at(-1) === 'last');
  if (!(await cluster.clock.advanceUntil(isEqual, 10_000))) return 'does not converge';
  const wrong = observe();
  if (wrong !== undefined) return wrong;
  for (const { id, machine } of cluster.nodes) {
    if (machine.commands.length !== committed.size)
      return `${id} has ${machine.commands.length} of ${committed.size} committed commands`;
  }
  totals.commands += committed.size;
  totals.restores += cluster.nodes.reduce((sum, { machine }) => sum + machine.restores, 0);
  return undefined;
}

describe('three nodes that are killed and lose power', () => {
  test('keep every committed entry, and converge', async () => {
    for (let seed = 1; seed <= SEEDS; seed++) expect(await torture(seed), `seed ${seed}`).toBeUndefined();
    expect(totals.commands).toBeGreaterThan(SEEDS * 100);
    expect(totals.restores).toBeGreaterThan(SEEDS);
  }, 1_200_000);

  test('are caught when their disks acknowledge before they sync', async () => {
    let caughtAt: number | undefined;
    for (let seed = 1; seed <= 25 && caughtAt === undefined; seed++) {
      const outcome = await torture(seed, { acknowledgesBeforeSync: true }).catch((error: unknown) => String(error));
      if (outcome !== undefined) caughtAt = seed;
    }
    expect(caughtAt).toBeDefined();
  }, 120_000);
});

test('kinds of entries are part of the stored format', () => {
  expect(ENTRY_KIND).toEqual({ termStart: 0, command: 1, configuration: 2, registration: 3 });
});
