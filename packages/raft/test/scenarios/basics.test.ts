import { describe, expect, test } from 'vitest';
import { CoreCluster } from '../../src/testing/core-cluster.ts';

describe('a cluster of three', () => {
  test('elects a leader by itself and replicates', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.advance(1_100);
    const leader = cluster.leader;
    expect(leader?.node.status()).toMatchObject({ role: 'leader', term: 2, isReady: true });
    cluster.propose(leader!.id, 'x', 'y');
    cluster.advance(5);
    for (const member of cluster.members) {
      expect(member.logText()).toBe('1:(configuration) 2:(term-start) 2:x 2:y');
      expect(member.appliedCommands()).toEqual(['x', 'y']);
    }
  });

  test('confirms a read with one round', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    const { node, reads } = cluster.member('a');
    expect(node.requestRead(cluster.nowMs)).toEqual({ type: 'round', round: 1 });
    cluster.run();
    expect(reads).toEqual([{ round: 1, index: 2 }]);
  });

  test('survives the crash of its leader', () => {
    const cluster = new CoreCluster(['a', 'b', 'c']);
    cluster.elect('a');
    cluster.propose('a', 'x');
    cluster.crash('a');
    cluster.advance(1_100);
    expect(cluster.leader?.id).not.toBe('a');
    cluster.propose(cluster.leader!.id, 'y');
    cluster.restart('a');
    cluster.advance(200);
    expect(cluster.member('a').appliedCommands()).toEqual(['x', 'y']);
  });
});

test('a single voter elects itself and commits alone', () => {
  const cluster = new CoreCluster(['a']);
  cluster.elect('a');
  cluster.propose('a', 'x');
  expect(cluster.member('a').appliedCommands()).toEqual(['x']);
  cluster.member('a').node.requestRead(cluster.nowMs);
  cluster.run();
  expect(cluster.member('a').reads).toEqual([{ round: 1, index: 3 }]);
});
