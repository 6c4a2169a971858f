import { EntryRun } from '../core/entry-run.ts';
import type { LogIndex, Term } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import { DIGEST_BYTES, digestOf, equalBytes } from './digest.ts';

/*
 * A block: consecutive entries of one term in one record. Little-endian.
 *
 *    0  u16  magic 'lB'          16  u64  term
 *    2  u16  format, 1           24  u64  term of the entry before the first (its index is first index - 1)
 *    4  u32  number of entries   32  8 B  digest of the previous block, zeros before the first
 *    8  u64  first index         40  u32  length of the payload
 *   44  u32 × entries: where each entry ends in the payload
 *       payload
 *       8 B  digest of everything above, thus of the whole chain
 */
const MAGIC = 0x426c;
const FORMAT = 1;
const HEADER_BYTES = 44;

/** Bytes a block of so many entries needs beside their payload. */
export function blockOverheadBytes(entries: number): number {
  return HEADER_BYTES + 4 * entries + DIGEST_BYTES;
}

export interface Block {
  readonly run: EntryRun;
  readonly previousTerm: Term;
  readonly previousDigest: Uint8Array;
  readonly digest: Uint8Array;
}

export interface EncodedBlock {
  readonly record: Uint8Array;
  /** A view of the record's last bytes. */
  readonly digest: Uint8Array;
}

/** One record from runs that follow each other in one term. The only copy of the entries on their way to the disk. */
export function encodeBlock(runs: readonly EntryRun[], previousTerm: Term, previousDigest: Uint8Array): EncodedBlock {
  const first = runs[0];
  invariant(first !== undefined, 'a block has at least one entry');
  let count = 0;
  let payloadBytes = 0;
  for (const run of runs) {
    invariant(
      run.term === first.term && run.firstIndex === first.firstIndex + count,
      'runs of a block follow each other in one term',
    );
    count += run.count;
    payloadBytes += run.byteLength;
  }
  const record = Buffer.allocUnsafe(blockOverheadBytes(count) + payloadBytes);
  record.writeUInt16LE(MAGIC, 0);
  record.writeUInt16LE(FORMAT, 2);
  record.writeUInt32LE(count, 4);
  writeSafeInteger(record, first.firstIndex, 8);
  writeSafeInteger(record, first.term, 16);
  writeSafeInteger(record, previousTerm, 24);
  record.set(previousDigest, 32);
  record.writeUInt32LE(payloadBytes, 40);
  let endAt = HEADER_BYTES;
  let offset = 0;
  const payloadAt = HEADER_BYTES + 4 * count;
  for (const run of runs) {
    const shift = offset - run.start;
    for (const end of run.ends) {
      record.writeUInt32LE(end + shift, endAt);
      endAt += 4;
    }
    record.set(run.payload(), payloadAt + offset);
    offset += run.byteLength;
  }
  const body = record.subarray(0, payloadAt + payloadBytes);
  const digest = digestOf(body);
  record.set(digest, body.length);
  return { record, digest };
}

/** The block, or in words what is wrong with the record. The run shares the record's memory. */
export function decodeBlock(record: Uint8Array, expectedFirst: number): Block | string {
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength);
  if (bytes.length < HEADER_BYTES + 4 + DIGEST_BYTES) return 'is too short';
  const body = bytes.subarray(0, bytes.length - DIGEST_BYTES);
  const digest = digestOf(body);
  if (!equalBytes(digest, bytes.subarray(body.length))) return 'has a bad checksum';
  if (bytes.readUInt16LE(0) !== MAGIC || bytes.readUInt16LE(2) !== FORMAT) return 'has an unknown format';
  const count = bytes.readUInt32LE(4);
  const firstIndex = readSafeInteger(bytes, 8);
  const term = readSafeInteger(bytes, 16);
  const previousTerm = readSafeInteger(bytes, 24);
  const payloadBytes = bytes.readUInt32LE(40);
  if (firstIndex === undefined || term === undefined || previousTerm === undefined) return 'has a number out of range';
  if (firstIndex !== expectedFirst) return `holds index ${firstIndex} under the key of ${expectedFirst}`;
  if (count === 0 || body.length !== HEADER_BYTES + 4 * count + payloadBytes) return 'has a wrong length';
  const payloadAt = HEADER_BYTES + 4 * count;
  const ends = new Uint32Array(count);
  let last = 0;
  for (let position = 0; position < count; position++) {
    const end = bytes.readUInt32LE(HEADER_BYTES + 4 * position);
    if (end < last || end > payloadBytes) return 'has entries out of order';
    last = end;
    ends[position] = payloadAt + end;
  }
  if (last !== payloadBytes) return 'has bytes that belong to no entry';
  return {
    run: new EntryRun(firstIndex as LogIndex, term as Term, bytes, payloadAt, ends),
    previousTerm: previousTerm as Term,
    previousDigest: bytes.subarray(32, 32 + DIGEST_BYTES),
    digest,
  };
}

/**
 * Cuts a write into blocks: one term each, and at most `maxBytes` of record unless a single entry is larger.
 * Each element of the result is the list of runs of one block.
 */
export function cutIntoBlocks(runs: readonly EntryRun[], maxBytes: number): EntryRun[][] {
  const blocks: EntryRun[][] = [];
  let current: EntryRun[] = [];
  let bytes = 0;
  const close = (): void => {
    if (current.length > 0) blocks.push(current);
    current = [];
    bytes = blockOverheadBytes(0);
  };
  for (const run of runs) {
    if (current[0] === undefined || current[0].term !== run.term) close();
    if (bytes + run.byteLength + 4 * run.count <= maxBytes) {
      current.push(run);
      bytes += run.byteLength + 4 * run.count;
      continue;
    }
    let from = run.firstIndex;
    for (let index = run.firstIndex; index <= run.lastIndex; index++) {
      const size = run.endOf(index) - run.startOf(index) + 4;
      if (bytes + size > maxBytes && (current.length > 0 || index > from)) {
        if (index > from) current.push(run.slice(from, (index - 1) as LogIndex));
        close();
        from = index;
      }
      bytes += size;
    }
    current.push(run.slice(from, run.lastIndex));
  }
  close();
  return blocks;
}

/** Writes a safe integer, 0 or larger, in 8 bytes. */
export function writeSafeInteger(bytes: Buffer, value: number, offset: number): void {
  bytes.writeUInt32LE(value >>> 0, offset);
  bytes.writeUInt32LE(Math.floor(value / 0x1_0000_0000), offset + 4);
}

/** Undefined beyond 2^53 - 1. */
export function readSafeInteger(bytes: Buffer, offset: number): number | undefined {
  const value = bytes.readUInt32LE(offset) + bytes.readUInt32LE(offset + 4) * 0x1_0000_0000;
  return Number.isSafeInteger(value) ? value : undefined;
}
