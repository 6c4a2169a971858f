import { expect, test } from 'vitest';
import { logIndex, type ReadRound } from '../../src/core/ids.ts';
import { CoreCluster } from '../../src/testing/core-cluster.ts';

// Found by the simulator: the requests were held for the write and sent after it, whatever had happened meanwhile.
test('a candidate that follows another leader before its own vote is durable asks nobody for votes', () => {
  const cluster = new CoreCluster(['a', 'b', 'c']);
  cluster.run();
  cluster.slowDisks.add('b');
  const { id: from } = cluster.member('c');
  const b = cluster.member('b');
  b.step({ type: 'campaign' }, cluster.nowMs);
  cluster.run();
  const { role, term } = b.node.status();
  expect(role).toBe('candidate');
  const round = 0 as ReadRound;
  b.step(
    { type: 'receive', message: { type: 'heartbeat', from, to: b.id, term, commitIndex: logIndex(0), round } },
    cluster.nowMs,
  );
  expect(b.node.status().role).toBe('follower');
  cluster.delivered.length = 0;
  b.completeWrite(cluster.nowMs);
  cluster.run();
  expect(cluster.delivered.filter((message) => message.type === 'vote-request')).toEqual([]);
});
