import { expect, test } from 'vitest';
import { logIndex, type Term } from '../../src/core/ids.ts';
import { CoreCluster } from '../../src/testing/core-cluster.ts';

// Found by the simulator: the installation took the number of the write that the vote waited for, and released it.
test('a vote that waits for its write is not released by the installation of a snapshot that goes before it', () => {
  const cluster = new CoreCluster(['a', 'b', 'c']);
  cluster.elect('a');
  cluster.slowDisks.add('b');
  cluster.propose('a', 'x');
  const b = cluster.member('b');
  const { id: from } = cluster.member('c');
  const term = (b.node.status().term + 1) as Term;
  const { lastIndex } = b.node.status();
  b.step(
    {
      type: 'receive',
      message: {
        type: 'vote-request',
        from,
        to: b.id,
        term,
        preVote: false,
        transfer: true,
        lastLogIndex: lastIndex,
        lastLogTerm: term,
      },
    },
    cluster.nowMs,
  );
  const { configuration } = b.node.status();
  const metadata = { index: logIndex(lastIndex + 5), term, configuration };
  b.step({ type: 'receive', message: { type: 'snapshot-request', from, to: b.id, term, metadata } }, cluster.nowMs);
  const promises = (): string[] => {
    b.pull();
    return b.outbox.splice(0).map(({ type }) => type);
  };
  promises();

  // The write that was out when all this came.
  b.completeWrite(cluster.nowMs);
  expect(promises()).toEqual([]);
  b.receivedSnapshot = { metadata, state: [] };
  b.completeInstall(cluster.nowMs);
  expect(promises()).toEqual([]);
  expect(b.write?.hardState).toMatchObject({ term, votedFor: from });
  b.completeWrite(cluster.nowMs);
  expect(promises()).toEqual(['vote-response', 'append-response']);
});
