import { Packr, Unpackr } from 'msgpackr';
import type { StateRecord } from './records.ts';

/**
 * A snapshot is a sequence of blocks: length of the payload and its CRC-32, four bytes each, big-endian, then the payload:
 * a MessagePack list of records (records.ts). The first block is the header, the last one the trailer with the
 * number of records between them, so that a part of a snapshot is never taken for the whole.
 */
export const SNAPSHOT_VERSION = 1;
export const SNAPSHOT_NAME = 'lockd-table';
export const TRAILER = 'end';
export const BLOCK_HEADER_BYTES = 8;
/** Of one payload: a record is a few KiB at most, and a block is cut long before. */
export const MAX_BLOCK_BYTES: number = 4 * 1024 * 1024;

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false });

export function encodeBlock(records: readonly StateRecord[]): Uint8Array {
  const payload = packr.pack(records);
  const block = new Uint8Array(BLOCK_HEADER_BYTES + payload.length);
  const view = new DataView(block.buffer);
  view.setUint32(0, payload.length);
  view.setUint32(4, crc32(payload));
  block.set(payload, BLOCK_HEADER_BYTES);
  return block;
}

/** Throws on a payload that is not what was written. */
export function decodeBlock(payload: Uint8Array, checksum: number): readonly StateRecord[] {
  if (crc32(payload) !== checksum) throw new Error('a block of the snapshot has a wrong checksum');
  const records: unknown = unpackr.unpack(payload);
  if (!Array.isArray(records) || !records.every((record) => Array.isArray(record))) {
    throw new Error('a block of the snapshot is no list of records');
  }
  return records;
}

/** Rough size of a record's encoding in bytes. */
export function weightOf(value: unknown): number {
  if (typeof value === 'string') return value.length + 2;
  if (!Array.isArray(value)) return 4;
  let weight = 4;
  for (const item of value) weight += weightOf(item);
  return weight;
}

const CRC_TABLE = crcTable();

function crcTable(): Int32Array {
  const table = new Int32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = (value & 1) === 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    table[byte] = value;
  }
  return table;
}

/** CRC-32 as in zlib. */
export function crc32(bytes: Uint8Array): number {
  let value = -1;
  for (let position = 0; position < bytes.length; position++) {
    value = (value >>> 8) ^ (CRC_TABLE[(value ^ (bytes[position] as number)) & 0xff] as number);
  }
  return ~value >>> 0;
}
