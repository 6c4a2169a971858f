import type { AdminAnswer } from '@lockd/client/protocol';
import type { ConfigurationChange, MemberProgress, NodeId, ProposeResult, RaftStatus } from '@lockd/raft';
import type { MemberAddress } from '@lockd/raft/node';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Cluster } from '../../src/operations/operation.ts';
import { Operations } from '../../src/operations/operations.ts';
import type { AppPayload } from '../../src/peers/app-payload.ts';
import { FakeClock } from '../support/fake-clock.ts';

const node = (name: string): NodeId => name as NodeId;

/** A leader, or not, whose log commits at once unless it is told to hold back. */
class FakeCluster implements Cluster {
  self = node('n1');
  role: RaftStatus['role'] = 'leader';
  leader: NodeId | undefined = node('n1');
  voters = ['n1', 'n2', 'n3'].map(node);
  learners: NodeId[] = [];
  lastIndex = 10_000;
  answers: ProposeResult['type'] | 'change-pending' = 'accepted';
  isConfirmed = true;
  holdsBack = false;
  hasPart = true;
  transferred: (NodeId | undefined)[] = [];
  readonly changes: ConfigurationChange[] = [];
  readonly progress = new Map<NodeId, MemberProgress>();
  readonly addresses = new Map<NodeId, MemberAddress>();
  readonly instances = new Map<NodeId, string>();
  readonly electionTimeoutMs = 500;
  readonly clock: FakeClock;

  constructor(clock: FakeClock) {
    this.clock = clock;
    for (const name of ['n2', 'n3']) this.heard(name, this.lastIndex);
  }

  heard(name: string, matchIndex: number, state: MemberProgress['state'] = 'replicate'): void {
    this.progress.set(node(name), { matchIndex, state, lastHeardMs: this.clock.nowMs() } as MemberProgress);
    this.instances.set(node(name), `instance of ${name}`);
  }

  takesPart = (): boolean => this.hasPart;
  nowMs = (): number => this.clock.nowMs();
  addressOf = (name: NodeId): MemberAddress | undefined => this.addresses.get(name);
  instanceOf = (name: NodeId): string | undefined => this.instances.get(name);
  progressOf = (name: NodeId): MemberProgress | undefined => this.progress.get(name);
  isConfigurationConfirmed = (): boolean => this.isConfirmed;
  peerAddressOf = (name: NodeId): string | undefined => this.addresses.get(name)?.peer ?? `${name}:7201`;
  clientAddressOf = (): string | undefined => undefined;
  makeSnapshot = (): void => {};

  transferLeadership(to: NodeId | undefined): void {
    this.transferred.push(to);
  }

  status(): RaftStatus {
    const configuration = {
      voters: this.voters,
      outgoing: [],
      learners: this.learners,
      learnersNext: [],
      autoLeave: false,
    };
    const { role, leader, lastIndex } = this;
    return {
      role,
      leader,
      lastIndex,
      configuration,
      isReady: role === 'leader',
      term: 3,
      transferringTo: undefined,
    } as never;
  }

  proposeConfiguration(changes: readonly ConfigurationChange[]): ProposeResult {
    if (this.answers !== 'accepted') return { type: 'refused', reason: 'change-pending', leader: this.self };
    this.changes.push(...changes);
    if (!this.holdsBack) this.commit();
    return { type: 'accepted', firstIndex: 1, term: 3 } as never;
  }

  commit(): void {
    for (const { type, node: name } of this.changes.splice(0)) {
      this.voters = this.voters.filter((voter) => voter !== name);
      this.learners = this.learners.filter((learner) => learner !== name);
      if (type === 'add-voter') this.voters.push(name);
      if (type === 'add-learner') this.learners.push(name);
    }
  }

  proposeAddress(name: NodeId, address: MemberAddress): ProposeResult {
    this.addresses.set(name, address);
    return { type: 'accepted', firstIndex: 2, term: 3 } as never;
  }
}

let clock: FakeClock;
let cluster: FakeCluster;
let sent: { readonly to: NodeId; readonly payload: AppPayload }[];
let operations: Operations;

beforeEach(() => {
  clock = new FakeClock();
  cluster = new FakeCluster(clock);
  sent = [];
  operations = new Operations({
    clock,
    cluster,
    sendApp: (to, payload) => {
      sent.push({ to, payload });
      return true;
    },
  });
});

