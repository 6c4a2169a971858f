import type { NodeId, RaftStatus } from '@lockd/raft';
import type { MemberAddress } from '@lockd/raft/node';
import { beforeEach, describe, expect, test } from 'vitest';
import { PeerBook } from '../../src/node/peer-book.ts';

const node = (name: string): NodeId => name as NodeId;

let voters: string[];
let learners: string[];
let role: RaftStatus['role'];
let leader: string | undefined;
let isConfirmed: boolean;
let inLog: Map<string, MemberAddress>;
let said: Map<string, { peer?: string; client?: string }>;
let peers: Map<NodeId, string | undefined>;
let proposed: [string, MemberAddress][];

beforeEach(() => {
  voters = ['n1', 'n2', 'n3'];
  learners = [];
  role = 'follower';
  leader = 'n2';
  isConfirmed = true;
  inLog = new Map();
  said = new Map();
  peers = new Map();
  proposed = [];
});

function bookOf(self: string, settings: Readonly<Record<string, string>>): PeerBook {
  return new PeerBook({
    self: node(self),
    settings: new Map(Object.entries(settings)),
    own: { peer: 'own:1', client: 'ws://own:2', isGiven: false },
    driver: {
      status: () =>
        ({
          role,
          leader,
          term: 1,
          isReady: true,
          configuration: { voters, outgoing: [], learners, learnersNext: [], autoLeave: false },
        }) as unknown as RaftStatus,
      isConfigurationConfirmed: () => isConfirmed,
      addressOf: (name) => inLog.get(name),
      proposeAddress: (name, address) => {
        proposed.push([name, address]);
        return { type: 'accepted' };
      },
    },
    transport: {
      setPeers: (next) => {
        peers = new Map(next);
      },
      clientAddressOf: (name) => said.get(name)?.client,
      peerAddressOf: (name) => said.get(name)?.peer,
    },
  });
}

const FOUNDING = { n1: 'own:1', n2: 'two:1', n3: 'three:1' };

describe('where a member is reached', () => {
  test("what an operator said stands above this node's list, and that above what the member says", () => {
    const book = bookOf('n1', FOUNDING);
    inLog.set('n2', { peer: 'self-said:1', client: undefined, isGiven: false });
    expect(book.peerAddressOf(node('n2'))).toBe('two:1');
    inLog.set('n2', { peer: 'given:1', client: undefined, isGiven: true });
    expect(book.peerAddressOf(node('n2'))).toBe('given:1');
    inLog.set('n4', { peer: 'four:1', client: undefined, isGiven: false });
    expect(book.peerAddressOf(node('n4'))).toBe('four:1');
  });

  test('a client is told what the log says of a member that is not connected', () => {
    const book = bookOf('n1', FOUNDING);
    inLog.set('n2', { peer: undefined, client: 'ws://log:2', isGiven: false });
    expect(book.clientAddressOf(node('n2'))).toBe('ws://log:2');
    said.set('n2', { client: 'ws://hello:2' });
    expect(book.clientAddressOf(node('n2'))).toBe('ws://hello:2');
  });
});

describe('who is a peer', () => {
  test('the members of the log, also those that the settings do not name', () => {
    const book = bookOf('n1', FOUNDING);
    learners = ['n4'];
    inLog.set('n4', { peer: 'four:1', client: undefined, isGiven: true });
    book.refresh();
    expect([...peers]).toEqual([
      ['n2', 'two:1'],
      ['n3', 'three:1'],
      ['n4', 'four:1'],
    ]);
  });

  test('who was removed stays one until the change is confirmed', () => {
    const book = bookOf('n1', FOUNDING);
    book.refresh();
    voters = ['n1', 'n2'];
    isConfirmed = false;
    book.refresh();
    expect(peers.has(node('n3'))).toBe(true);
    isConfirmed = true;
    book.refresh();
    expect([...peers.keys()]).toEqual(['n2']);
  });

  test('a node without a log asks whom it was told of, and whom those tell of', () => {
    voters = [];
    leader = undefined;
    const book = bookOf('a1', { n1: 'one:1' });
    book.refresh();
    expect([...peers]).toEqual([['n1', 'one:1']]);
    book.told({ n1: 'one:1', n2: 'two:1', a1: 'own:1' });
    expect([...peers]).toEqual([
      ['n1', 'one:1'],
      ['n2', 'two:1'],
    ]);
  });

  test('a node whose log does not know its leader keeps the link to it', () => {
    leader = 'n9';
    const book = bookOf('n1', FOUNDING);
    book.told({ n9: 'nine:1' });
    expect(peers.get(node('n9'))).toBe('nine:1');
  });
});

describe('a leader', () => {
  test('writes down where members say that they are, once, and not where an operator has spoken', () => {
    role = 'leader';
    leader = 'n1';
    said.set('n2', { peer: 'two:1', client: 'ws://two:2' });
    inLog.set('n3', { peer: 'given:1', client: undefined, isGiven: true });
    said.set('n3', { peer: 'three:1' });
    const book = bookOf('n1', FOUNDING);
    book.refresh();
    book.refresh();
    expect(proposed).toEqual([
      ['n1', { peer: 'own:1', client: 'ws://own:2', isGiven: false }],
      ['n2', { peer: 'two:1', client: 'ws://two:2', isGiven: false }],
    ]);
  });
});
