import {
  canonicalName,
  durationMs,
  escapeLoneSurrogates,
  msgpackCodec,
  nameProblem,
  originalName,
  utf8ByteLength,
} from '@lockd/client/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

/** Arbitrary UTF-16, with the units that matter often. */
const utf16 = fc
  .array(
    fc.oneof(
      fc.integer({ min: 0, max: 0xffff }),
      fc.integer({ min: 0xd800, max: 0xdfff }),
      fc.constantFrom(0xfdd0, 0x64, 0x38, 0x66, 0x30),
    ),
    { maxLength: 40 },
  )
  .map((units) => String.fromCharCode(...units));

describe('canonical names', () => {
  test('come back as they were, from any UTF-16', () => {
    fc.assert(
      fc.property(utf16, (name) => {
        expect(originalName(canonicalName(name))).toBe(name);
      }),
    );
  });

  test('survive the wire', () => {
    fc.assert(
      fc.property(utf16, (name) => {
        const canonical = canonicalName(name);
        expect(msgpackCodec.decode(msgpackCodec.encode([[canonical]]))).toEqual([[canonical]]);
      }),
    );
  });

  test('differ where names differ', () => {
    fc.assert(
      fc.property(utf16, utf16, (a, b) => {
        expect(canonicalName(a) === canonicalName(b)).toBe(a === b);
      }),
    );
    expect(canonicalName('x\ud800')).not.toBe(canonicalName('x\ud801'));
  });

  test('pass the gateway unchanged, which is idempotent on anything', () => {
    fc.assert(
      fc.property(utf16, (name) => {
        const canonical = canonicalName(name);
        expect(escapeLoneSurrogates(canonical)).toBe(canonical);
        const escaped = escapeLoneSurrogates(name);
        expect(escapeLoneSurrogates(escaped)).toBe(escaped);
      }),
    );
  });

  test('a raw lone surrogate from another client means the same name', () => {
    expect(escapeLoneSurrogates('a\ud800')).toBe(canonicalName('a\ud800'));
  });

  test('are measured in UTF-8', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (name) => {
        expect(utf8ByteLength(name)).toBe(Buffer.byteLength(name));
      }),
    );
    expect(nameProblem('')).toMatch(/empty/);
    expect(nameProblem('a'.repeat(512))).toBeUndefined();
    expect(nameProblem('a'.repeat(513))).toMatch(/512/);
    expect(nameProblem('€'.repeat(171))).toMatch(/512/);
  });
});

describe('durations', () => {
  test.each([
    [0, 0],
    [1.2, 2],
    ['500ms', 500],
    ['5s', 5000],
    ['1.5m', 90_000],
    ['24h', 86_400_000],
  ] as const)('%s is %d ms', (duration, expected) => {
    expect(durationMs(duration)).toBe(expected);
  });

  test.each([
    -1,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    '5',
    's',
    '5 s',
    '-5s',
    '1e3s',
    null,
    undefined,
    {},
    '99999999999999999999h',
  ])('%s is none', (value) => {
    expect(durationMs(value)).toBeUndefined();
  });
});
