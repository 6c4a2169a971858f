/** Changes of the members: joint consensus, learners, removed leaders, and nodes that know old configurations. */
import { describe, expect, test } from 'vitest';
import type { ConfigurationChange } from '../../src/core/configuration.ts';
import { logIndex, nodeId, term } from '../../src/core/ids.ts';
import { configurationOf } from '../../src/core/membership.ts';
import { CoreCluster } from '../../src/testing/core-cluster.ts';

const add = (name: string): ConfigurationChange => ({ type: 'add-voter', node: nodeId(name) });
const learn = (name: string): ConfigurationChange => ({ type: 'add-learner', node: nodeId(name) });
const remove = (name: string): ConfigurationChange => ({ type: 'remove', node: nodeId(name) });

function change(cluster: CoreCluster, ...changes: ConfigurationChange[]): void {
  const result = cluster.leader!.node.proposeConfiguration(changes, cluster.nowMs);
  if (result.type === 'refused') throw new Error(result.reason);
  cluster.run();
}

const configurationAt = (cluster: CoreCluster, name: string) => cluster.member(name).node.status().configuration;

describe('one at a time', () => {
  test('a learner gets the log, counts for nothing, and is promoted', () => {
    const cluster = new CoreCluster(['a', 'b']);
    cluster.addEmpty('c');
    cluster.elect('a');
    cluster.propose('a', 'x');
    change(cluster, learn('c'));
    cluster.advance(300);
    expect(cluster.member('c').node.status().role).toBe('learner');
    expect(cluster.member('c').appliedCommands()).toEqual(['x']);
    cluster.isolate('b');
    cluster.member('a').propose(['y'], cluster.nowMs);
    cluster.advance(50);
    expect(cluster.member('a').appliedCommands()).toEqual(['x']);
    cluster.heal();
    cluster.advance(300);
    change(cluster, add('c'));
    cluster.advance(300);
    cluster.isolate('b');
    cluster.propose('a', 'z');
    cluster.advance(10);
    expect(cluster.member('c').appliedCommands()).toEqual(['x', 'y', 'z']);
    expect(cluster.member('c').node.status().role).toBe('follower');
  });

  test('a change is refused before the first entry of the term is committed, and while another is pending (row 25)', () => {
    const cluster = new CoreCluster(['a', 'b', 'c', 'd']);
    cluster.run();
    cluster.lose = (message) => message.type === 'append-response';
    cluster.member('a').step({ type: 'campaign' }, 0);
    cluster.run();
    const { node } = cluster.member('a');
    expect(node.status().role).toBe('leader');
    expect(node.proposeConfiguration([remove('d')], 0)).toMatchObject({ reason: 'not-ready' });
    cluster.lose = () => false;
    cluster.advance(200);
    cluster.slowApplies.add('a');
    expect(node.proposeConfiguration([remove('d')], cluster.nowMs)).toMatchObject({ type: 'accepted' });
    cluster.run();
    expect(node.proposeConfiguration([remove('c')], cluster.nowMs)).toMatchObject({ reason: 'change-pending' });
  });

  test('two leaders cannot each remove another node (row 25)', () => {
    const cluster = new CoreCluster(['a', 'b', 'c', 'd']);
    cluster.elect('a');
    // a's removal of d reaches nobody; b is elected and removes c.
    cluster.isolate('a');
    cluster.member('a').node.proposeConfiguration([remove('d')], cluster.nowMs);
    cluster.advance(1_500);
    const second = cluster.leader!;
    expect(second.id).not.toBe('a');
    change(cluster, remove('a'));
    cluster.heal();
    cluster.advance(2_000);
    expect(configurationAt(cluster, second.id).voters).toEqual(['b', 'c', 'd']);
    expect(cluster.leader?.id).not.toBe('a');
  });

  test('a configuration takes effect when its entry is applied, not before', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.slowApplies.add('b');
    change(cluster, remove('c'));
    cluster.advance(10);
    expect(configurationAt(cluster, 'a').voters).toEqual(['a', 'b']);
    expect(configurationAt(cluster, 'b').voters).toEqual(['a', 'b', 'c']);
    // A node with a change that is committed and not applied does not campaign.
    cluster.member('b').step({ type: 'campaign' }, cluster.nowMs);
    cluster.run();
    expect(cluster.member('b').node.status().role).toBe('follower');
  });
});

