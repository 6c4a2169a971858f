import { codecFor, jsonCodec, LIMITS, msgpackCodec, ProtocolError } from '@lockd/client/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toleratesProtocolError } from './tolerates.ts';

/** What may stand in a message: everything JSON can say with numbers that are exact. */
const value = fc.letrec((tie) => ({
  leaf: fc.oneof(
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (Object.is(number, -0) ? 0 : number)),
    fc.string({ unit: 'grapheme', maxLength: 80 }),
  ),
  any: fc.oneof(
    { depthSize: 'small', maxDepth: 4 },
    tie('leaf'),
    fc.array(tie('any'), { maxLength: 20 }),
    fc.dictionary(
      fc.string({ unit: 'grapheme' }).filter((key) => key !== '__proto__'),
      tie('any'),
      { maxKeys: 20, noNullPrototype: true },
    ),
  ),
})).any;
const message = fc.tuple(fc.string({ unit: 'grapheme' }), value, value).map((fields) => fields as unknown[]);
const frame = fc.array(message, { maxLength: 20 });

describe.each([msgpackCodec, jsonCodec])('codec $subprotocol', (codec) => {
  test('decodes what it has encoded', () => {
    fc.assert(
      fc.property(frame, (messages) => {
        expect(codec.decode(codec.encode(messages))).toEqual(messages);
      }),
    );
  });

  test('throws a ProtocolError, and nothing else, on any other input', () => {
    fc.assert(
      fc.property(codec === jsonCodec ? fc.string() : fc.uint8Array({ maxLength: 200 }), (input) => {
        toleratesProtocolError(() => codec.decode(input));
      }),
    );
  });

  test('refuses a frame beyond its bound', () => {
    const large = codec.encode([['a', 'x'.repeat(100)]]);
    expect(() => codec.decode(large, 50)).toThrow(ProtocolError);
  });

  test('refuses a frame of the other kind', () => {
    const other = codec === jsonCodec ? msgpackCodec : jsonCodec;
    expect(() => codec.decode(other.encode([]))).toThrow(ProtocolError);
  });

  test('treats absent as null, and a message without a name as none', () => {
    expect(codec.decode(codec.encode([['a', undefined]]))).toEqual([['a', null]]);
    expect(() => codec.decode(codec.encode([[]]))).toThrow(ProtocolError);
    expect(() => codec.decode(codec.encode([[1]]))).toThrow(ProtocolError);
  });
});

describe('MessagePack', () => {
  const roundTrip = (field: unknown) => msgpackCodec.decode(msgpackCodec.encode([['x', field]]))[0]?.[1];

  test.each([
    0,
    127,
    128,
    255,
    256,
    65535,
    65536,
    2 ** 32 - 1,
    2 ** 32,
    Number.MAX_SAFE_INTEGER,
    -1,
    -32,
    -33,
    -(2 ** 31),
    -(2 ** 31) - 1,
    Number.MIN_SAFE_INTEGER,
    1.5,
  ])('carries %d exactly', (number) => {
    expect(roundTrip(number)).toBe(number);
  });

  test('refuses an integer beyond 2^53 instead of rounding it', () => {
    // [["x", 2^53]] with the number as uint64.
    const bytes = Uint8Array.of(0x91, 0x92, 0xa1, 0x78, 0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0);
    expect(() => msgpackCodec.decode(bytes)).toThrow(/2\^53/);
  });

  test('does not allocate what a length field claims', () => {
    // An array of 2^32 - 1 elements in five bytes.
    expect(() => msgpackCodec.decode(Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff))).toThrow(ProtocolError);
    expect(() => msgpackCodec.decode(Uint8Array.of(0xdb, 0xff, 0xff, 0xff, 0xff))).toThrow(ProtocolError);
  });

  test('refuses deep nesting instead of running out of stack', () => {
    expect(() => msgpackCodec.decode(new Uint8Array(100_000).fill(0x91))).toThrow(/deeper/);
  });

  test('refuses more values than a frame may have', () => {
    const empty = new Uint8Array(5 + 1_500_000).fill(0x90);
    empty.set([0xdd, 0, 0x16, 0xe3, 0x60]);
    expect(() => msgpackCodec.decode(empty)).toThrow(/values/);
  });

  test('refuses bytes after the value, binary and extension types, and UTF-8 that is not well-formed', () => {
    expect(() => msgpackCodec.decode(Uint8Array.of(0x90, 0x90))).toThrow(/after/);
    expect(() => msgpackCodec.decode(Uint8Array.of(0xc4, 0))).toThrow(/0xc4/);
    expect(() => msgpackCodec.decode(Uint8Array.of(0xd6, 0xff, 0, 0, 0, 0))).toThrow(/0xd6/);
    for (const bad of [[0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82], [0x80]]) {
      expect(() => msgpackCodec.decode(Uint8Array.of(0x91, 0x91, 0xa0 | bad.length, ...bad))).toThrow(/UTF-8/);
    }
  });

  test('refuses a key that would set a prototype', () => {
    // {"__proto__": nil}, with both forms of a short string's length; a longer key that ends the same is one like any other.
    const text = Array.from('__proto__', (letter) => letter.charCodeAt(0));
    expect(() => msgpackCodec.decode(Uint8Array.of(0x91, 0x92, 0xa1, 0x78, 0x81, 0xa9, ...text, 0xc0))).toThrow(/key/);
    expect(() => msgpackCodec.decode(Uint8Array.of(0x91, 0x92, 0xa1, 0x78, 0x81, 0xd9, 9, ...text, 0xc0))).toThrow(
      /key/,
    );
    expect(roundTrip({ '1__proto__': 1 })).toEqual({ '1__proto__': 1 });
  });
});

test('a codec is found by its subprotocol', () => {
  expect(codecFor('lockd.v1.json')).toBe(jsonCodec);
  expect(codecFor('lockd.v1.msgpack')).toBe(msgpackCodec);
  expect(codecFor('mqtt')).toBeUndefined();
});

test('a frame at the bound of the protocol passes', () => {
  const text = 'x'.repeat(LIMITS.maxFrameBytes - 20);
  expect(msgpackCodec.decode(msgpackCodec.encode([[text]]))).toEqual([[text]]);
});
