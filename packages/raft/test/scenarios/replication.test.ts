/** Logs of several nodes: figure 8, late messages, lost state, snapshots. Row numbers: docs/raft.md. */
import { describe, expect, test } from 'vitest';
import { logIndex, nodeId, term } from '../../src/core/ids.ts';
import { configurationOf } from '../../src/core/membership.ts';
import { CoreCluster } from '../../src/testing/core-cluster.ts';
import { bootstrappedDisk, commandOf } from '../../src/testing/core-member.ts';

test('replication, message by message', () => {
  const cluster = new CoreCluster(['a', 'b', 'c']);
  cluster.elect('a');
  cluster.transcript();
  cluster.propose('a', 'x', 'y');
  cluster.advance(5);
  expect(cluster.transcript()).toMatchInlineSnapshot(`
    [
      "a>b t2 append after 2/2 +2 commit 2",
      "a>c t2 append after 2/2 +2 commit 2",
      "b>a t2 appended 4",
      "c>a t2 appended 4",
      "a>b t2 append after 4/2 +0 commit 4",
      "a>c t2 append after 4/2 +0 commit 4",
      "b>a t2 appended 4",
      "c>a t2 appended 4",
    ]
  `);
});

/**
 * Figure 8 of the paper: entry 2 of term 2 is on a majority in step (c) and must not be committed by that, for step (d)
 * overwrites it. `commitsByCounting` is told to the followers in (c) as a wrong leader would.
 */
function figure8(commitsByCounting: boolean): CoreCluster {
  const names = ['a', 'b', 'c', 'd', 'e'];
  const configuration = configurationOf(names.map(nodeId));
  const disks = Object.fromEntries(names.map((name) => [name, bootstrappedDisk(configuration)]));
  const add = (name: string, inTerm: number, text: string): void => {
    disks[name]!.entries.push({ term: term(inTerm), bytes: commandOf(text) });
    disks[name]!.hardState = { ...disks[name]!.hardState, term: term(inTerm) };
  };
  // (a) a led term 2 and replicated to b; (b) e was elected in term 3 by c, d and itself, and wrote another entry.
  for (const name of ['a', 'b']) add(name, 2, 'two');
  add('e', 3, 'three');
  for (const name of ['a', 'c', 'd']) disks[name]!.hardState = { ...disks[name]!.hardState, term: term(3) };
  const cluster = new CoreCluster(names, { disks });
  // (c) e is gone; a is elected in term 4 and brings entry 2 to c. Nothing of term 4 gets there.
  cluster.isolate('e');
  cluster.lose = ({ from, type }) => from === 'a' && type === 'append-request';
  cluster.run();
  cluster.member('a').step({ type: 'campaign' }, cluster.nowMs);
  cluster.run();
  const runs = cluster.member('a').node.entriesBetween(logIndex(2), logIndex(2));
  const commitIndex = logIndex(commitsByCounting ? 2 : 1);
  for (const to of ['b', 'c']) {
    cluster.deliver({
      type: 'append-request',
      from: nodeId('a'),
      to: nodeId(to),
      term: term(4),
      previousIndex: logIndex(1),
      previousTerm: term(1),
      runs,
      commitIndex,
    });
  }
  cluster.run();
  return cluster;
}

/** Nobody hears a any more; once that is noticed, e is the first to campaign. */
function electE(cluster: CoreCluster): void {
  cluster.crash('a');
  cluster.advance(500);
  cluster.heal();
  cluster.lose = () => false;
  // The first answer tells it the term.
  cluster.member('e').step({ type: 'campaign' }, cluster.nowMs);
  cluster.run();
  cluster.elect('e');
}

describe('§5.4.2, figure 8', () => {
  test('an entry of an earlier term on a majority is not committed, and may be overwritten (row 15)', () => {
    const cluster = figure8(false);
    expect(cluster.member('c').logText()).toBe('1:(configuration) 2:two');
    expect(cluster.member('a').node.status()).toMatchObject({ role: 'leader', term: 4, commitIndex: 1 });
    // (d) a is gone, e is elected and overwrites entry 2 everywhere.
    electE(cluster);
    for (const name of ['b', 'c', 'd', 'e']) expect(cluster.member(name).appliedCommands()).toEqual(['three']);
  });

  test('and a leader that commits by counting is caught', () => {
    const cluster = figure8(true);
    expect(() => electE(cluster)).toThrow(/completeness|state machine safety|conflicts below commit/);
  });

  test('it is committed with the first entry of the new term', () => {
    const cluster = figure8(false);
    cluster.lose = () => false;
    cluster.advance(200);
    expect(cluster.member('c').appliedCommands()).toEqual(['two']);
  });
});

