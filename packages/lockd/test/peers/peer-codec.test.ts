import { EntryRun, type LogIndex, type Message, type NodeId, type Term } from '@lockd/raft';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { describe, expect, test } from 'vitest';
import type { AppPayload } from '../../src/peers/app-payload.ts';
import {
  encodeApp,
  encodeMessage,
  encodeProbe,
  encodeTransfer,
  ITEM,
  type Item,
  MalformedFrame,
  packFrame,
  unpackFrame,
} from '../../src/peers/peer-codec.ts';

const FROM = 'n1' as NodeId;
const TO = 'n2' as NodeId;
const uint = fc.maxSafeNat();

function roundTrip(items: readonly Item[]): ReturnType<typeof unpackFrame> {
  return unpackFrame(packFrame(items), FROM, TO);
}

/** Plain values for comparison: a run may begin anywhere in its buffer. */
function plain(message: Message): unknown {
  if (message.type !== 'append-request') return message;
  return {
    ...message,
    runs: message.runs.map((run) => ({
      firstIndex: run.firstIndex,
      term: run.term,
      entries: Array.from(run.ends, (_, position) => [...run.entry((run.firstIndex + position) as LogIndex)]),
    })),
  };
}

const envelope = { from: fc.constant(FROM), to: fc.constant(TO), term: uint };
const configuration = fc.record({
  voters: fc.array(fc.string({ minLength: 1, maxLength: 20 })),
  outgoing: fc.array(fc.string({ minLength: 1, maxLength: 20 })),
  learners: fc.array(fc.string({ minLength: 1, maxLength: 20 })),
  learnersNext: fc.constant([]),
  autoLeave: fc.boolean(),
});

/** Runs that follow each other, some of them slices of a larger buffer. */
const append = fc
  .record({
    previousIndex: fc.nat(1_000_000),
    sizes: fc.array(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 6 }), { maxLength: 4 }),
    lead: fc.nat(5),
  })
  .map(({ previousIndex, sizes, lead }) => {
    let next = previousIndex + 1;
    return sizes.map((lengths, position) => {
      const ends = new Uint32Array(lengths.length);
      let end = lead;
      lengths.forEach((length, entry) => {
        end += length;
        ends[entry] = end;
      });
      const bytes = Uint8Array.from({ length: end + lead }, (_, byte) => (byte * 7 + position) & 255);
      const run = new EntryRun(next as LogIndex, (position + 1) as Term, bytes, lead, ends);
      next += lengths.length;
      return { run, previousIndex };
    });
  });

const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({
    type: fc.constant('vote-request'),
    ...envelope,
    preVote: fc.boolean(),
    lastLogIndex: uint,
    lastLogTerm: uint,
    transfer: fc.boolean(),
  }),
  fc.record({ type: fc.constant('vote-response'), ...envelope, preVote: fc.boolean(), granted: fc.boolean() }),
  fc.record({
    type: fc.constant('append-response'),
    ...envelope,
    success: fc.boolean(),
    matchIndex: uint,
    hintIndex: uint,
    hintTerm: uint,
  }),
  fc.record({ type: fc.constant('heartbeat'), ...envelope, commitIndex: uint, round: uint }),
  fc.record({ type: fc.constant('heartbeat-response'), ...envelope, round: uint }),
  fc.record({ type: fc.constant('timeout-now'), ...envelope }),
  fc.record({
    type: fc.constant('snapshot-request'),
    ...envelope,
    metadata: fc.record({ index: uint, term: uint, configuration }),
  }),
  fc.tuple(append, uint, uint).map(([runs, previousTerm, commitIndex]) => ({
    type: 'append-request',
    from: FROM,
    to: TO,
    term: 9,
    previousIndex: runs[0]?.previousIndex ?? 3,
    previousTerm,
    commitIndex,
    runs: runs.map(({ run }) => run),
  })),
) as fc.Arbitrary<Message>;

