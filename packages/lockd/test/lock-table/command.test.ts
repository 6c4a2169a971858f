import { canonicalName } from '@lockd/client/protocol';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { type Command, decodeCommand, encodeCommand, OP } from '../../src/lock-table/command.ts';
import { LockTable } from '../../src/lock-table/lock-table.ts';
import { isProblem, toCommand } from '../../src/lock-table/request.ts';
import { SILENT_SINK } from '../../src/lock-table/state.ts';

// Thousands of executions, on machines that are busy with other things.
vi.setConfig({ testTimeout: 120_000 });

const integer = fc.oneof(fc.nat(300), fc.maxSafeNat());
/** Any UTF-16, lone surrogates, byte-order marks and the escape itself included, as the gateway lets it in. */
const text = fc
  .array(fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.constantFrom(0xd800, 0xd801, 0xdc00, 0xfeff, 0xfdd0, 0x41)), {
    maxLength: 150,
  })
  .map((units) => canonicalName(String.fromCharCode(...units)));
const texts = fc.array(text, { maxLength: 4 });
const integers = fc.array(integer, { maxLength: 4 });
const options = fc.tuple(
  fc.constantFrom(0, 1, 2),
  integer,
  integer,
  integer,
  integer,
  texts,
  integers,
  integers,
  fc.constantFrom(0, 1),
  text,
);
const operation = [integer, integer, integer, integer] as const;

const command: fc.Arbitrary<Command> = fc.oneof(
  fc.tuple(fc.constant(OP.acquire), ...operation, text, integer),
  fc.tuple(fc.constant(OP.acquire), ...operation, text, integer, integer, options),
  fc.tuple(fc.constant(OP.acquireAll), ...operation, texts, integer, integer, options),
  fc.tuple(fc.constantFrom(OP.release, OP.cancel, OP.downgrade, OP.upgrade), ...operation, integer),
  fc.tuple(fc.constant(OP.extend), ...operation, integer, integer),
  fc.tuple(fc.constant(OP.setLimit), ...operation, text, integer),
  fc.tuple(fc.constant(OP.complete), ...operation, integer, text, integer),
  fc.tuple(fc.constant(OP.close), ...operation),
  fc.tuple(fc.constant(OP.open), text, integer, integer, integer, texts),
  fc.tuple(fc.constant(OP.attach), integer, text, integer),
  fc.tuple(fc.constant(OP.detach), integer, integer),
  fc.tuple(fc.constant(OP.endSession), integer, integer, integer),
  fc.tuple(fc.constant(OP.endGrant), integer, integer, integer, integer),
  fc.tuple(fc.constantFrom(OP.endWait, OP.endMaxHold), integer, integer, integer),
  fc.tuple(fc.constant(OP.endReserve), integer, integer),
  fc.tuple(fc.constant(OP.endOnce), text, integer, integer),
  fc.constant([OP.continueWork] as const),
) as fc.Arbitrary<Command>;

describe('the encoding of commands', () => {
  test('decode(encode(c)) equals c', () => {
    fc.assert(
      fc.property(command, (given) => {
        expect(decodeCommand(encodeCommand(given))).toEqual(given);
      }),
      { numRuns: 3000 },
    );
  });

  test('any bytes are a command or nothing, and never an exception', () => {
    const table = new LockTable();
    let index = 0;
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.uint8Array({ maxLength: 60 }).map((tail) => Uint8Array.from([1, ...tail])),
      fc.tuple(command, fc.nat(), fc.nat(255)).map(([given, place, byte]) => {
        const encoded = encodeCommand(given);
        encoded[place % encoded.length] = byte;
        return encoded;
      }),
    );
    fc.assert(
      fc.property(bytes, (given) => {
        table.applyEntry(given, ++index, 1, SILENT_SINK);
      }),
      { numRuns: 5000 },
    );
    expect(table.index).toBe(index);
    expect(table.counters().unreadableCommands).toBeGreaterThan(0);
  });

  test('a version that this program does not know does nothing, and is counted', () => {
    const table = new LockTable();
    const bytes = encodeCommand([OP.open, 'n', 15_000, 0, 0, []]);
    bytes[0] = 2;
    table.applyEntry(bytes, 1, 1, SILENT_SINK);
    expect(table.counters()).toMatchObject({ sessions: 0, unreadableCommands: 1 });
  });

  test('numbers at the edge of what is safe survive, those beyond are refused', () => {
    const most: Command = [OP.detach, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER];
    expect(decodeCommand(encodeCommand(most))).toEqual(most);
    for (const wrong of [Number.MAX_SAFE_INTEGER + 1, -1, 0.5, Number.NaN]) {
      expect(decodeCommand(encodeCommand([OP.detach, wrong, 1]))).toBeUndefined();
    }
  });
});