describe('late messages', () => {
  test('a delayed append does not truncate what was acknowledged after it (row 16)', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.hold = ({ to, type }) => to === 'b' && type === 'append-request';
    cluster.propose('a', 'x');
    const [late] = cluster.held;
    cluster.hold = () => false;
    cluster.release();
    cluster.propose('a', 'y', 'z');
    cluster.deliver(late!);
    cluster.run();
    expect(cluster.member('b').logText()).toContain('2:x 2:y 2:z');
    expect(cluster.member('b').disk.entries).toHaveLength(5);
  });

  test('every message delivered twice, and old ones again, changes nothing', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.propose('a', 'x');
    cluster.crash('a');
    cluster.advance(2_000);
    cluster.restart('a');
    cluster.propose(cluster.leader!.id, 'y');
    cluster.advance(200);
    const logs = cluster.members.map((member) => member.logText());
    for (const message of cluster.delivered.splice(0)) cluster.deliver(message);
    cluster.run();
    cluster.advance(200);
    expect(cluster.members.map((member) => member.logText())).toEqual(logs);
  });
});

/** a leads term 2 and is cut off with b, whose disk is slow; c, d and e go on without them. */
function replacedBeforeDurable(): CoreCluster {
  const cluster = new CoreCluster(['a', 'b', 'c', 'd', 'e']);
  cluster.elect('a');
  cluster.partition(['a', 'b'], ['c', 'd', 'e']);
  cluster.slowDisks.add('b');
  cluster.propose('a', 'old-1');
  // The write of old-1 is out at b; old-2 waits for the next one.
  cluster.propose('a', 'old-2');
  cluster.advance(1_200);
  return cluster;
}

describe('acknowledgements of replaced entries (row 22)', () => {
  test('are never sent', () => {
    const cluster = replacedBeforeDurable();
    const leader = cluster.leader!.id;
    expect(['c', 'd', 'e']).toContain(leader);
    cluster.partition(['a'], ['b', 'c', 'd', 'e']);
    cluster.propose(leader, 'new');
    cluster.advance(300);
    cluster.transcript();
    cluster.slowDisks.clear();
    cluster.heal();
    cluster.run();
    expect(cluster.transcript().filter((line) => line.startsWith('b>a'))).toEqual([]);
    cluster.advance(1_000);
    for (const { appliedCommands } of cluster.members.map((member) => ({ appliedCommands: member.appliedCommands() })))
      expect(appliedCommands).toEqual(['new']);
  });

  test('would be caught if they were: the old leader would commit what nobody has', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.slowDisks.add('b');
    cluster.isolate('c');
    cluster.propose('a', 'old-1');
    const matchIndex = cluster.member('a').node.status().lastIndex;
    expect(() => {
      cluster.deliver({
        type: 'append-response',
        from: nodeId('b'),
        to: nodeId('a'),
        term: term(2),
        success: true,
        matchIndex,
        hintIndex: matchIndex,
        hintTerm: term(2),
      });
      cluster.run();
    }).toThrow('durable commit');
  });
});

describe('a log that was lost (row 24)', () => {
  test('the node stops answering when its leader counts on what it had', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.propose('a', 'x');
    cluster.crash('b');
    cluster.member('b').disk.entries.length = 1;
    cluster.member('b').disk.hardState = { ...cluster.member('b').disk.hardState, commitIndex: logIndex(0) };
    cluster.restart('b');
    cluster.advance(200);
    expect(cluster.member('b').forgotten).toMatchObject({ leader: 'a', acknowledgedIndex: 3, lastIndex: 1 });
    cluster.transcript();
    cluster.advance(5_000);
    expect(cluster.transcript().filter((line) => line.startsWith('b>'))).toEqual([]);
  });
});

