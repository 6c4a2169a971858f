import { msgpackCodec } from '@lockd/client/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LockNode } from '../../src/index.ts';
import { TestNodes } from '../support/nodes.ts';
import { RawClient } from '../support/raw-client.ts';
import { StoppableClock } from '../support/stoppable-clock.ts';
import { until } from '../support/until.ts';

/*
 * What an operation costs, in things that can be counted: a guard against slowness that no clock of a busy machine can
 * give. Time stands still meanwhile: no heartbeats, no late notices of a commit, no markers.
 */

const COUNTED = [
  'frames_received',
  'frames_sent',
  'peer_frames_sent',
  'peer_bytes_sent',
  'log_writes',
  'log_entries',
  'log_entry_bytes',
] as const;
type Counts = Record<(typeof COUNTED)[number], number>;

async function countsOf(node: LockNode): Promise<Counts> {
  const page = await (await fetch(`${node.clientUrl.replace('ws:', 'http:')}/metrics`)).text();
  const read = (name: string): number => {
    const found = new RegExp(`^lockd_${name}_total (\\d+)$`, 'm').exec(page);
    if (found === null) throw new Error(`no counter ${name}`);
    return Number(found[1]);
  };
  return Object.fromEntries(COUNTED.map((name) => [name, read(name)])) as Counts;
}

