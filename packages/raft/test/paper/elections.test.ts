/**
 * One test per claim of the Raft paper (§5) and Ongaro's thesis about terms and elections. Each brings a node into a
 * state, does one thing to it, and looks at what it says and what it keeps.
 */
import { describe, expect, test } from 'vitest';
import type { Message } from '../../src/core/message.ts';
import { appendRequest, grant, heartbeat, nodeId, refusal, Subject, voteRequest } from './helpers.ts';

const voteAnswers = (messages: readonly Message[]): boolean[] =>
  messages.flatMap((message) => (message.type === 'vote-response' ? [message.granted] : []));
const voteRequests = (messages: readonly Message[]) => messages.filter((message) => message.type === 'vote-request');

describe('§5.1 terms', () => {
  test.each(['follower', 'candidate', 'leader'] as const)(
    'a %s that sees a later term becomes follower in it',
    (role) => {
      const subject = new Subject();
      if (role === 'candidate') subject.becomeCandidate();
      if (role === 'leader') subject.becomeLeader();
      subject.receive(appendRequest('b', 5, [0, 0], []));
      expect(subject.status).toMatchObject({ role: 'follower', term: 5, leader: 'b', votedFor: undefined });
    },
  );

  test('a request of an earlier term is refused, with the later term in the answer', () => {
    const subject = new Subject(['a', 'b', 'c'], [1], 3);
    expect(subject.receive(appendRequest('b', 2, [1, 1], [2]))).toMatchObject([
      { type: 'append-response', success: false, term: 3 },
    ]);
    expect(subject.receive(heartbeat('b', 2))).toMatchObject([{ type: 'append-response', success: false, term: 3 }]);
    expect(subject.receive(voteRequest('b', 2, [9, 2]))).toMatchObject([
      { type: 'vote-response', granted: false, term: 3 },
    ]);
    expect(subject.status).toMatchObject({ term: 3, leader: undefined, lastIndex: 1 });
  });

  test('the term survives a crash', () => {
    const subject = new Subject();
    subject.becomeCandidate();
    subject.member.crash();
    subject.member.start(subject.nowMs);
    expect(subject.status).toMatchObject({ role: 'follower', term: 1, votedFor: 'a' });
  });
});

