/** One test per claim about the log: replication (§5.3), commitment (§5.4.2), persistence (§5, figure 2; thesis §10.2.1), reads (§8, thesis §6.4). */
import { describe, expect, test } from 'vitest';
import { ENTRY_KIND } from '../../src/core/entry-run.ts';
import type { Message } from '../../src/core/message.ts';
import { accepted, appendRequest, heartbeat, logIndex, nodeId, refused, Subject, term } from './helpers.ts';

const appends = (messages: readonly Message[], to?: string) =>
  messages.flatMap((message) =>
    message.type === 'append-request' && (to === undefined || message.to === to) ? [message] : [],
  );
const answers = (messages: readonly Message[]) =>
  messages.flatMap((message) => (message.type === 'append-response' ? [message] : []));

/** A leader in term 1 whose first entry is committed by `b` and `c`. */
function leader(names?: readonly string[], logTerms?: readonly number[], inTerm?: number, raft = {}): Subject {
  const subject = new Subject(names, logTerms, inTerm, raft);
  subject.becomeLeader();
  const { term: current, lastIndex } = subject.status;
  for (const peer of ['b', 'c']) subject.receive(accepted(peer, current, lastIndex));
  return subject;
}

function receiveHeartbeatResponse(subject: Subject, from: string, round = 0): Message[] {
  return subject.receive({
    type: 'heartbeat-response',
    from: nodeId(from),
    to: nodeId('a'),
    term: subject.status.term,
    round: round as never,
  });
}