function ask(op: string, args: Readonly<Record<string, unknown>> = {}): { value: AdminAnswer | undefined } {
  const box: { value: AdminAnswer | undefined } = { value: undefined };
  operations.request(op, args, (answer) => {
    box.value = answer;
  });
  return box;
}

describe('on the leader', () => {
  test('adding a member makes it a learner and puts its address into the log', () => {
    const answer = ask('member-add', { name: 'n4', peer: 'host4:7201' });
    clock.advance(100);
    expect(answer.value).toMatchObject({ ok: true, role: 'learner', already: false });
    expect(cluster.learners).toEqual(['n4']);
    expect(cluster.addressOf(node('n4'))).toEqual({ peer: 'host4:7201', client: undefined, isGiven: true });
    expect(ask('member-add', { name: 'n4', peer: 'host4:7201' }).value).toMatchObject({ ok: true, already: true });
  });

  test.each([
    ['member-add', { name: 'n4' }, 'no-address'],
    ['member-add', { name: 'n4', peer: 'n2:7201' }, 'address-taken'],
    ['member-add', { name: 'n 4', peer: 'host4:7201' }, 'invalid'],
    ['member-add', { name: 'n4', peer: 'host4' }, 'invalid'],
    ['member-promote', { name: 'n9' }, 'unknown-member'],
    ['member-remove', { name: 'n9' }, 'unknown-member'],
    ['member-remove', {}, 'invalid'],
    ['transfer-leader', { name: 'n9' }, 'unknown-member'],
    ['member-dance', { name: 'n2' }, 'unknown-operation'],
  ])('%s with %j is refused as %s, at once and without a change', (op, args, reason) => {
    const { value } = ask(op, args);
    expect(value).toMatchObject({ ok: false, reason });
    expect(cluster.voters).toEqual(['n1', 'n2', 'n3']);
  });

  test('a learner is promoted when it has all but 2,000 entries, and not before', () => {
    cluster.learners = [node('n4')];
    expect(ask('member-promote', { name: 'n4' }).value).toMatchObject({ ok: false, reason: 'not-connected' });
    cluster.heard('n4', 5000, 'snapshot');
    expect(ask('member-promote', { name: 'n4' }).value).toMatchObject({
      ok: false,
      reason: 'not-caught-up',
      progress: 0.5,
    });
    cluster.heard('n4', 7999);
    expect(ask('member-promote', { name: 'n4' }).value).toMatchObject({ reason: 'not-caught-up', lag: 2001 });
    cluster.heard('n4', 8000);
    const answer = ask('member-promote', { name: 'n4' });
    clock.advance(100);
    expect(answer.value).toMatchObject({ ok: true, role: 'voter' });
    expect(cluster.voters).toContain('n4');
  });

  test('a removal that would leave no reachable majority is refused unless it is forced', () => {
    clock.advance(5000);
    cluster.heard('n2', cluster.lastIndex);
    // n3 has been silent: of n1 and n3, only n1 would be there.
    expect(ask('member-remove', { name: 'n2' }).value).toMatchObject({ reason: 'quorum-at-risk', missing: ['n3'] });
    const forced = ask('member-remove', { name: 'n2', force: true });
    clock.advance(100);
    expect(forced.value).toMatchObject({ ok: true });
  });

  test('the silent one may be removed', () => {
    clock.advance(5000);
    cluster.heard('n2', cluster.lastIndex);
    const answer = ask('member-remove', { name: 'n3' });
    clock.advance(100);
    expect(answer.value).toMatchObject({ ok: true, name: 'n3' });
  });

  test('the only voter stays', () => {
    cluster.voters = [node('n1')];
    expect(ask('member-remove', { name: 'n1' }).value).toMatchObject({ reason: 'last-voter' });
  });

  test('a removal is answered when it is confirmed, not when it is applied', () => {
    cluster.isConfirmed = false;
    const answer = ask('member-remove', { name: 'n3' });
    clock.advance(1000);
    expect(answer.value).toBeUndefined();
    cluster.isConfirmed = true;
    clock.advance(100);
    expect(answer.value).toMatchObject({ ok: true });
  });

  test('a leader that is to be removed hands over first', () => {
    const answer = ask('member-remove', { name: 'n1' });
    clock.advance(50);
    expect(cluster.transferred.length).toBeGreaterThan(0);
    expect(cluster.voters).toContain('n1');
    cluster.role = 'follower';
    cluster.leader = node('n2');
    clock.advance(50);
    expect(answer.value).toBeUndefined();
    const [asked] = sent;
    expect(asked?.to).toBe('n2');
    const request: unknown = asked?.payload.type === 'admin' ? JSON.parse(asked.payload.json) : undefined;
    expect(request).toMatchObject({ op: 'member-remove', args: { name: 'n1', repeated: true } });
  });

  test('while another change is under way it waits, and says so in the end', () => {
    cluster.answers = 'change-pending';
    const answer = ask('member-add', { name: 'n4', peer: 'host4:7201' });
    clock.advance(14_000);
    expect(answer.value).toBeUndefined();
    clock.advance(2000);
    expect(answer.value).toMatchObject({ ok: false, reason: 'change-pending' });
  });

  test('a change that is in the log and not committed in time is said to be unknown', () => {
    cluster.holdsBack = true;
    const answer = ask('member-remove', { name: 'n3' });
    clock.advance(16_000);
    expect(answer.value).toMatchObject({ ok: false, reason: 'unknown' });
  });

  test('a transfer is answered with the new leader', () => {
    const answer = ask('transfer-leader', { name: 'n2' });
    expect(cluster.transferred).toEqual(['n2']);
    cluster.role = 'follower';
    cluster.leader = undefined;
    clock.advance(50);
    expect(answer.value).toBeUndefined();
    cluster.leader = node('n2');
    clock.advance(50);
    expect(answer.value).toMatchObject({ ok: true, leader: 'n2', from: 'n1' });
  });

  test('a transfer that does not come about is said to have failed', () => {
    const answer = ask('transfer-leader', { name: 'n2' });
    clock.advance(1000);
    expect(answer.value).toMatchObject({ ok: false, reason: 'transfer-failed' });
  });

  test('the list says how far each member is', () => {
    cluster.learners = [node('n4')];
    cluster.heard('n4', 2500, 'snapshot');
    const { value } = ask('member-list');
    expect(value).toMatchObject({ ok: true, leader: 'n1' });
    const members = value?.['members'] as readonly { name: string }[];
    expect(members.find(({ name }) => name === 'n4')).toMatchObject({ role: 'learner', progress: 0.25, lag: 7500 });
  });
});