describe('§5.2 leader election', () => {
  test('a follower that hears from its leader stays follower', () => {
    const subject = new Subject();
    for (; subject.nowMs < 5_000; subject.nowMs += 100) {
      subject.receive(heartbeat('b', 1));
      subject.member.step({ type: 'tick' }, subject.nowMs);
    }
    expect(subject.status).toMatchObject({ role: 'follower', leader: 'b', term: 1 });
  });

  test('time-outs are drawn from [T, 2T), anew for each attempt', () => {
    const drawn = new Set<number>();
    const subject = new Subject();
    for (let attempt = 0; attempt < 200; attempt += 1) {
      drawn.add(subject.member.node.nextDeadlineMs() - subject.nowMs);
      subject.timeOut();
    }
    expect(Math.min(...drawn)).toBeGreaterThanOrEqual(500);
    expect(Math.max(...drawn)).toBeLessThan(1_000);
    expect(drawn.size).toBeGreaterThan(50);
  });

  test('a candidate enters the next term, votes for itself and asks everybody else', () => {
    const subject = new Subject(['a', 'b', 'c'], [1, 1]);
    const asked = subject.becomeCandidate();
    expect(subject.status).toMatchObject({ role: 'candidate', term: 2, votedFor: 'a' });
    expect(asked).toMatchObject(
      ['b', 'c'].map((to) => ({ type: 'vote-request', to, term: 2, preVote: false, lastLogIndex: 2, lastLogTerm: 1 })),
    );
  });

  test('a candidate with the votes of a majority leads, and says so to everybody', () => {
    const subject = new Subject(['a', 'b', 'c', 'd', 'e']);
    const [toB, toC] = voteRequests(subject.becomeCandidate());
    subject.receive(grant(toB!));
    expect(subject.status.role).toBe('candidate');
    const sent = subject.receive(grant(toC!));
    expect(subject.status).toMatchObject({ role: 'leader', leader: 'a' });
    expect(sent.filter(({ type }) => type === 'append-request').map(({ to }) => to)).toEqual(['b', 'c', 'd', 'e']);
  });

  test('a vote that arrives twice counts once (row 4)', () => {
    const subject = new Subject(['a', 'b', 'c', 'd', 'e']);
    const [toB] = voteRequests(subject.becomeCandidate());
    subject.receive(grant(toB!));
    subject.receive(grant(toB!));
    expect(subject.status.role).toBe('candidate');
  });

  test('a candidate that a majority refused steps back and keeps its vote', () => {
    const subject = new Subject();
    for (const asked of voteRequests(subject.becomeCandidate())) subject.receive(refusal(asked, 1));
    expect(subject.status).toMatchObject({ role: 'follower', term: 1, votedFor: 'a', leader: undefined });
  });

  test('a candidate that hears a leader of its term follows it, and keeps its vote (row 3)', () => {
    const subject = new Subject();
    subject.becomeCandidate();
    subject.receive(appendRequest('b', 1, [0, 0], [1]));
    expect(subject.status).toMatchObject({ role: 'follower', term: 1, leader: 'b', votedFor: 'a' });
    expect(voteAnswers(subject.receive(voteRequest('c', 1, [9, 1])))).toEqual([false]);
  });

  test('a node votes once a term, first come first served, and again for the same candidate', () => {
    const subject = new Subject();
    expect(voteAnswers(subject.receive(voteRequest('b', 1, [0, 0])))).toEqual([true]);
    expect(voteAnswers(subject.receive(voteRequest('c', 1, [0, 0])))).toEqual([false]);
    expect(voteAnswers(subject.receive(voteRequest('b', 1, [0, 0])))).toEqual([true]);
    expect(voteAnswers(subject.receive(voteRequest('c', 2, [0, 0])))).toEqual([true]);
  });

  test('a later term merely seen is no vote given (row 5)', () => {
    const subject = new Subject(['a', 'b', 'c'], [1, 1]);
    expect(voteAnswers(subject.receive(voteRequest('b', 7, [1, 1])))).toEqual([false]);
    expect(subject.status).toMatchObject({ term: 7, votedFor: undefined });
    expect(voteAnswers(subject.receive(voteRequest('c', 7, [2, 1])))).toEqual([true]);
  });

  test('a vote is given only when it is durable (row 1)', () => {
    const subject = new Subject();
    subject.member.step({ type: 'receive', message: voteRequest('b', 1, [0, 0]) }, 0);
    expect(voteAnswers(subject.takeUnsettled())).toEqual([]);
    expect(subject.member.write?.hardState).toMatchObject({ term: 1, votedFor: 'b' });
    expect(voteAnswers(subject.settle())).toEqual([true]);
  });

  test('a vote held for a write is dropped when the term has gone on meanwhile', () => {
    const subject = new Subject();
    subject.member.step({ type: 'receive', message: voteRequest('b', 1, [0, 0]) }, 0);
    subject.takeUnsettled();
    subject.member.step({ type: 'receive', message: voteRequest('c', 2, [0, 0]) }, 0);
    expect(subject.settle()).toMatchObject([{ type: 'vote-response', to: 'c', term: 2, granted: true }]);
  });

  test("a candidate's own vote counts, and its requests go out, only when term and vote are durable (row 2)", () => {
    const subject = new Subject();
    const asked = voteRequests(subject.timeOut());
    for (const request of asked)
      if (request.type === 'vote-request')
        subject.member.step({ type: 'receive', message: grant(request) }, subject.nowMs);
    expect(subject.takeUnsettled()).toEqual([]);
    expect(subject.member.write?.hardState).toMatchObject({ term: 1, votedFor: 'a' });
    expect(subject.status.role).toBe('candidate');
    expect(voteRequests(subject.settle())).toHaveLength(2);
  });

  test('a candidate asks with what is durable, its log included', () => {
    const subject = new Subject();
    subject.receive(appendRequest('b', 1, [0, 0], [1]));
    subject.member.step({ type: 'receive', message: appendRequest('b', 1, [1, 1], [1]) }, 0);
    subject.takeUnsettled();
    // The write with entry 2 is out when the campaign begins.
    const pre = (subject.nowMs = subject.member.node.nextDeadlineMs());
    subject.member.step({ type: 'tick' }, pre);
    for (const request of subject.takeUnsettled()) {
      if (request.type === 'vote-request') subject.member.step({ type: 'receive', message: grant(request) }, pre);
    }
    expect(subject.takeUnsettled()).toEqual([]);
    subject.member.completeWrite(pre);
    // Now the write with the term: still nothing was asked.
    expect(subject.takeUnsettled()).toEqual([]);
    subject.member.completeWrite(pre);
    expect(voteRequests(subject.takeUnsettled())).toMatchObject([{ lastLogIndex: 2 }, { lastLogIndex: 2 }]);
  });

  test('a single voter elects itself, once its vote is durable', () => {
    const subject = new Subject(['a']);
    subject.nowMs = subject.member.node.nextDeadlineMs();
    subject.member.step({ type: 'tick' }, subject.nowMs);
    subject.takeUnsettled();
    expect(subject.status.role).toBe('candidate');
    subject.settle();
    expect(subject.status).toMatchObject({ role: 'leader', isReady: true });
  });
});

