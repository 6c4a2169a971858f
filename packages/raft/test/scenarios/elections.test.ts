/** Elections among several nodes: what partitions, slow disks and closed links do to them. Row numbers: docs/raft.md. */
import { describe, expect, test } from 'vitest';
import { logIndex, nodeId, term } from '../../src/core/ids.ts';
import { configurationOf } from '../../src/core/membership.ts';
import type { AppendRequest } from '../../src/core/message.ts';
import { CoreCluster } from '../../src/testing/core-cluster.ts';
import { bootstrappedDisk, commandOf, type DurableState } from '../../src/testing/core-member.ts';

/** A disk with entries of these terms after the bootstrap configuration. */
function diskOf(names: readonly string[], terms: readonly number[], inTerm: number): DurableState {
  const disk = bootstrappedDisk(configurationOf(names.map(nodeId)));
  terms.forEach((value, position) =>
    disk.entries.push({ term: term(value), bytes: commandOf(`${value}.${position}`) }),
  );
  disk.hardState = { ...disk.hardState, term: term(inTerm) };
  return disk;
}

const termsOf = (cluster: CoreCluster): number[] => cluster.members.map(({ node }) => node.status().term);

test('an election, message by message', () => {
  const cluster = new CoreCluster(['a', 'b', 'c']);
  cluster.run();
  cluster.member('a').step({ type: 'campaign' }, 0);
  cluster.run();
  expect(cluster.transcript()).toMatchInlineSnapshot(`
    [
      "a>b t2 pre-vote? log 1/1",
      "a>c t2 pre-vote? log 1/1",
      "b>a t2 pre-vote granted",
      "c>a t2 pre-vote granted",
      "a>b t2 vote? log 1/1",
      "a>c t2 vote? log 1/1",
      "b>a t2 vote granted",
      "c>a t2 vote granted",
      "a>b t2 append after 1/1 +1 commit 1",
      "a>c t2 append after 1/1 +1 commit 1",
      "b>a t2 appended 2",
      "c>a t2 appended 2",
    ]
  `);
});