describe('§5.3 log replication', () => {
  test('a leader opens its term with an entry of its own (§8)', () => {
    const subject = new Subject(['a', 'b', 'c'], [1], 1, {
      termStartPayload: (lastIndex) => Uint8Array.of(lastIndex, 7),
    });
    subject.becomeLeader();
    expect(subject.member.node.entriesBetween(logIndex(2), logIndex(2))[0]?.payload()).toEqual(
      Uint8Array.of(ENTRY_KIND.termStart, 1, 7),
    );
  });

  test('proposals of one turn go out as one run, in one message a peer', () => {
    const subject = leader();
    expect(subject.member.propose(['x', 'y'], 0)).toEqual({ type: 'accepted', firstIndex: 2, term: 1 });
    expect(subject.member.propose(['z'], 0)).toEqual({ type: 'accepted', firstIndex: 4, term: 1 });
    const sent = appends(subject.takeUnsettled());
    expect(
      sent.map(({ to, previousIndex, previousTerm, runs }) => [
        to,
        previousIndex,
        previousTerm,
        runs.length,
        runs[0]?.count,
      ]),
    ).toEqual([
      ['b', 1, 1, 1, 3],
      ['c', 1, 1, 1, 3],
    ]);
  });

  test('an entry is committed once a majority has it, and followers learn that with the next append', () => {
    const subject = leader();
    subject.member.propose(['x'], 0);
    subject.settle();
    subject.receive(accepted('b', 1, 2));
    expect(subject.status).toMatchObject({ commitIndex: 2, appliedIndex: 2 });
    subject.member.propose(['y'], 0);
    expect(appends(subject.settle())).toMatchObject([
      { to: 'b', commitIndex: 2 },
      { to: 'c', commitIndex: 2 },
    ]);
  });

  test('or at once where somebody at the follower waits for it, and only once', () => {
    const subject = leader();
    subject.member.propose(['x'], 0, nodeId('b'));
    subject.settle();
    expect(appends(subject.receive(accepted('c', 1, 2)))).toMatchObject([
      { to: 'b', runs: [], previousIndex: 2, commitIndex: 2 },
    ]);
    expect(appends(subject.receive(accepted('b', 1, 2)))).toEqual([]);
    subject.member.propose(['y'], 0);
    subject.settle();
    expect(appends(subject.receive(accepted('c', 1, 3)))).toEqual([]);
  });

  test('entries that are due tell it to who waits, without an append of its own', () => {
    const subject = leader();
    subject.member.propose(['x'], 0, nodeId('b'));
    subject.settle();
    subject.member.step({ type: 'receive', message: accepted('c', 1, 2) }, 0);
    subject.member.propose(['y'], 0);
    expect(appends(subject.settle(), 'b')).toMatchObject([{ runs: [{ firstIndex: 3 }], commitIndex: 2 }]);
  });

  test('or within 5 ms, and only once', () => {
    const subject = leader();
    subject.nowMs += 10;
    subject.member.step({ type: 'tick' }, subject.nowMs);
    subject.member.propose(['x'], subject.nowMs);
    subject.settle();
    subject.receive(accepted('b', 1, 2));
    expect(subject.member.node.nextDeadlineMs()).toBe(subject.nowMs + 5);
    expect(appends(subject.timeOut())).toMatchObject([
      { to: 'b', runs: [], previousIndex: 2, commitIndex: 2 },
      { to: 'c', runs: [], previousIndex: 2, commitIndex: 2 },
    ]);
    expect(subject.member.node.nextDeadlineMs()).toBeGreaterThan(subject.nowMs + 5);
  });

  test('a follower takes entries that follow a point it shares, and answers when they are durable', () => {
    const subject = new Subject(['a', 'b', 'c'], [1, 2]);
    subject.member.step({ type: 'receive', message: appendRequest('b', 2, [2, 2], [2, 2]) }, 0);
    expect(subject.takeUnsettled()).toEqual([]);
    expect(subject.status).toMatchObject({ lastIndex: 4, stableIndex: 2 });
    expect(answers(subject.settle())).toMatchObject([{ success: true, matchIndex: 4 }]);
    expect(subject.status.stableIndex).toBe(4);
  });

  // The follower's log: entries 1 and 2 of term 1, 3 and 4 of term 2.
  test.each([
    ['a gap', [5, 2], { matchIndex: 5, hintIndex: 4, hintTerm: 2 }],
    ['another term at the point', [4, 3], { matchIndex: 4, hintIndex: 4, hintTerm: 2 }],
    ['a term that ended before the point', [4, 1], { matchIndex: 4, hintIndex: 2, hintTerm: 1 }],
  ] as const)('a follower refuses after %s, with the last point that may be shared', (_, previous, expected) => {
    const subject = new Subject(['a', 'b', 'c'], [1, 1, 2, 2], 5);
    expect(answers(subject.receive(appendRequest('b', 5, previous, [5])))).toMatchObject([
      { success: false, ...expected },
    ]);
    expect(subject.status.lastIndex).toBe(4);
  });

  // Figure 7: the leader of term 8 has entries 1 to 10; its followers' logs are as in (a) to (f).
  const LEADER = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
  test.each([
    ['(a) one entry missing', [1, 1, 1, 4, 4, 5, 5, 6, 6]],
    ['(b) many entries missing', [1, 1, 1, 4]],
    ['(c) one entry too many', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6]],
    ['(d) two entries of a later term', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7]],
    ['(e) a term of its own', [1, 1, 1, 4, 4, 4, 4]],
    ['(f) two terms of its own', [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]],
  ])('figure 7: a leader makes the follower with %s equal to itself, within three refusals', (_, followerTerms) => {
    const lead = new Subject(['a', 'b', 'c'], LEADER, 7);
    const follow = new Subject(['a', 'b', 'c'], followerTerms, 7);
    const toFollower = (message: Message): Message[] =>
      follow.receive({ ...message, to: nodeId('a'), from: nodeId('b') });
    const toLeader = (message: Message): Message[] => lead.receive({ ...message, to: nodeId('a'), from: nodeId('b') });
    let inFlight = appends(lead.becomeLeader(), 'b');
    let refusals = 0;
    for (let turn = 0; turn < 20 && inFlight.length > 0; turn += 1) {
      const answered = inFlight.flatMap((message) => answers(toFollower(message)));
      refusals += answered.filter(({ success }) => !success).length;
      inFlight = answered.flatMap((message) => appends(toLeader(message), 'b'));
    }
    expect(
      follow.member
        .logText()
        .split(' ')
        .map((entry) => Number(entry[0])),
    ).toEqual([...LEADER, 8]);
    expect(refusals).toBeLessThanOrEqual(3);
  });

  test('a follower drops what conflicts and all that follows it (row 17)', () => {
    const subject = new Subject(['a', 'b', 'c'], [1, 1, 2, 2, 2], 3);
    subject.receive(appendRequest('b', 3, [2, 1], [3], 0, 'n'));
    expect(subject.member.logText()).toBe('1:1 1:2 3:n3');
    expect(subject.member.disk.entries).toHaveLength(3);
  });

  test('an append that ends early truncates nothing: it may be late (row 16)', () => {
    const subject = new Subject();
    subject.receive(appendRequest('b', 1, [0, 0], [1, 1, 1]));
    const [answer] = answers(subject.receive(appendRequest('b', 1, [0, 0], [1])));
    expect(answer).toMatchObject({ success: true, matchIndex: 1 });
    expect(subject.status.lastIndex).toBe(3);
  });

  test('a point below the commit index is shared, also where it is compacted away (row 19)', () => {
    const subject = new Subject();
    subject.receive(appendRequest('b', 1, [0, 0], [1, 1, 1, 1], 4));
    subject.member.createSnapshot(subject.nowMs);
    expect(subject.member.node.baseIndex).toBe(4);
    const [answer] = answers(subject.receive(appendRequest('b', 1, [1, 1], [1, 1])));
    expect(answer).toMatchObject({ success: true, matchIndex: 4 });
    subject.receive(appendRequest('b', 1, [2, 1], [1, 1, 1]));
    expect(subject.status.lastIndex).toBe(5);
  });

  test('a follower commits no further than what the leader verified (row 18)', () => {
    const subject = new Subject(['a', 'b', 'c'], [1, 1, 1, 1], 2);
    // Point 2 is shared; entries 3 and 4 may be another leader's.
    subject.receive(appendRequest('b', 2, [2, 1], [], 9));
    expect(subject.status.commitIndex).toBe(2);
    subject.receive(appendRequest('b', 2, [2, 1], [2], 9));
    expect(subject.status).toMatchObject({ commitIndex: 3, lastIndex: 3 });
  });

  test('heartbeats carry min(commit, match) (row 18)', () => {
    const subject = leader(['a', 'b', 'c', 'd', 'e']);
    const beats = subject
      .timeOut()
      .concat(subject.timeOut())
      .filter((message) => message.type === 'heartbeat');
    expect(beats.slice(-4).map((beat) => [beat.to, beat.commitIndex])).toEqual([
      ['b', 1],
      ['c', 1],
      ['d', 0],
      ['e', 0],
    ]);
  });

  test('a malformed append is ignored', () => {
    const subject = new Subject(['a', 'b', 'c'], [1], 2);
    const gap = { ...appendRequest('b', 2, [1, 1], [2]), previousIndex: logIndex(0), previousTerm: term(0) };
    const fallingTerm = appendRequest('b', 2, [1, 1], [2, 1]);
    const futureTerm = appendRequest('b', 2, [1, 1], [3]);
    for (const message of [gap, fallingTerm, futureTerm]) expect(subject.receive(message)).toEqual([]);
    expect(subject.status.lastIndex).toBe(1);
  });

  test('an acknowledgement of what was never sent counts for nothing', () => {
    const subject = leader();
    subject.receive(accepted('b', 1, 999));
    subject.receive(accepted('z', 1, 1));
    expect(subject.status.commitIndex).toBe(1);
  });
});