describe('§7 snapshots', () => {
  function withLaggard(keep = 0): CoreCluster {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.isolate('c');
    cluster.propose('a', 'x', 'y');
    cluster.member('a').createSnapshot(cluster.nowMs, keep);
    cluster.propose('a', 'z');
    return cluster;
  }

  test('a follower behind the compacted log gets the snapshot and the rest', () => {
    const cluster = withLaggard();
    cluster.heal();
    cluster.transcript();
    cluster.advance(400);
    expect(cluster.transcript().some((line) => line.includes('snapshot 4/2'))).toBe(true);
    expect(cluster.member('c').appliedCommands()).toEqual(['x', 'y', 'z']);
    expect(cluster.member('c').node.baseIndex).toBe(4);
    cluster.crash('c');
    cluster.restart('c');
    cluster.advance(200);
    expect(cluster.member('c').appliedCommands()).toEqual(['x', 'y', 'z']);
  });

  test('entries kept before the snapshot save a slow follower from it', () => {
    const cluster = withLaggard(2);
    cluster.heal();
    cluster.advance(400);
    expect(cluster.member('c').node.baseIndex).toBe(0);
    expect(cluster.member('c').appliedCommands()).toEqual(['x', 'y', 'z']);
  });

  test('a snapshot that the log contains already leaves the log alone', () => {
    const cluster = withLaggard();
    const c = cluster.member('c');
    const metadata = { ...cluster.member('a').disk.snapshot.metadata };
    cluster.heal();
    // The entries are there, but not known to be committed.
    cluster.deliver({
      type: 'append-request',
      from: nodeId('a'),
      to: nodeId('c'),
      term: term(2),
      previousIndex: logIndex(2),
      previousTerm: term(2),
      runs: cluster.member('b').node.entriesBetween(logIndex(3), logIndex(5)),
      commitIndex: logIndex(2),
    });
    cluster.deliver({ type: 'snapshot-request', from: nodeId('a'), to: nodeId('c'), term: term(2), metadata });
    cluster.run();
    expect(c.node.baseIndex).toBe(0);
    expect(c.node.status()).toMatchObject({ lastIndex: 5 });
    expect(c.node.status().commitIndex).toBeGreaterThanOrEqual(4);
  });

  test('a snapshot no newer than what is committed is answered and ignored', () => {
    const cluster = withLaggard();
    const metadata = { ...cluster.member('a').disk.snapshot.metadata, index: logIndex(1), term: term(1) };
    cluster.transcript();
    cluster.deliver({ type: 'snapshot-request', from: nodeId('a'), to: nodeId('b'), term: term(2), metadata });
    cluster.run();
    expect(cluster.transcript().at(-1)).toMatch(/b>a t2 appended/);
    expect(cluster.member('b').node.baseIndex).toBe(0);
  });

  test('nothing is written or acknowledged behind an installation before it is done', () => {
    const cluster = withLaggard();
    cluster.slowDisks.add('c');
    cluster.heal();
    cluster.advance(400);
    const c = cluster.member('c');
    expect(c.install).toMatchObject({ index: 4 });
    expect(c.write).toBeUndefined();
    cluster.transcript();
    cluster.propose('a', 'late');
    cluster.advance(50);
    expect(cluster.transcript().filter((line) => line.startsWith('c>a') && line.includes('appended'))).toEqual([]);
    // The entry after the snapshot has arrived; the next one waits for its acknowledgement.
    expect(c.node.status().lastIndex).toBe(5);
    // The installation is acknowledged alone; the entries behind it wait for their own write.
    c.completeInstall(cluster.nowMs);
    c.pull();
    const acknowledged = c.outbox.flatMap((message) =>
      message.type === 'append-response' ? [message.matchIndex] : [],
    );
    expect(acknowledged).toEqual([4]);
    expect(c.write).toMatchObject({ lastIndex: 5 });
    cluster.slowDisks.clear();
    cluster.advance(200);
    expect(c.appliedCommands()).toEqual(['x', 'y', 'z', 'late']);
  });

  test('a node starts from a snapshot, or from one with entries before and after it (row 29)', () => {
    const cluster = new CoreCluster(['a']);
    cluster.elect('a');
    cluster.propose('a', '1', '2', '3', '4');
    cluster.member('a').createSnapshot(cluster.nowMs, 2);
    cluster.propose('a', '5');
    cluster.crash('a');
    cluster.restart('a');
    cluster.elect('a');
    expect(cluster.member('a').appliedCommands()).toEqual(['1', '2', '3', '4', '5']);
  });

  test('compaction after every few entries, with followers that come and go, loses nothing (row 30)', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    const expected: string[] = [];
    for (let count = 0; count < 60; count += 1) {
      if (count % 7 === 0) cluster.isolate('c');
      if (count % 7 === 4) cluster.heal();
      expected.push(`${count}`);
      cluster.propose('a', `${count}`);
      if (count % 3 === 0) for (const member of cluster.members) member.createSnapshot(cluster.nowMs, 1);
      cluster.advance(120);
    }
    cluster.heal();
    cluster.advance(1_000);
    for (const member of cluster.members) expect(member.appliedCommands()).toEqual(expected);
  });
});

test('everything unsynced lost on all nodes at once takes back nothing that was acknowledged (row 39)', () => {
  const cluster = new CoreCluster(['a', 'b', 'c']);
  cluster.elect('a');
  cluster.propose('a', 'x');
  for (const name of ['a', 'b', 'c']) cluster.slowDisks.add(name);
  cluster.propose('a', 'y');
  expect(cluster.member('a').node.status().commitIndex).toBe(3);
  for (const name of ['a', 'b', 'c']) cluster.crash(name);
  cluster.slowDisks.clear();
  for (const name of ['a', 'b', 'c']) cluster.restart(name);
  cluster.advance(2_000);
  for (const member of cluster.members) expect(member.appliedCommands()).toEqual(['x']);
});

test('reads at an old leader are not confirmed after another one was elected (row 33)', () => {
  const cluster = new CoreCluster(['a', 'b', 'c']);
  cluster.elect('a');
  // a stands still, in the middle of everything.
  cluster.isolate('a');
  for (const name of ['b', 'c']) cluster.member(name).step({ type: 'link-closed', peer: nodeId('a') }, cluster.nowMs);
  const stalled = cluster.member('a');
  cluster.advance(300);
  cluster.propose(cluster.leader!.id, 'x');
  cluster.heal();
  expect(stalled.node.status().role).toBe('leader');
  stalled.node.requestRead(cluster.nowMs);
  cluster.run();
  expect(stalled.reads).toEqual([]);
  expect(stalled.node.status().role).toBe('follower');
});