describe('joint consensus (§6)', () => {
  test('replaces two of three at once, and leaves by itself', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.addEmpty('d');
    cluster.addEmpty('e');
    cluster.elect('a');
    change(cluster, add('d'), add('e'), remove('b'), remove('c'));
    cluster.advance(500);
    expect(configurationAt(cluster, 'a')).toEqual(configurationOf(['a', 'd', 'e'].map(nodeId)));
    cluster.crash('b');
    cluster.crash('c');
    cluster.propose('a', 'x');
    cluster.advance(10);
    for (const name of ['d', 'e']) expect(cluster.member(name).appliedCommands()).toEqual(['x']);
  });

  test('needs both majorities while it lasts, for commits, reads and elections', () => {
    const cluster = new CoreCluster(['a', 'b', 'c', 'd', 'e'], {
      configuration: { ...configurationOf(['a', 'b', 'c'].map(nodeId)), outgoing: ['a', 'd', 'e'].map(nodeId) },
    });
    cluster.elect('a');
    cluster.partition(['a', 'b', 'c'], ['d', 'e']);
    cluster.member('a').propose(['x'], cluster.nowMs);
    cluster.member('a').node.requestRead(cluster.nowMs);
    cluster.run();
    expect(cluster.member('a').appliedCommands()).toEqual([]);
    expect(cluster.member('a').reads).toEqual([]);
    cluster.advance(3_000);
    expect(cluster.leader).toBeUndefined();
    cluster.heal();
    cluster.advance(3_000);
    cluster.propose(cluster.leader!.id, 'y');
    change(cluster);
    cluster.advance(100);
    expect(configurationAt(cluster, cluster.leader!.id)).toMatchObject({ voters: ['a', 'b', 'c'], outgoing: [] });
  });

  test('keeps a demoted voter a voter until it is left', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    for (const name of ['d', 'e']) cluster.addEmpty(name);
    cluster.elect('a');
    cluster.lose = ({ to }) => to === 'd' || to === 'e';
    change(cluster, add('d'), add('e'), learn('c'));
    expect(configurationAt(cluster, 'a')).toMatchObject({
      voters: ['a', 'b', 'd', 'e'],
      outgoing: ['a', 'b', 'c'],
      learnersNext: ['c'],
    });
    expect(cluster.member('c').node.status().role).toBe('follower');
    cluster.lose = () => false;
    cluster.advance(500);
    expect(configurationAt(cluster, 'c')).toMatchObject({
      voters: ['a', 'b', 'd', 'e'],
      outgoing: [],
      learners: ['c'],
      learnersNext: [],
    });
    expect(cluster.member('c').node.status().role).toBe('learner');
  });

  test('is left by the next leader where the first one crashed in it', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.addEmpty('d');
    cluster.elect('a');
    cluster.slowApplies.add('a');
    change(cluster, add('d'), remove('c'));
    cluster.crash('a');
    cluster.slowApplies.clear();
    cluster.advance(5_000);
    cluster.restart('a');
    cluster.advance(3_000);
    expect(configurationAt(cluster, cluster.leader!.id)).toMatchObject({ voters: ['a', 'b', 'd'], outgoing: [] });
  });
});