describe('progress of a follower', () => {
  test('at first one append at a time, and the next after an answer or a heartbeat', () => {
    const subject = new Subject();
    subject.becomeLeader();
    subject.member.propose(['x'], 0);
    expect(appends(subject.settle())).toEqual([]);
    expect(appends(receiveHeartbeatResponse(subject, 'b'), 'b')).toMatchObject([{ previousIndex: 0 }]);
    expect(appends(subject.receive(accepted('b', 1, 2)), 'b')).toEqual([]);
    subject.member.propose(['y'], 0);
    expect(appends(subject.settle(), 'b')).toMatchObject([{ previousIndex: 2 }]);
  });

  test('then ahead of acknowledgements, within the window of messages', () => {
    const subject = leader(undefined, undefined, undefined, { maxInflightMessages: 3 });
    const sent: Message[] = [];
    for (let count = 0; count < 5; count += 1) {
      subject.member.propose(['x'], 0);
      sent.push(...appends(subject.settle(), 'b'));
    }
    expect(sent).toMatchObject([{ previousIndex: 1 }, { previousIndex: 2 }, { previousIndex: 3 }]);
    // Two arrived: the rest goes out in one.
    const next = appends(subject.receive(accepted('b', 1, 3)), 'b');
    expect(next).toHaveLength(1);
    expect(next[0]?.runs.map((run) => run.count)).toEqual([1, 1]);
  });

  test('and within the window of bytes, in messages of bounded size', () => {
    const subject = leader(undefined, undefined, undefined, { maxInflightBytes: 100, maxAppendBytes: 40 });
    subject.member.propose(
      Array.from({ length: 10 }, () => 'x'.repeat(19)),
      0,
    );
    const sent = appends(subject.settle(), 'b');
    expect(sent.map(({ runs }) => runs.reduce((sum, run) => sum + run.byteLength, 0))).toEqual([40, 40, 20]);
  });

  test('an entry larger than a message travels alone', () => {
    const subject = leader(undefined, undefined, undefined, { maxAppendBytes: 10 });
    subject.member.propose(['x'.repeat(50), 'y'], 0);
    expect(appends(subject.settle(), 'b').map(({ runs }) => runs[0]?.count)).toEqual([1, 1]);
  });

  test('a refusal leads to the hinted point, never to the match or below it (row 21)', () => {
    const subject = leader(['a', 'b', 'c'], [1, 1, 1, 1], 1);
    subject.member.propose(['x', 'y', 'z'], 0);
    subject.settle();
    // It lost entries after 6 on their way; 5 is acknowledged.
    expect(appends(subject.receive(refused('b', 2, 8, [6, 2])), 'b')).toMatchObject([{ previousIndex: 6 }]);
    expect(appends(subject.receive(refused('b', 2, 6, [0, 0])), 'b')).toMatchObject([{ previousIndex: 5 }]);
    // A late refusal of what has been acknowledged since changes nothing.
    expect(appends(subject.receive(refused('b', 2, 4, [1, 1])), 'b')).toEqual([]);
  });

  test('a refusal with a hint below the match leads to the match (row 21)', () => {
    const subject = leader(['a', 'b', 'c'], [1, 1, 1, 1], 1);
    subject.member.propose(['x', 'y'], 0);
    subject.settle();
    expect(appends(subject.receive(refused('b', 2, 7, [2, 1])), 'b')).toMatchObject([{ previousIndex: 5 }]);
  });

  test('an unreachable peer is probed from what it has', () => {
    const subject = leader();
    subject.member.propose(['x'], 0);
    subject.settle();
    subject.member.step({ type: 'unreachable', peer: nodeId('b') }, 0);
    expect(appends(subject.settle(), 'b')).toMatchObject([{ previousIndex: 1 }]);
    subject.member.propose(['y'], 0);
    expect(appends(subject.settle(), 'b')).toEqual([]);
  });

  test('an append lost without a trace is found out with a heartbeat', () => {
    const subject = leader();
    subject.member.propose(['x'], 0);
    subject.settle();
    subject.nowMs += 200;
    expect(appends(receiveHeartbeatResponse(subject, 'b'), 'b')).toMatchObject([{ previousIndex: 2, runs: [] }]);
    expect(appends(subject.receive(refused('b', 1, 2, [1, 1])), 'b')).toMatchObject([
      { previousIndex: 1, runs: [{ count: 1 }] },
    ]);
  });

  test('one that needs a compacted entry gets the snapshot, and goes on after it', () => {
    const subject = leader(['a', 'b', 'c', 'd']);
    subject.member.propose(['x', 'y'], 0);
    subject.settle();
    for (const peer of ['b', 'c']) subject.receive(accepted(peer, 1, 3));
    subject.member.createSnapshot(0);
    receiveHeartbeatResponse(subject, 'd');
    expect(appends(subject.receive(refused('d', 1, 0, [0, 0])), 'd')).toEqual([]);
    expect(subject.member.snapshotsToSend).toEqual([{ to: 'd', atLeast: 3 }]);
    // Nothing more until it has arrived.
    expect(appends(receiveHeartbeatResponse(subject, 'd'), 'd')).toEqual([]);
    subject.member.step({ type: 'snapshot-sent', peer: nodeId('d'), index: logIndex(3), ok: true }, 0);
    expect(appends(receiveHeartbeatResponse(subject, 'd'), 'd')).toMatchObject([{ previousIndex: 3 }]);
  });

  test('a snapshot that failed is tried again after a sign of life', () => {
    const subject = leader(['a', 'b', 'c', 'd']);
    subject.member.createSnapshot(0);
    receiveHeartbeatResponse(subject, 'd');
    expect(subject.member.snapshotsToSend.splice(0)).toHaveLength(1);
    subject.member.step({ type: 'snapshot-sent', peer: nodeId('d'), index: logIndex(1), ok: false }, 0);
    subject.settle();
    expect(subject.member.snapshotsToSend).toEqual([]);
    receiveHeartbeatResponse(subject, 'd');
    expect(subject.member.snapshotsToSend).toHaveLength(1);
  });
});