describe('pre-vote, CheckQuorum and stickiness together', () => {
  test('a node that was cut off comes back without a change of leader (row 6)', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.isolate('c');
    cluster.advance(60_000);
    expect(termsOf(cluster)).toEqual([2, 2, 2]);
    cluster.heal();
    cluster.advance(2_000);
    expect(cluster.leader?.id).toBe('a');
    expect(termsOf(cluster)).toEqual([2, 2, 2]);
    expect(cluster.member('c').node.status().leader).toBe('a');
  });

  test('a node in a later term with a shorter log can join again (row 7)', () => {
    const names = ['a', 'b', 'c'];
    const cluster = new CoreCluster(names, { disks: { c: diskOf(names, [], 9) } });
    cluster.isolate('c');
    cluster.elect('a');
    cluster.propose('a', 'x');
    cluster.heal();
    cluster.advance(3_000);
    expect(new Set(termsOf(cluster)).size).toBe(1);
    expect(termsOf(cluster)[0]).toBeGreaterThanOrEqual(9);
    expect(cluster.leader?.id).not.toBe('c');
    expect(cluster.member('c').appliedCommands()).toEqual(['x']);
  });

  test('a long log in a low term and a short one in a high term elect a leader (row 8)', () => {
    const names = ['a', 'b', 'c'];
    const disks = { a: diskOf(names, [2, 2, 2], 2), b: diskOf(names, [2], 8) };
    const cluster = new CoreCluster(names, { disks });
    cluster.isolate('c');
    cluster.advance(5_000);
    expect(cluster.leader?.id).toBe('a');
    expect(cluster.leader?.node.status().term).toBeGreaterThan(8);
  });

  test("an old leader's heartbeats do not keep a connected quorum from electing (row 9)", () => {
    const cluster = new CoreCluster(['a', 'b', 'bridge', 'old', 'off']);
    cluster.elect('old');
    // a, b and bridge hear each other; the old leader is left with the bridge, and one is alone.
    cluster.isolate('off');
    for (const name of ['a', 'b']) {
      cluster.cut(name, 'old');
      cluster.cut('old', name);
    }
    cluster.advance(3_000);
    expect(['a', 'b', 'bridge']).toContain(cluster.leader?.id);
    cluster.propose(cluster.leader!.id, 'x');
    cluster.advance(100);
    expect(cluster.member('bridge').appliedCommands()).toEqual(['x']);
  });

  // All ways in which the three links among three nodes can be up, in both directions.
  const LINKS = [
    ['a', 'b'],
    ['b', 'c'],
    ['a', 'c'],
  ] as const;
  test.each([1, 2, 3, 4, 5, 6, 7])('a connected majority has one steady leader, with links %i up (row 10)', (mask) => {
    const cluster = new CoreCluster(['a', 'b', 'c'], { seed: mask });
    LINKS.forEach(([from, to], position) => {
      if (((mask >> position) & 1) === 1) return;
      cluster.cut(from, to);
      cluster.cut(to, from);
    });
    cluster.advance(5_000);
    const { leader } = cluster;
    const inTerm = leader?.node.status().term;
    cluster.propose(leader!.id, 'x');
    cluster.advance(10_000);
    expect([cluster.leader?.id, cluster.leader?.node.status().term]).toEqual([leader!.id, inTerm]);
    expect(cluster.members.filter((member) => member.appliedCommands().includes('x')).length).toBeGreaterThanOrEqual(2);
  });

  test('a leader that sends but hears nobody makes way (row 11)', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.cut('b', 'a');
    cluster.cut('c', 'a');
    cluster.advance(3_000);
    expect(['b', 'c']).toContain(cluster.leader?.id);
  });

  test('a follower that hears but cannot be heard leaves the leader alone (row 11)', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.cut('a', 'c');
    cluster.advance(10_000);
    expect(cluster.leader?.id).toBe('a');
    expect(termsOf(cluster)).toEqual([2, 2, 2]);
  });

  test('a follower that only refuses appends still hears its leader (row 12)', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    // Whatever would bring it up to date is lost; what arrives is refused.
    cluster.lose = ({ from, to }) => from === 'c' || to === 'c';
    const [append] = cluster.delivered
      .filter((message) => message.type === 'append-request' && message.to === 'c')
      .slice(-1);
    for (let round = 0; round < 30; round += 1) {
      cluster.deliver({ ...append!, previousIndex: logIndex(50) } as AppendRequest);
      cluster.advance(100);
    }
    expect(cluster.member('c').node.status()).toMatchObject({ role: 'follower', leader: 'a', term: 2 });
    expect(
      cluster.trace.filter(
        (event) => event.type === 'role' && event.state.role === 'pre-candidate' && event.state.node === 'c',
      ),
    ).toEqual([]);
  });

  test('a vote that takes longer than the election time-out is waited for (row 13)', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.run();
    cluster.slowDisks.add('a');
    cluster.member('a').step({ type: 'campaign' }, 0);
    cluster.member('a').node.setElectionTimeout(5_000);
    cluster.advance(400);
    expect(cluster.member('a').node.status().role).toBe('candidate');
    // Its disk answers at last: only now are the others asked, and its time starts.
    cluster.member('a').completeWrite(cluster.nowMs);
    expect(cluster.member('a').node.nextDeadlineMs()).toBeGreaterThanOrEqual(cluster.nowMs + 500);
    cluster.run();
    expect(cluster.leader?.id).toBe('a');
  });
});