test('an earlier write that becomes durable is no vote: the one with the vote is awaited', () => {
  const subject = new Subject(['a']);
  subject.becomeCandidate();
  subject.member.step({ type: 'abdicate' }, subject.nowMs);
  subject.settle();
  // A write of entries is out when the next campaign begins.
  subject.member.step({ type: 'receive', message: appendRequest('b', 2, [1, 1], [2]) }, subject.nowMs);
  subject.takeUnsettled();
  subject.nowMs = subject.member.node.nextDeadlineMs();
  subject.member.step({ type: 'tick' }, subject.nowMs);
  subject.member.completeWrite(subject.nowMs);
  expect(subject.status).toMatchObject({ role: 'candidate', term: 3 });
  subject.settle();
  expect(subject.status).toMatchObject({ role: 'leader', term: 3 });
});

describe('§5.4.1 election restriction', () => {
  // The voter's log ends in entry 3 of term 2.
  test.each([
    [[3, 2], true],
    [[4, 2], true],
    [[1, 3], true],
    [[2, 2], false],
    [[9, 1], false],
  ] as const)('a log that ends in (index, term) %j gets the vote: %s', (last, granted) => {
    for (const preVote of [false, true]) {
      const subject = new Subject(['a', 'b', 'c'], [1, 1, 2]);
      expect(voteAnswers(subject.receive(voteRequest('b', 4, last, { preVote })))).toEqual([granted]);
    }
  });
});

describe('thesis §9.6 PreVote', () => {
  test('a node asks first, and keeps its term and disk as they are', () => {
    const subject = new Subject(['a', 'b', 'c'], [1]);
    expect(subject.timeOut()).toMatchObject(
      ['b', 'c'].map((to) => ({ type: 'vote-request', preVote: true, to, term: 2 })),
    );
    expect(subject.status).toMatchObject({ role: 'pre-candidate', term: 1, votedFor: undefined });
    expect(subject.member.write).toBeUndefined();
  });

  test('a pre-vote binds nobody: several may have it, and the vote goes to another', () => {
    const subject = new Subject();
    expect(voteAnswers(subject.receive(voteRequest('b', 1, [0, 0], { preVote: true })))).toEqual([true]);
    expect(voteAnswers(subject.receive(voteRequest('c', 1, [0, 0], { preVote: true })))).toEqual([true]);
    expect(subject.status).toMatchObject({ term: 0, votedFor: undefined });
    expect(voteAnswers(subject.receive(voteRequest('d', 1, [0, 0])))).toEqual([true]);
  });

  test('an old grant does not count in a later term', () => {
    const subject = new Subject(['a', 'b', 'c'], [1]);
    const old = voteRequests(subject.timeOut());
    subject.receive(appendRequest('b', 4, [1, 1], []));
    subject.timeOut();
    for (const request of old) if (request.type === 'vote-request') subject.receive(grant(request));
    expect(subject.status).toMatchObject({ role: 'pre-candidate', term: 4 });
  });

  test('a refusal from a later term is learnt from (rows 7, 8)', () => {
    const subject = new Subject(['a', 'b', 'c'], [1]);
    const [asked] = voteRequests(subject.timeOut());
    subject.receive(refusal(asked!, 6));
    expect(subject.status).toMatchObject({ role: 'follower', term: 6 });
    expect(subject.timeOut()).toMatchObject([{ term: 7 }, { term: 7 }]);
  });

  test('a pre-candidate that hears the leader of its term follows it again', () => {
    const subject = new Subject(['a', 'b', 'c'], [1]);
    subject.timeOut();
    subject.receive(heartbeat('b', 1));
    expect(subject.status).toMatchObject({ role: 'follower', leader: 'b', term: 1 });
  });
});