describe('§5.4.2 committing entries from earlier terms', () => {
  test('a leader does not commit an older entry by counting replicas (row 15)', () => {
    const subject = new Subject(['a', 'b', 'c'], [1, 2], 2);
    subject.becomeLeader();
    expect(subject.status).toMatchObject({ term: 3, lastIndex: 3 });
    subject.receive(accepted('b', 3, 2));
    subject.receive(accepted('c', 3, 2));
    expect(subject.status.commitIndex).toBe(0);
    subject.receive(accepted('b', 3, 3));
    expect(subject.status.commitIndex).toBe(3);
  });
});

describe('§5 persistence, thesis §10.2.1', () => {
  test('a leader sends while its own write runs, and counts itself when it is durable', () => {
    const subject = leader();
    subject.member.propose(['x'], 0);
    expect(appends(subject.takeUnsettled())).toHaveLength(2);
    subject.member.step({ type: 'receive', message: accepted('b', 1, 2) }, 0);
    expect(subject.status.commitIndex).toBe(1);
    subject.settle();
    expect(subject.status.commitIndex).toBe(2);
  });

  test('followers alone may commit before the leader has written', () => {
    const subject = leader();
    subject.member.propose(['x'], 0);
    subject.takeUnsettled();
    for (const peer of ['b', 'c']) subject.member.step({ type: 'receive', message: accepted(peer, 1, 2) }, 0);
    expect(subject.status).toMatchObject({ commitIndex: 2, stableIndex: 1 });
  });

  test('one write is out at a time; what comes meanwhile is in the next one', () => {
    const subject = leader();
    subject.member.propose(['x'], 0);
    subject.takeUnsettled();
    const first = subject.member.write;
    subject.member.propose(['y'], 0);
    subject.takeUnsettled();
    subject.member.propose(['z'], 0);
    subject.takeUnsettled();
    expect(subject.member.write).toBe(first);
    subject.member.completeWrite(0);
    subject.takeUnsettled();
    expect(subject.member.write).toMatchObject({ write: first!.write + 1, lastIndex: 4, hardState: undefined });
    expect(subject.member.write?.runs.map((run) => run.count)).toEqual([1, 1]);
  });

  test('an acknowledgement of another write than the one that is out is ignored', () => {
    const subject = leader();
    subject.member.propose(['x'], 0);
    subject.takeUnsettled();
    const { write, lastIndex, term: lastTerm } = subject.member.write!;
    for (const other of [write - 1, write + 1])
      subject.member.step({ type: 'persisted', write: other, term: lastTerm, lastIndex }, 0);
    expect(subject.status.stableIndex).toBe(1);
  });

  test('a late acknowledgement of entries that were replaced meanwhile counts for nothing (row 22)', () => {
    const subject = new Subject(['a', 'b', 'c'], [1], 2);
    subject.receive(heartbeat('b', 2));
    subject.member.step({ type: 'receive', message: appendRequest('b', 2, [1, 1], [2, 2], 0, 'old') }, 0);
    subject.takeUnsettled();
    subject.member.step({ type: 'receive', message: appendRequest('b', 2, [3, 2], [2], 0, 'old') }, 0);
    subject.member.step({ type: 'receive', message: appendRequest('c', 3, [1, 1], [3, 3, 3], 0, 'new') }, 0);
    // The write with the old entries 2 and 3 is durable: the new ones are not, and the old leader hears nothing.
    subject.member.completeWrite(0);
    expect(answers(subject.takeUnsettled())).toEqual([]);
    expect(subject.status).toMatchObject({ lastIndex: 4, stableIndex: 1 });
    expect(answers(subject.settle())).toMatchObject([{ to: 'c', term: 3, success: true, matchIndex: 4 }]);
    expect(subject.status.stableIndex).toBe(4);
    expect(subject.member.logText()).toBe('1:1 3:new2 3:new3 3:new4');
  });

  test('an installation and the entries behind it wait for a write each, and are acknowledged one by one', () => {
    const subject = new Subject(['a', 'b', 'c'], [1], 1);
    subject.member.step({ type: 'receive', message: appendRequest('b', 1, [1, 1], [1]) }, 0);
    subject.takeUnsettled();
    // While that write is out, a snapshot arrives, and what follows it.
    const { configuration } = subject.status;
    const metadata = { index: logIndex(9), term: term(1), configuration };
    const [from, to] = [nodeId('b'), nodeId('a')];
    subject.member.step(
      { type: 'receive', message: { type: 'snapshot-request', from, to, term: term(1), metadata } },
      0,
    );
    subject.member.step({ type: 'receive', message: appendRequest('b', 1, [9, 1], [1]) }, 0);
    expect(subject.takeUnsettled()).toEqual([]);
    expect(subject.member.install).toBeUndefined();
    subject.member.completeWrite(0);
    expect(answers(subject.takeUnsettled())).toMatchObject([{ matchIndex: 2 }]);
    expect(subject.member.install).toEqual(metadata);
    subject.member.receivedSnapshot = {
      metadata,
      state: Array.from({ length: 9 }, () => ({ term: term(1), bytes: Uint8Array.of(1) })),
    };
    subject.member.completeInstall(0);
    expect(answers(subject.takeUnsettled())).toMatchObject([{ matchIndex: 9 }]);
    subject.member.completeWrite(0);
    expect(answers(subject.takeUnsettled())).toMatchObject([{ matchIndex: 10 }]);
  });

  test('hard state is written with the entries, and only where term or vote changed', () => {
    const subject = new Subject();
    subject.member.step({ type: 'receive', message: appendRequest('b', 1, [0, 0], [1]) }, 0);
    subject.takeUnsettled();
    expect(subject.member.write).toMatchObject({ hardState: { term: 1 }, lastIndex: 1 });
    subject.settle();
    subject.member.step({ type: 'receive', message: appendRequest('b', 1, [1, 1], [1], 2) }, 0);
    subject.takeUnsettled();
    expect(subject.member.write).toMatchObject({ hardState: undefined, lastIndex: 2 });
  });

  test('committed entries are handed out once, in order, also before they are durable here', () => {
    const subject = new Subject();
    subject.member.step({ type: 'receive', message: appendRequest('b', 1, [0, 0], [1, 1], 1) }, 0);
    subject.takeUnsettled();
    expect(subject.member.toApply.map((run) => [run.firstIndex, run.lastIndex])).toEqual([[1, 1]]);
    subject.member.step({ type: 'receive', message: appendRequest('b', 1, [2, 1], [], 2) }, 0);
    subject.takeUnsettled();
    expect(subject.member.toApply.map((run) => [run.firstIndex, run.lastIndex])).toEqual([
      [1, 1],
      [2, 2],
    ]);
  });

  test('a node that does not have what it acknowledged says so and falls silent (row 24)', () => {
    const subject = new Subject(['a', 'b', 'c'], [1], 1);
    expect(subject.receive(heartbeat('b', 1, 5))).toEqual([]);
    expect(subject.member.forgotten).toEqual({ leader: 'b', acknowledgedIndex: 5, lastIndex: 1 });
    expect(subject.timeOut()).toEqual([]);
    expect(subject.receive(appendRequest('b', 1, [1, 1], [1]))).toEqual([]);
  });
});