describe('a closed link is evidence', () => {
  test('survivors elect within 200 ms when the link to their leader closes', () => {
    for (let seed = 1; seed <= 50; seed += 1) {
      const cluster = new CoreCluster(['a', 'b', 'c'], { seed });
      cluster.elect('a');
      cluster.crash('a');
      for (const name of ['b', 'c'])
        cluster.member(name).step({ type: 'link-closed', peer: nodeId('a') }, cluster.nowMs);
      cluster.advance(200);
      expect(cluster.leader?.node.status().role).toBe('leader');
      cluster.propose(cluster.leader!.id, 'x');
    }
  });

  test('the pre-vote comes after 10 to 80 ms, and one that splits is tried again three times at most', () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const cluster = new CoreCluster(['a', 'b', 'c'], { seed });
      cluster.elect('a');
      cluster.isolate('b');
      const { node } = cluster.member('b');
      node.step({ type: 'link-closed', peer: nodeId('a') }, cluster.nowMs);
      const delays: number[] = [];
      for (let attempt = 0; attempt < 6; attempt += 1) {
        delays.push(node.nextDeadlineMs() - cluster.nowMs);
        cluster.nowMs = node.nextDeadlineMs();
        node.step({ type: 'tick' }, cluster.nowMs);
      }
      expect(delays.map((delay) => delay <= 80)).toEqual([true, true, true, true, false, false]);
      expect(Math.min(...delays)).toBeGreaterThanOrEqual(10);
    }
  });

  test('it is harmless where the others still hear the leader', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.member('b').step({ type: 'link-closed', peer: nodeId('a') }, cluster.nowMs);
    expect(cluster.member('b').node.status().leader).toBeUndefined();
    cluster.advance(2_000);
    expect(cluster.leader?.id).toBe('a');
    expect(termsOf(cluster)).toEqual([2, 2, 2]);
    expect(cluster.member('b').node.status().leader).toBe('a');
  });

  test('the link of somebody else says nothing about the leader', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.member('b').step({ type: 'link-closed', peer: nodeId('c') }, cluster.nowMs);
    expect(cluster.member('b').node.status().leader).toBe('a');
  });
});

