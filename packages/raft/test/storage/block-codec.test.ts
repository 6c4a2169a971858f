import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type EntryRun, joinRuns, runOf } from '../../src/core/entry-run.ts';
import { term } from '../../src/core/ids.ts';
import { blockOverheadBytes, cutIntoBlocks, decodeBlock, encodeBlock } from '../../src/node/block-codec.ts';
import { seal } from '../../src/node/digest.ts';
import { decodeMarkerFile, initialMarkerFile } from '../../src/node/marker.ts';

const NUMBER = fc.oneof(fc.integer({ min: 1, max: 2 ** 33 }), fc.constantFrom(2 ** 32, 2 ** 53 - 100));
const ENTRY = fc.uint8Array({ maxLength: 40 });
const DIGEST = fc.uint8Array({ minLength: 8, maxLength: 8 });

/** Runs that follow each other; a change of term starts a new one, but not every new one changes the term. */
const RUNS = fc
  .tuple(
    NUMBER,
    fc.array(fc.tuple(fc.boolean(), fc.array(ENTRY, { minLength: 1, maxLength: 8 })), { minLength: 1, maxLength: 6 }),
  )
  .map(([first, pieces]) => {
    let index = first;
    let runTerm = 3;
    return pieces.map(([isNewTerm, entries]) => {
      if (isNewTerm) runTerm += 1;
      const run = runOf(index, term(runTerm), entries);
      index += entries.length;
      return run;
    });
  });

function contentOf(runs: readonly EntryRun[]): string[] {
  return runs.flatMap((run) =>
    Array.from({ length: run.count }, (_, at) => {
      const index = (run.firstIndex + at) as EntryRun['firstIndex'];
      return `${index} ${run.term} ${Buffer.from(run.entry(index)).toString('hex')}`;
    }),
  );
}

describe('blocks', () => {
  test('what is cut into blocks, encoded and decoded is what it was', () => {
    fc.assert(
      fc.property(RUNS, DIGEST, fc.integer({ min: 60, max: 400 }), (runs, digest, maxBytes) => {
        const blocks = cutIntoBlocks(runs, maxBytes);
        const decoded = blocks.map((block) => {
          const { record } = encodeBlock(block, term(2), digest);
          const count = block.reduce((sum, run) => sum + run.count, 0);
          expect(record.length <= maxBytes || count === 1).toBe(true);
          expect(record.length).toBe(blockOverheadBytes(count) + block.reduce((sum, run) => sum + run.byteLength, 0));
          const back = decodeBlock(record, block[0]!.firstIndex);
          if (typeof back === 'string') throw new Error(back);
          expect(Buffer.from(back.previousDigest)).toEqual(Buffer.from(digest));
          return back.run;
        });
        expect(contentOf(decoded)).toEqual(contentOf(runs));
      }),
    );
  });

  test('a changed byte, a missing end and another key are noticed', () => {
    fc.assert(
      fc.property(RUNS, DIGEST, fc.nat(), fc.integer({ min: 1, max: 255 }), (runs, digest, at, change) => {
        const block = runs.filter((run) => run.term === runs[0]?.term);
        const { record } = encodeBlock([joinRuns(block)], term(2), digest);
        const first = block[0]!.firstIndex;
        const position = at % record.length;
        const changed = Uint8Array.from(record);
        changed[position] = (changed[position] as number) ^ change;
        expect(decodeBlock(changed, first)).toBeTypeOf('string');
        expect(decodeBlock(record.subarray(0, position), first)).toBeTypeOf('string');
        expect(decodeBlock(record, first + 1)).toBeTypeOf('string');
      }),
    );
  });
});

test('a marker of the first version, which names no starts, is read', () => {
  const sealed = seal(Buffer.from(JSON.stringify([1, 5, 7, 40, 9, 11, 'n2', 30])));
  const slot = Buffer.alloc(4096);
  slot.writeUInt16LE(sealed.length, 0);
  slot.set(sealed, 2);
  expect(decodeMarkerFile(slot)).toEqual({
    sequence: 5,
    marker: {
      incarnation: 7,
      starts: [],
      lastIndex: 40,
      lastTerm: 9,
      hardState: { term: 11, votedFor: 'n2', commitIndex: 30 },
    },
  });
});

test('a marker file with any one byte changed still says what it said', () => {
  const marker = {
    incarnation: 7,
    starts: ['seventh', 'sixth'],
    lastIndex: (2 ** 40) as EntryRun['firstIndex'],
    lastTerm: term(9),
    hardState: { term: term(11), votedFor: undefined, commitIndex: 5 as EntryRun['firstIndex'] },
  };
  const file = initialMarkerFile(marker);
  for (let position = 0; position < file.length; position += 3) {
    const changed = Uint8Array.from(file);
    changed[position] = (changed[position] as number) ^ 0x10;
    expect(decodeMarkerFile(changed)?.marker, `byte ${position}`).toEqual(marker);
  }
});