describe('requests from the wire', () => {
  const problem = (message: readonly unknown[]) => {
    const result = toCommand(message, 1);
    return isProblem(result) ? `${result.code}: ${result.message}` : 'accepted';
  };

  test('become commands', () => {
    expect(toCommand(['acquire', 7, 3, 1, 'a', 500, null, null], 4)).toEqual([OP.acquire, 7, 4, 3, 1, 'a', 500]);
    expect(toCommand(['release', 7, 3, 1, 2], 4)).toEqual([OP.release, 7, 4, 3, 1, 2]);
    expect(toCommand(['open', 1, 'n', 15_000, 9, { releaseOnDisconnect: true, metadata: { host: 'h' } }], 0)).toEqual([
      OP.open,
      'n',
      15_000,
      9,
      3,
      ['host', 'h'],
    ]);
    const options = { permits: 3, minHoldMs: 5, holding: [1], onceKey: 'k' };
    expect(toCommand(['acquire', 7, 3, 1, 'a', 0, 250, options], 4)).toEqual([
      OP.acquire,
      7,
      4,
      3,
      1,
      'a',
      0,
      250,
      [2, 3, 0, 5, 0, [], [], [1], 0, 'k'],
    ]);
  });

  test('come out well-formed: what goes into the log is what is read from it', () => {
    const made = toCommand(
      ['acquire', 7, 3, 1, 'x\ud800', 500, null, { metadata: { '\udc00': '\ud801' } }],
      1,
    ) as Command;
    expect(decodeCommand(encodeCommand(made))).toEqual(made);
    const other = toCommand(['acquire', 7, 3, 1, 'x\ud801', 500, null, null], 1) as Command;
    expect(other[5]).not.toBe(made[5]);
  });

  test.each<[string, readonly unknown[], string]>([
    ['no name', ['acquire', 1, 1, 0, '', 0], 'LOCKD_INVALID: a name must not be empty'],
    ['a name too long', ['acquire', 1, 1, 0, 'é'.repeat(300), 0], 'LOCKD_INVALID: a name takes at most 512'],
    ['a name that is no string', ['acquire', 1, 1, 0, 5, 0], 'LOCKD_INVALID: a name is a string'],
    ['a negative wait', ['acquire', 1, 1, 0, 'a', -1], 'LOCKD_INVALID: wait'],
    ['a wait too long', ['acquire', 1, 1, 0, 'a', 1e12], 'LOCKD_INVALID: wait is at most'],
    ['a lease of nothing', ['acquire', 1, 1, 0, 'a', 0, 0], 'LOCKD_INVALID: lease is at least 1 ms'],
    ['seq 0', ['acquire', 1, 0, 0, 'a', 0], 'LOCKD_INVALID: an operation begins'],
    ['acked not below seq', ['release', 1, 3, 3, 1], 'LOCKD_INVALID: an operation begins'],
    ['a handle from the future', ['cancel', 1, 3, 0, 3], 'LOCKD_INVALID: a handle is the seq of an earlier'],
    ['a fraction', ['acquire', 1.5, 1, 0, 'a', 0], 'LOCKD_INVALID: an operation begins'],
    ['an unknown mode', ['acquire', 1, 1, 0, 'a', 0, null, { mode: 'x' }], 'LOCKD_INVALID: mode'],
    ['shared permits', ['acquire', 1, 1, 0, 'a', 0, null, { mode: 'shared', permits: 2 }], 'LOCKD_INVALID: a permit'],
    ['too many slots', ['acquire', 1, 1, 0, 'a', 0, null, { permits: 1e6 }], 'LOCKD_INVALID: a semaphore has at most'],
    [
      'a shared steal',
      ['acquire', 1, 1, 0, 'a', 0, null, { mode: 'shared', steal: true }],
      'LOCKD_INVALID: only an exclusive',
    ],
    [
      'metadata too long',
      ['acquire', 1, 1, 0, 'a', 0, null, { metadata: { a: 'x'.repeat(5000) } }],
      'LOCKD_LIMIT: metadata',
    ],
    [
      'metadata of numbers',
      ['acquire', 1, 1, 0, 'a', 0, null, { metadata: { a: 5 } }],
      'LOCKD_INVALID: metadata is strings',
    ],
    ['the same name twice', ['acquire-all', 1, 1, 0, ['a', 'a'], 0], 'LOCKD_INVALID: acquire-all takes different'],
    [
      'too many names',
      ['acquire-all', 1, 1, 0, Array.from({ length: 65 }, (_, i) => `n${i}`), 0],
      'LOCKD_INVALID: acquire-all takes 1 to 64',
    ],
    ['a ttl too short', ['open', 1, 'n', 10, 0, null], "LOCKD_INVALID: a session's ttl"],
    ['an unknown operation', ['steal-everything', 1, 1, 0], 'LOCKD_PROTOCOL: there is no operation'],
  ])('%s is refused in clear words', (_, message, expected) => {
    expect(problem(message)).toContain(expected);
  });

  test('anything at all gives a command that survives the log, or a problem', () => {
    const name = fc.constantFrom(
      'acquire',
      'acquire-all',
      'release',
      'extend',
      'open',
      'attach',
      'complete',
      'set-limit',
      'close',
    );
    fc.assert(
      fc.property(name, fc.array(fc.oneof(fc.nat(20), text, fc.anything()), { maxLength: 8 }), (first, rest) => {
        const result = toCommand([first, ...rest], 1);
        if (!isProblem(result)) expect(decodeCommand(encodeCommand(result))).toEqual(result);
      }),
      { numRuns: 3000 },
    );
  });
});