describe('frames between nodes', () => {
  test('every message of Raft arrives as it was sent', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 10 }), (messages) => {
        const arrived = roundTrip(messages.map(encodeMessage)).map((item) =>
          item.kind === 'raft' ? plain(item.message) : item,
        );
        expect(arrived).toEqual(messages.map(plain));
      }),
    );
  });

  test('everything else arrives as it was sent', () => {
    const payloads: AppPayload[] = [
      { type: 'forward', batch: 3, start: 0, ends: Uint32Array.of(2, 5), bytes: Uint8Array.of(1, 2, 1, 3, 4) },
      { type: 'forward-refused', batch: 3, reason: 'not-leader' },
      { type: 'renew', renewals: [5, 1, 6, 2] },
      { type: 'renewed', renewals: [] },
      { type: 'read-index', id: 1 },
      { type: 'read-answer', id: 1, index: 7 },
      { type: 'read-answer', id: 2, index: undefined },
    ];
    const identity = { instanceId: 'i', incarnation: 2, start: 's', clusterId: undefined };
    const probe = { type: 'join-request', identity, phase: 'empty', bootstrapHash: 'h', verdict: 'undecided' } as const;
    const progress = { type: 'snapshot-progress', term: 1, index: 2, nextOffset: 3, refused: false } as const;
    const chunk = {
      type: 'snapshot-chunk',
      ...{ term: 1, index: 2, snapshotTerm: 1, byteLength: 10, offset: 4, checksum: 5, contentHash: 'c' },
      configuration: Uint8Array.of(1),
      bytes: Uint8Array.of(2, 3),
    } as const;
    const arrived = roundTrip([
      ...payloads.map(encodeApp),
      encodeProbe(probe),
      encodeTransfer(progress),
      encodeTransfer(chunk),
    ]);
    expect(arrived.map(withLists)).toEqual(
      [
        ...payloads.map((payload) => ({ kind: 'app', payload })),
        { kind: 'probe', probe },
        { kind: 'snapshot', transfer: progress },
        { kind: 'snapshot', transfer: chunk },
      ].map(withLists),
    );
  });

  test('the bytes of entries are the frame’s, not copies', () => {
    const run = new EntryRun(1 as LogIndex, 1 as Term, Uint8Array.of(1, 2, 3), 0, Uint32Array.of(3));
    const sent: Message = {
      type: 'append-request',
      from: FROM,
      to: TO,
      term: 1 as Term,
      previousIndex: 0 as LogIndex,
      previousTerm: 0 as Term,
      commitIndex: 0 as LogIndex,
      runs: [run],
    };
    const frame = Uint8Array.from(packFrame([encodeMessage(sent)]));
    const [item] = unpackFrame(frame, FROM, TO);
    const arrived = item?.kind === 'raft' && item.message.type === 'append-request' ? item.message.runs[0] : undefined;
    expect(arrived?.bytes.buffer).toBe(frame.buffer);
  });
});

describe('what is no frame is refused, and nothing worse', () => {
  const pack = new Packr({ useRecords: false });
  const offsets = (...ends: number[]): Uint8Array => new Uint8Array(Uint32Array.from(ends).buffer);
  const run = (firstIndex: unknown, ends: unknown, bytes: unknown): Item => [
    ITEM.appendRequest,
    1,
    4,
    1,
    0,
    firstIndex,
    1,
    ends,
    bytes,
  ];

  test.each<[string, unknown]>([
    ['no list', 7],
    ['an item that is no list', [7]],
    ['an unknown item', [[99]]],
    ['a missing field', [[ITEM.heartbeat, 1]]],
    ['a negative term', [[ITEM.timeoutNow, -1]]],
    ['a term beyond 2^53', [[ITEM.timeoutNow, 2 ** 60]]],
    ['a fraction', [[ITEM.timeoutNow, 1.5]]],
    ['a run that does not follow', [run(6, offsets(1), Uint8Array.of(1))]],
    ['an empty run', [run(5, offsets(), Uint8Array.of())]],
    ['an entry without its kind byte', [run(5, offsets(1, 1), Uint8Array.of(1))]],
    ['offsets that fall', [run(5, offsets(3, 2), Uint8Array.of(1, 1))]],
    ['offsets beyond the bytes', [run(5, offsets(1, 9), Uint8Array.of(1, 1))]],
    ['bytes beyond the offsets', [run(5, offsets(1), Uint8Array.of(1, 1))]],
    ['offsets of a broken length', [run(5, Uint8Array.of(1, 0, 0), Uint8Array.of(1))]],
    ['bytes that are text', [run(5, offsets(1), 'x')]],
    ['renewals that are no pairs', [[ITEM.renew, [1, 2, 3]]]],
  ])('%s', (_what, frame) => {
    expect(() => unpackFrame(pack.pack(frame), FROM, TO)).toThrow(MalformedFrame);
  });

  test('any bytes at all are a frame or a MalformedFrame', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 300 }),
          fc.anything().map((value) => pack.pack(value)),
        ),
        (bytes) => {
          let problem: unknown;
          try {
            unpackFrame(bytes, FROM, TO);
          } catch (error) {
            problem = error;
          }
          expect(problem === undefined || problem instanceof MalformedFrame).toBe(true);
        },
      ),
      { numRuns: 500 },
    );
  });
});

/** The same with plain lists for bytes: a Buffer and a Uint8Array of the same bytes are equal then. */
function withLists(value: unknown): unknown {
  if (value instanceof Uint8Array || value instanceof Uint32Array) return [...value];
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, withLists(field)]));
}