describe('counts per operation, with time standing still', () => {
  const clock = new StoppableClock();
  let cluster: TestNodes;
  let leader: LockNode;
  let followers: LockNode[];

  beforeAll(async () => {
    cluster = await TestNodes.start(3, {}, { clock });
    leader = await cluster.leader();
    followers = [...cluster.nodes.values()].filter((node) => node !== leader);
  }, 60_000);
  afterAll(async () => {
    clock.go();
    await cluster.stop();
  }, 60_000);

  /** Connected to one node, each with a session, before time stands still. */
  async function sessions(
    count: number,
    name: string,
    node: LockNode = leader,
  ): Promise<{ client: RawClient; session: number }[]> {
    clock.go();
    const connected = [];
    for (let number = 0; number < count; number++) {
      const client = await RawClient.connect(node.clientUrl, {}, msgpackCodec.subprotocol);
      connected.push({ client, session: await client.open(`${name} ${number}`) });
    }
    // A follower that lags is told the rest by the clock.
    await until('quiet', () => followers.every((node) => node.status().appliedIndex === leader.status().lastIndex));
    clock.stop();
    return connected;
  }

  /** What `action` adds to the counters of the leader and of each follower, and to the ends of turns asked for. */
  async function counted(
    action: () => Promise<void>,
  ): Promise<{ leader: Counts; followers: Counts[]; endsOfTurns: number }> {
    const nodes = [leader, ...followers];
    const before = await Promise.all(nodes.map(countsOf));
    const endsBefore = clock.endOfTurnCount;
    await action();
    // Followers answer after the operation is committed, too: until they are quiet, they are not done.
    await until('the last writes', () => nodes.every((node) => node.status().lastIndex === leader.status().lastIndex));
    await new Promise((resolve) => setTimeout(resolve, 100));
    const endsOfTurns = clock.endOfTurnCount - endsBefore;
    const after = await Promise.all(nodes.map(countsOf));
    const [ofLeader, ...ofFollowers] = after.map(
      (counts, node) =>
        Object.fromEntries(COUNTED.map((name) => [name, counts[name] - (before[node] as Counts)[name]])) as Counts,
    );
    return { leader: ofLeader as Counts, followers: ofFollowers, endsOfTurns };
  }

  test('one client, one operation at a time: one frame and one write each, everywhere', async () => {
    const operations = 100;
    const [{ client, session }] = (await sessions(1, 'alone')) as [{ client: RawClient; session: number }];
    const counts = await counted(async () => {
      for (let seq = 1; seq < operations; seq += 2) {
        client.send(['acquire', session, seq, seq - 1, 'one of 20 characters', 0, null, null]);
        await client.next('granted', (message) => message[2] === seq);
        client.send(['release', session, seq + 1, seq, seq]);
        await client.next('ok', (message) => message[2] === seq + 1);
      }
    });

    expect(counts.leader.frames_received).toBe(operations);
    expect(counts.leader.frames_sent).toBe(operations);
    // Entries, one frame to each follower. That a follower was slow may join two of them.
    expect(counts.leader.peer_frames_sent).toBeLessThanOrEqual(2 * operations);
    expect(counts.leader.log_writes).toBeLessThanOrEqual(operations);
    expect(counts.leader.log_entries).toBe(operations);
    // Kind and version included; numbers are small here.
    expect(counts.leader.log_entry_bytes / operations).toBeLessThanOrEqual(24);
    // Around the entries: their offsets, the point before them, the commit index.
    expect(counts.leader.peer_bytes_sent / counts.leader.peer_frames_sent).toBeLessThanOrEqual(64);
    for (const follower of counts.followers) {
      expect(follower.peer_frames_sent).toBeLessThanOrEqual(operations);
      expect(follower.log_writes).toBeLessThanOrEqual(operations);
      expect(follower.frames_sent).toBe(0);
    }
    // The leader is woken by the request, its own write and two acknowledgements; a follower by entries and its write.
    // Two a node are the commands' own, and the same moment as the turn's.
    expect(counts.endsOfTurns / operations).toBeLessThanOrEqual(11);
  }, 60_000);

  test('a client of a follower waits for no clock either: its node is told of the commit at once', async () => {
    const operations = 40;
    const follower = followers[0] as LockNode;
    const [{ client, session }] = (await sessions(1, 'afar', follower)) as [{ client: RawClient; session: number }];
    const counts = await counted(async () => {
      for (let seq = 1; seq < operations; seq += 2) {
        client.send(['acquire', session, seq, seq - 1, 'from a follower', 0, null, null]);
        await client.next('granted', (message) => message[2] === seq);
        client.send(['release', session, seq + 1, seq, seq]);
        await client.next('ok', (message) => message[2] === seq + 1);
      }
    });

    expect(counts.leader.log_entries).toBe(operations);
    // The entry to each of two followers, and the commit to one of them. A few may be left over from before.
    expect(counts.leader.peer_frames_sent).toBeLessThanOrEqual(3 * operations + 4);
    // The operation, and an acknowledgement of each of the two.
    expect(counts.followers[0]?.peer_frames_sent).toBeLessThanOrEqual(3 * operations + 4);
    expect(counts.followers[1]?.peer_frames_sent).toBeLessThanOrEqual(operations + 4);
  }, 60_000);

  test('256 operations of eight connections at once: a few writes and frames for all of them', async () => {
    const rounds = 10;
    const perClient = 32;
    const clients = await sessions(8, 'together');
    const counts = await counted(async () => {
      for (let round = 0; round < rounds; round++) {
        const kind = round % 2 === 0 ? 'acquire' : 'release';
        for (const { client, session } of clients) {
          const first = round * perClient + 1;
          client.send(
            ...Array.from({ length: perClient }, (_, number) =>
              kind === 'acquire'
                ? ['acquire', session, first + number, first - 1, `${session}/${number}`, 0, null, null]
                : ['release', session, first + number, first - 1, first + number - perClient],
            ),
          );
        }
        const answer = kind === 'acquire' ? 'granted' : 'ok';
        for (const { client } of clients) for (let number = 0; number < perClient; number++) await client.next(answer);
      }
    });

    const operations = rounds * clients.length * perClient;
    expect(counts.leader.frames_received).toBe(rounds * clients.length);
    // Answers of one turn are one frame. A round is a few turns where the frames are not all read in one.
    expect(counts.leader.frames_sent).toBeLessThanOrEqual(2 * rounds * clients.length);
    expect(counts.leader.log_entries).toBe(operations);
    expect(operations / counts.leader.log_writes).toBeGreaterThanOrEqual(64);
    expect(counts.leader.peer_frames_sent).toBeLessThanOrEqual(2 * 4 * rounds);
    for (const follower of counts.followers) {
      expect(operations / follower.log_writes).toBeGreaterThanOrEqual(64);
      expect(follower.peer_frames_sent).toBeLessThanOrEqual(4 * rounds);
    }
    expect(counts.leader.peer_bytes_sent / operations / 2).toBeLessThanOrEqual(32);
  }, 60_000);
});