describe('removal', () => {
  test('a leader that removes itself stays until the others know, and then steps down (row 28)', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    change(cluster, remove('a'));
    cluster.advance(10);
    expect(cluster.member('a').node.status()).toMatchObject({ role: 'learner', leader: undefined });
    for (const name of ['b', 'c']) expect(configurationAt(cluster, name).voters).toEqual(['b', 'c']);
    // The machine is switched off: the two that are left do not need it.
    cluster.crash('a');
    cluster.advance(1_500);
    cluster.propose(cluster.leader!.id, 'x');
    expect(cluster.leader!.appliedCommands()).toEqual(['x']);
  });

  test('a removed node that can be reached learns of it', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    change(cluster, remove('c'));
    cluster.advance(10);
    expect(configurationAt(cluster, 'c').voters).toEqual(['a', 'b']);
    expect(cluster.member('c').node.status().role).toBe('learner');
  });

  test('a removed node that never heard of it disturbs nobody (row 28)', () => {
    const cluster = new CoreCluster(['a', 'b', 'c', 'd']);
    cluster.elect('a');
    cluster.isolate('d');
    change(cluster, remove('d'));
    cluster.advance(200);
    cluster.heal();
    const inTerm = cluster.leader!.node.status().term;
    cluster.advance(10_000);
    expect(cluster.leader?.id).toBe('a');
    expect(cluster.leader?.node.status().term).toBe(inTerm);
  });

  test('once a change is confirmed, any majority of the new voters can go on without the old ones', () => {
    for (const survivors of [
      ['b', 'c'],
      ['a', 'c'],
      ['a', 'b'],
    ]) {
      const cluster = new CoreCluster(['a', 'b', 'c', 'd']);
      cluster.elect('a');
      // Commit notices are lost; only the entries themselves arrive.
      cluster.lose = (message) => message.type === 'append-request' && message.runs.length === 0;
      change(cluster, remove('d'));
      cluster.advance(20);
      cluster.lose = () => false;
      for (const name of ['a', 'b', 'c', 'd']) cluster.crash(name);
      for (const name of survivors) cluster.restart(name);
      cluster.advance(3_000);
      cluster.propose(cluster.leader!.id, 'x');
      expect(cluster.leader!.appliedCommands()).toEqual(['x']);
    }
  });

  test('a change is confirmed also where the log no longer shows what was before it', () => {
    for (const isRestarted of [false, true]) {
      const cluster = new CoreCluster(['a', 'b', 'c', 'd']);
      cluster.elect('a');
      for (const name of ['a', 'b', 'c', 'd']) cluster.member(name).createSnapshot(cluster.nowMs);
      if (isRestarted) {
        for (const name of ['a', 'b', 'c', 'd']) cluster.crash(name);
        for (const name of ['a', 'b', 'c', 'd']) cluster.restart(name);
        cluster.elect('a');
      }
      // Commit notices are lost; only the entries themselves arrive.
      cluster.lose = (message) => message.type === 'append-request' && message.runs.length === 0;
      change(cluster, remove('d'));
      cluster.advance(20);
      expect(cluster.member('a').node.isConfigurationConfirmed).toBe(true);
      cluster.lose = () => false;
      for (const name of ['a', 'b', 'c', 'd']) cluster.crash(name);
      for (const name of ['b', 'c']) cluster.restart(name);
      cluster.advance(3_000);
      expect(cluster.leader).toBeDefined();
    }
  });

  test('a leader that cannot tell whether its configuration was confirmed confirms it, once', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    change(cluster, remove('c'));
    cluster.advance(200);
    for (const name of ['a', 'b']) cluster.member(name).createSnapshot(cluster.nowMs);
    for (const name of ['a', 'b']) cluster.crash(name);
    for (const name of ['a', 'b']) cluster.restart(name);
    expect(cluster.member('a').node.isConfigurationConfirmed).toBe(false);
    cluster.elect('a');
    cluster.advance(1_000);
    expect(cluster.member('a').node.isConfigurationConfirmed).toBe(true);
    expect(
      cluster
        .member('a')
        .logText()
        .match(/configuration/g),
    ).toHaveLength(1);
    for (const name of ['a', 'b']) expect(configurationAt(cluster, name).voters).toEqual(['a', 'b']);
  });

  test('a removed leader that is still needed finishes its work', () => {
    const cluster = new CoreCluster(['a', 'b']);
    cluster.elect('a');
    // a knows that b alone decides now, and has more entries; b does not know and needs a's vote.
    cluster.lose = ({ to, type }) => to === 'b' && type !== 'vote-request' && type !== 'vote-response';
    const runs = (): void => {
      const { node } = cluster.member('a');
      node.proposeConfiguration([remove('a')], cluster.nowMs);
      cluster.run();
    };
    runs();
    const entry = cluster.member('a').node.entriesBetween(logIndex(3), logIndex(3));
    cluster.deliver({
      type: 'append-request',
      from: nodeId('a'),
      to: nodeId('b'),
      term: term(2),
      previousIndex: logIndex(2),
      previousTerm: term(2),
      runs: entry,
      commitIndex: logIndex(2),
    });
    cluster.run();
    expect(configurationAt(cluster, 'a').voters).toEqual(['b']);
    cluster.propose('a', 'x');
    cluster.advance(700);
    expect(cluster.leader).toBeUndefined();
    cluster.lose = () => false;
    cluster.advance(5_000);
    expect(cluster.leader?.id).toBe('b');
    expect(configurationAt(cluster, 'b').voters).toEqual(['b']);
  });
});

describe('nodes that know an old configuration', () => {
  test('a node asked for its vote gives it although it believes to be a learner (row 14)', () => {
    const cluster = new CoreCluster(['a', 'b', 'c'], {
      configuration: configurationOf(['a', 'b'].map(nodeId), [nodeId('c')]),
    });
    cluster.elect('a');
    // The promotion of c is applied at a and b; c has the entry and does not know that it is committed.
    cluster.slowApplies.add('c');
    change(cluster, add('c'));
    cluster.advance(50);
    cluster.crash('a');
    cluster.advance(3_000);
    expect(configurationAt(cluster, 'c').voters).toEqual(['a', 'b']);
    expect(cluster.leader?.id).toBe('b');
  });

  test('a node that forgot its commit index does not count by a configuration that others have left', () => {
    const cluster = new CoreCluster(['a']);
    for (const name of ['b', 'c']) cluster.addEmpty(name);
    cluster.elect('a');
    // a alone decided once; the log holds what came after that.
    for (const name of ['b', 'c']) {
      change(cluster, add(name));
      cluster.advance(300);
    }
    expect(configurationAt(cluster, 'a').voters).toEqual(['a', 'b', 'c']);
    cluster.crash('a');
    cluster.member('a').disk.hardState = { ...cluster.member('a').disk.hardState, commitIndex: logIndex(0) };
    cluster.isolate('a');
    cluster.restart('a');
    cluster.advance(5_000);
    expect(cluster.member('a').node.status().role).not.toBe('leader');
  });

  test('a snapshot brings its configuration, whatever this node had before (row 26)', () => {
    const cluster = new CoreCluster(['a', 'b', 'c', 'd']);
    cluster.elect('a');
    cluster.isolate('d');
    change(cluster, remove('c'));
    cluster.advance(50);
    change(cluster, learn('c'));
    cluster.advance(200);
    cluster.member('a').createSnapshot(cluster.nowMs);
    cluster.heal();
    cluster.advance(500);
    expect(cluster.member('d').node.baseIndex).toBeGreaterThan(2);
    expect(configurationAt(cluster, 'd')).toEqual(configurationAt(cluster, 'a'));
    cluster.crash('d');
    cluster.restart('d');
    expect(configurationAt(cluster, 'd')).toEqual(configurationAt(cluster, 'a'));
  });
});