describe('handing over', () => {
  test('a transfer takes one round trip and a vote, without waiting (thesis §3.10)', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.transcript();
    cluster.member('a').step({ type: 'transfer-leadership', to: nodeId('b') }, cluster.nowMs);
    cluster.run();
    expect(cluster.leader?.id).toBe('b');
    expect(cluster.transcript()).toMatchInlineSnapshot(`
      [
        "a>b t2 timeout-now",
        "b>a t3 vote? (transfer) log 2/2",
        "b>c t3 vote? (transfer) log 2/2",
        "c>b t3 vote granted",
        "a>b t3 vote granted",
        "b>a t3 append after 2/2 +1 commit 2",
        "b>c t3 append after 2/2 +1 commit 2",
        "c>b t3 appended 3",
        "a>b t3 appended 3",
      ]
    `);
  });

  test('the target catches up first, with what was proposed before', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.isolate('b');
    cluster.propose('a', 'x');
    cluster.heal();
    cluster.member('a').propose(['y'], cluster.nowMs);
    cluster.member('a').step({ type: 'transfer-leadership', to: nodeId('b') }, cluster.nowMs);
    expect(cluster.member('a').node.status().transferringTo).toBe('b');
    expect(cluster.member('a').propose(['z'], cluster.nowMs)).toMatchObject({ reason: 'transferring' });
    cluster.advance(300);
    expect(cluster.leader?.id).toBe('b');
    expect(cluster.member('b').appliedCommands()).toEqual(['x', 'y']);
  });

  test('what was proposed in the same turn goes with it', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.member('a').propose(['x'], cluster.nowMs);
    cluster.member('a').step({ type: 'transfer-leadership', to: nodeId('b') }, cluster.nowMs);
    cluster.run();
    expect(cluster.leader?.id).toBe('b');
    expect(cluster.member('b').appliedCommands()).toEqual(['x']);
  });

  test('without a target it goes to the voter that has most', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.isolate('b');
    cluster.propose('a', 'x');
    cluster.member('a').step({ type: 'transfer-leadership', to: undefined }, cluster.nowMs);
    cluster.run();
    expect(cluster.leader?.id).toBe('c');
  });

  test.each(['lost', 'closed'] as const)(
    'a transfer whose timeout-now is %s is given up, and proposals go on (row 38)',
    (how) => {
      const cluster = new CoreCluster(['a', 'b', 'c']);
      cluster.elect('a');
      cluster.lose = (message) => message.type === 'timeout-now';
      cluster.member('a').step({ type: 'transfer-leadership', to: nodeId('b') }, cluster.nowMs);
      cluster.advance(499);
      expect(cluster.member('a').propose(['x'], cluster.nowMs)).toMatchObject({ reason: 'transferring' });
      if (how === 'closed') cluster.member('a').step({ type: 'link-closed', peer: nodeId('b') }, cluster.nowMs);
      else cluster.advance(1);
      expect(cluster.member('a').node.status().transferringTo).toBeUndefined();
      cluster.propose('a', 'x');
      expect(cluster.member('a').appliedCommands()).toEqual(['x']);
    },
  );

  test('a leader that is deposed in the middle of a transfer forgets it (row 38)', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.lose = (message) => message.type === 'timeout-now';
    cluster.member('a').step({ type: 'transfer-leadership', to: nodeId('b') }, cluster.nowMs);
    cluster.lose = () => false;
    cluster.member('a').step({ type: 'abdicate' }, cluster.nowMs);
    cluster.advance(2_500);
    cluster.leader!.step({ type: 'transfer-leadership', to: nodeId('a') }, cluster.nowMs);
    cluster.advance(100);
    cluster.propose('a', 'x');
    expect(cluster.member('a').appliedCommands()).toEqual(['x']);
  });

  test('a timeout-now that comes too late deposes nobody (row 33)', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.hold = (message) => message.type === 'timeout-now';
    cluster.member('a').step({ type: 'transfer-leadership', to: nodeId('b') }, cluster.nowMs);
    cluster.advance(600);
    cluster.member('a').step({ type: 'abdicate' }, cluster.nowMs);
    cluster.elect('c');
    cluster.release();
    expect(cluster.leader?.id).toBe('c');
  });

  test('a leader that abdicates sends no more heartbeats, and another one is elected (row 43)', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.slowDisks.add('a');
    cluster.member('a').step({ type: 'abdicate' }, cluster.nowMs);
    cluster.transcript();
    cluster.advance(2_500);
    expect(['b', 'c']).toContain(cluster.leader?.id);
    expect(cluster.transcript().filter((line) => line.startsWith('a>') && line.includes('heartbeat'))).toEqual([]);
  });

  test('a leader that is heard only by members that take no entries makes room for one that can commit (row 43)', () => {
    const cluster = new CoreCluster(['a', 'b', 'c', 'd', 'e']);
    cluster.elect('a');
    // b is well; the disk of c is stuck, and it answers heartbeats; d and e are cut off from a, and hear b.
    cluster.slowDisks.add('c');
    for (const other of ['d', 'e']) {
      cluster.cut('a', other);
      cluster.cut(other, 'a');
    }
    cluster.propose('a', 'x');
    cluster.advance(4_000);
    expect(cluster.leader?.id).toBe('a');
    expect(cluster.member('a').appliedCommands()).toEqual([]);
    cluster.advance(6_000);
    expect(cluster.leader?.id).not.toBe('a');
    cluster.propose(cluster.leader!.id, 'y');
    expect(cluster.leader!.appliedCommands()).toContain('y');
  });

  test('a leader stays while a follower that it needs catches up, however long that takes', () => {
    const cluster = new CoreCluster(['a', 'b', 'c'], { raft: { maxAppendBytes: 1, maxInflightMessages: 1 } });
    cluster.elect('a');
    cluster.isolate('b');
    for (let count = 0; count < 40; count += 1) cluster.propose('a', 'x');
    cluster.crash('c');
    cluster.heal();
    // One entry in 400 ms: each alone is far from a stall, all together take many times as long.
    cluster.hold = ({ from, type }) => from === 'b' && type === 'append-response';
    for (let count = 0; count < 60; count += 1) {
      cluster.advance(400);
      cluster.release();
    }
    expect(cluster.leader?.id).toBe('a');
    expect(cluster.leader?.node.status().term).toBe(2);
    expect(cluster.member('b').appliedCommands().length).toBe(40);
  });
});