describe('elsewhere', () => {
  beforeEach(() => {
    cluster.role = 'follower';
    cluster.leader = node('n2');
  });

  function idOf(position: number): number {
    const payload = sent[position]?.payload;
    if (payload?.type !== 'admin') throw new Error('nothing was asked');
    return payload.id;
  }

  test('a request goes to the leader, and its answer comes back', () => {
    const answer = ask('member-list');
    expect(sent[0]).toMatchObject({ to: 'n2', payload: { type: 'admin' } });
    operations.onPayload(node('n2'), { type: 'admin-answer', id: idOf(0), json: '{"ok":true,"leader":"n2"}' });
    expect(answer.value).toEqual({ ok: true, leader: 'n2' });
  });

  test('a request whose leader is lost goes to the next one, as one that may have been done', () => {
    const answer = ask('member-remove', { name: 'n3' });
    operations.onPeerDown(node('n2'));
    cluster.leader = node('n3');
    clock.advance(50);
    expect(sent[1]).toMatchObject({ to: 'n3' });
    operations.onPayload(node('n3'), { type: 'admin-answer', id: idOf(1), json: '{"ok":true}' });
    expect(answer.value).toEqual({ ok: true });
  });

  test('a node that does not lead sends a forwarded request back', () => {
    operations.onPayload(node('n3'), { type: 'admin', id: 7, json: '{"op":"member-list","args":{}}' });
    expect(sent).toEqual([{ to: 'n3', payload: { type: 'admin-answer', id: 7, json: '{"askLeader":true}' } }]);
  });

  test('without a leader the operator hears so when time is up; from a node that takes no part, at once', () => {
    cluster.leader = undefined;
    const answer = ask('member-list');
    clock.advance(16_000);
    expect(answer.value).toMatchObject({ ok: false, reason: 'no-leader' });
    cluster.hasPart = false;
    expect(ask('member-list').value).toMatchObject({ ok: false, reason: 'no-leader' });
  });

  test('nonsense from a peer is dropped, and more than 64 requests at once are refused', () => {
    operations.onPayload(node('n2'), { type: 'admin', id: 1, json: '{' });
    operations.onPayload(node('n2'), { type: 'admin-answer', id: 99, json: '{"ok":true}' });
    expect(sent).toEqual([]);
    for (let count = 0; count < 64; count++) ask('member-list');
    expect(ask('member-list').value).toMatchObject({ ok: false, reason: 'busy' });
  });
});