describe('§6, thesis §4.2.3: who hears a leader supports no campaign', () => {
  test.each([true, false])(
    'not within T of its last sign of life, nor by taking over the term (pre-vote: %s)',
    (preVote) => {
      const subject = new Subject(['a', 'b', 'c'], [1]);
      subject.receive(heartbeat('b', 1));
      subject.nowMs = 499;
      expect(subject.receive(voteRequest('c', 9, [9, 1], { preVote }))).toEqual([]);
      expect(subject.status.term).toBe(1);
      subject.nowMs = 500;
      expect(voteAnswers(subject.receive(voteRequest('c', 9, [9, 1], { preVote })))).toEqual([true]);
    },
  );

  test('a leader does not let itself be campaigned away', () => {
    const subject = new Subject();
    subject.becomeLeader();
    expect(subject.receive(voteRequest('c', 9, [9, 9]))).toEqual([]);
    expect(subject.status).toMatchObject({ role: 'leader', term: 1 });
  });

  test('unless the leader asked for it (thesis §3.10)', () => {
    const subject = new Subject(['a', 'b', 'c'], [1]);
    subject.receive(heartbeat('b', 1));
    expect(voteAnswers(subject.receive(voteRequest('c', 2, [1, 1], { transfer: true })))).toEqual([true]);
  });

  test('a learner, and a node that knows no configuration, votes when it is asked (row 14)', () => {
    const subject = new Subject(['b', 'c']);
    expect(subject.status.role).toBe('learner');
    expect(voteAnswers(subject.receive(voteRequest('b', 1, [0, 0])))).toEqual([true]);
  });

  test('a learner never campaigns, and forgets a silent leader', () => {
    const subject = new Subject(['b', 'c']);
    subject.receive(heartbeat('b', 1));
    for (let count = 0; count < 5; count += 1) expect(subject.timeOut()).toEqual([]);
    subject.member.step({ type: 'campaign' }, subject.nowMs);
    expect(subject.settle()).toEqual([]);
    expect(subject.status).toMatchObject({ role: 'learner', leader: undefined, term: 1 });
  });
});

describe('thesis §6.2 CheckQuorum', () => {
  test('a leader that no quorum answers for an election time-out steps down', () => {
    const subject = new Subject(['a', 'b', 'c', 'd', 'e']);
    subject.becomeLeader();
    const startMs = subject.nowMs;
    while (subject.status.role === 'leader' && subject.nowMs < startMs + 2_000) {
      subject.nowMs = subject.member.node.nextDeadlineMs();
      subject.member.step({ type: 'tick' }, subject.nowMs);
      subject.settle();
      // One answer is not a quorum of five.
      subject.receive({
        type: 'heartbeat-response',
        from: nodeId('b'),
        to: nodeId('a'),
        term: subject.status.term,
        round: 0 as never,
      });
    }
    expect(subject.nowMs - startMs).toBeGreaterThanOrEqual(500);
    expect(subject.nowMs - startMs).toBeLessThanOrEqual(600);
    expect(subject.status).toMatchObject({ role: 'follower', leader: undefined, term: 1 });
  });
});