describe('proposals', () => {
  test('are refused by who does not lead, with the leader it knows', () => {
    const subject = new Subject();
    subject.receive(heartbeat('b', 1));
    const refusal = { type: 'refused', reason: 'not-leader', leader: 'b' };
    expect(subject.member.propose(['x'], 0)).toEqual(refusal);
    expect(subject.member.node.requestRead(0)).toEqual(refusal);
    expect(subject.member.node.proposeConfiguration([], 0)).toEqual(refusal);
  });

  test('are refused beyond the bound of uncommitted bytes, until some are committed', () => {
    const subject = leader(undefined, undefined, undefined, { maxUncommittedBytes: 20 });
    expect(subject.member.propose(['x'.repeat(14)], 0).type).toBe('accepted');
    expect(subject.member.propose(['x'.repeat(9)], 0)).toMatchObject({ reason: 'overloaded' });
    expect(subject.member.propose(['x'.repeat(30)], 0)).toMatchObject({ reason: 'invalid' });
    subject.settle();
    subject.receive(accepted('b', 1, 2));
    expect(subject.member.propose(['x'.repeat(9)], 0).type).toBe('accepted');
  });

  test('are refused where they are not commands', () => {
    const subject = leader();
    for (const kind of [ENTRY_KIND.termStart, ENTRY_KIND.configuration, 9]) {
      expect(subject.member.node.propose(Uint8Array.of(kind, 1), 0, Uint32Array.of(2), 0)).toMatchObject({
        reason: 'invalid',
      });
    }
    expect(subject.member.node.propose(Uint8Array.of(1), 0, Uint32Array.of(), 0)).toMatchObject({ reason: 'invalid' });
    expect(subject.member.node.propose(Uint8Array.of(1), 0, Uint32Array.of(1, 1), 0)).toMatchObject({
      reason: 'invalid',
    });
  });
});

