import fc from 'fast-check';
import { Packr, Unpackr } from 'msgpackr';
import { describe, expect, test } from 'vitest';
import { decodeFlat, encodeFlat } from '../../src/lock-table/flat-tuple.ts';

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false });

const edges = [0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, Number.MAX_SAFE_INTEGER];
const integer = fc.oneof(fc.nat(300), fc.maxSafeNat(), fc.constantFrom(...edges));
const ascii = fc
  .array(fc.nat(0x7f), { maxLength: 300 })
  .filter((codes) => codes.length <= 255)
  .map((codes) => String.fromCharCode(...codes));
const flatTuple = fc.array(fc.oneof(integer, ascii), { maxLength: 15 });
const anyTuple = fc.array(
  fc.oneof(integer, ascii, fc.string({ unit: 'binary', maxLength: 40 }), fc.integer(), fc.double(), fc.array(integer)),
  { maxLength: 20 },
);

/** What the general decoder makes of it; undefined where it throws. */
function unpack(bytes: Uint8Array): unknown {
  try {
    return unpackr.unpack(bytes);
  } catch {
    return undefined;
  }
}

describe('tuples of integers and ASCII strings', () => {
  test('have the bytes that the general encoder makes', () => {
    fc.assert(
      fc.property(flatTuple, (tuple) => {
        const encoded = encodeFlat(1, tuple);
        expect(encoded).toEqual(Uint8Array.from([1, ...packr.pack(tuple)]));
        expect(decodeFlat(encoded as Uint8Array, 1, (encoded as Uint8Array).length)).toEqual(tuple);
      }),
      { numRuns: 2000 },
    );
  });

  test('are left to the general encoder where they hold anything else', () => {
    fc.assert(
      fc.property(anyTuple, (tuple) => {
        const encoded = encodeFlat(1, tuple);
        if (encoded !== undefined) expect(encoded).toEqual(Uint8Array.from([1, ...packr.pack(tuple)]));
      }),
      { numRuns: 2000 },
    );
    for (const item of [-1, -0.5, 0.5, Number.NaN, 2 ** 53, 'ü', 'a'.repeat(256), [1], null]) {
      expect(encodeFlat(1, [item])).toBeUndefined();
    }
  });

  test('any bytes are what the general decoder makes of them, or are left to it', () => {
    const tuples = fc.oneof(flatTuple, anyTuple).map((tuple) => Uint8Array.from(packr.pack(tuple)));
    const damaged = fc.tuple(tuples, fc.nat(), fc.nat(255)).map(([bytes, place, byte]) => {
      const changed = Uint8Array.from(bytes);
      changed[place % changed.length] = byte;
      return changed;
    });
    const cut = fc.tuple(tuples, fc.nat()).map(([bytes, length]) => bytes.slice(0, length % (bytes.length + 1)));
    fc.assert(
      fc.property(fc.oneof(tuples, damaged, cut, fc.uint8Array({ maxLength: 40 })), fc.nat(3), (bytes, before) => {
        // Neighbours in the same buffer are not looked at.
        const run = new Uint8Array(before + bytes.length + 3).fill(0x2a);
        run.set(bytes, before);
        const decoded = decodeFlat(run, before, before + bytes.length);
        if (decoded !== undefined) expect(decoded).toEqual(unpack(bytes));
      }),
      { numRuns: 10_000 },
    );
  });
});