describe('thesis §6.4 ReadIndex', () => {
  test('a round confirms all who asked before it started; who asks later waits for the next', () => {
    const subject = leader();
    const { node, reads } = subject.member;
    expect([node.requestRead(0), node.requestRead(0)]).toMatchObject([{ round: 1 }, { round: 1 }]);
    expect(subject.settle()).toMatchObject([
      { type: 'heartbeat', to: 'b', round: 1 },
      { type: 'heartbeat', to: 'c', round: 1 },
    ]);
    expect(node.requestRead(0)).toMatchObject({ round: 2 });
    expect(subject.settle()).toEqual([]);
    const next = receiveHeartbeatResponse(subject, 'b', 1);
    expect(reads).toEqual([{ round: 1, index: 1 }]);
    expect(next).toMatchObject([
      { type: 'heartbeat', to: 'b', round: 2 },
      { type: 'heartbeat', to: 'c', round: 2 },
    ]);
  });

  test('an answer to an earlier round confirms nothing (row 32)', () => {
    const subject = leader();
    subject.member.node.requestRead(0);
    subject.settle();
    receiveHeartbeatResponse(subject, 'b', 0);
    receiveHeartbeatResponse(subject, 'z', 1);
    receiveHeartbeatResponse(subject, 'b', 7);
    expect(subject.member.reads).toEqual([]);
  });

  test('numbers are never reused, in a later term neither', () => {
    const subject = leader();
    subject.member.node.requestRead(0);
    subject.settle();
    expect(subject.member.node.requestRead(0)).toMatchObject({ round: 2 });
    subject.receive(heartbeat('b', 5));
    subject.becomeLeader();
    subject.receive(accepted('b', 6, subject.status.lastIndex));
    expect(subject.member.node.requestRead(subject.nowMs)).toMatchObject({ round: 3 });
    subject.settle();
    receiveHeartbeatResponse(subject, 'b', 3);
    expect(subject.member.reads).toMatchObject([{ round: 3 }]);
  });

  test('nothing is confirmed before the first entry of the term is committed (§8, row 31)', () => {
    const subject = new Subject(['a', 'b', 'c'], [1], 1);
    subject.becomeLeader();
    subject.member.node.requestRead(0);
    subject.settle();
    receiveHeartbeatResponse(subject, 'b', 1);
    expect(subject.member.reads).toEqual([]);
    subject.receive(accepted('b', 2, 2));
    expect(subject.member.reads).toEqual([{ round: 1, index: 2 }]);
  });

  test('a read sees what was committed when its round started', () => {
    const subject = leader();
    subject.member.propose(['x'], 0);
    subject.member.node.requestRead(0);
    subject.settle();
    subject.receive(accepted('b', 1, 2));
    receiveHeartbeatResponse(subject, 'c', 1);
    expect(subject.member.reads).toEqual([{ round: 1, index: 1 }]);
  });
});
