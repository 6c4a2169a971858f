/**
 * Looks over MessagePack from a stranger before a general decoder sees it. A decoder allocates what a length field
 * asks for (five bytes can demand gigabytes), recurses as deep as it is told, and rounds a 64-bit integer that
 * does not fit. Here every count is held against the bytes that are left; nothing is allocated.
 */
import { ProtocolError } from './protocol-error.ts';
import { isUtf8 } from './utf8.ts';

/** A message nests to six levels at most (frame, message, options, metadata). */
const MAX_DEPTH = 16;
/** Arrays, maps and what is in them, in one frame; a frame of 4 MiB of empty arrays would otherwise take 100 MiB. */
const MAX_VALUES = 1_000_000;
/** High half of 2^53 - 1, the largest integer that is exact. */
const MAX_HIGH = 0x1fffff;
const PROTO = '__proto__';

// The state of the one check under way; module variables because an object per frame would cost more.
let source: Uint8Array = new Uint8Array(0);
let cursor = 0;
let valuesLeft = 0;

/**
 * Throws ProtocolError unless `bytes` are exactly one value of nil, booleans, numbers that are exact, well-formed
 * strings, arrays, and maps with string keys, within the bounds above.
 */
export function checkMsgpack(bytes: Uint8Array): void {
  source = bytes;
  cursor = 0;
  valuesLeft = MAX_VALUES;
  try {
    checkValue(0);
    if (cursor !== bytes.length) throw new ProtocolError(`${bytes.length - cursor} bytes after the end of the value`);
  } finally {
    source = new Uint8Array(0);
  }
}

function skip(bytes: number): void {
  if (bytes > source.length - cursor) throw new ProtocolError('the frame ends in the middle of a value');
  cursor += bytes;
}

/** An unsigned integer of `bytes` bytes, big end first. */
function readUint(bytes: 1 | 2 | 4): number {
  const start = cursor;
  skip(bytes);
  let value = 0;
  for (let index = start; index < cursor; index++) value = value * 256 + (source[index] as number);
  return value;
}

function checkValue(depth: number): void {
  const lead = readUint(1);
  if (lead < 0x80 || lead >= 0xe0) return;
  if (lead < 0x90) checkMap(lead & 0x0f, depth);
  else if (lead < 0xa0) checkArray(lead & 0x0f, depth);
  else if (lead < 0xc0) checkString(lead & 0x1f);
  else checkLong(lead, depth);
}

function checkLong(lead: number, depth: number): void {
  switch (lead) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
      return;
    case 0xcc: // uint8
    case 0xd0: // int8
      return skip(1);
    case 0xcd: // uint16
    case 0xd1: // int16
      return skip(2);
    case 0xca: // float32
    case 0xce: // uint32
    case 0xd2: // int32
      return skip(4);
    case 0xcb: // float64
      return skip(8);
    case 0xcf: // uint64
      if (readUint(4) > MAX_HIGH) throw inexact();
      return skip(4);
    case 0xd3: // int64
      return checkInt64(readUint(4) | 0, readUint(4));
    case 0xd9:
      return checkString(readUint(1));
    case 0xda:
      return checkString(readUint(2));
    case 0xdb:
      return checkString(readUint(4));
    case 0xdc:
      return checkArray(readUint(2), depth);
    case 0xdd:
      return checkArray(readUint(4), depth);
    case 0xde:
      return checkMap(readUint(2), depth);
    case 0xdf:
      return checkMap(readUint(4), depth);
    default:
      // Binary and extension types have no counterpart in JSON, which must be able to say the same.
      throw new ProtocolError(`MessagePack type 0x${lead.toString(16)} is not used in this protocol`);
  }
}

function checkInt64(high: number, low: number): void {
  // The lowest exact integer is -(2^53 - 1): -2^53 has the same high half, and a low half of 0.
  if (high > MAX_HIGH || high < -MAX_HIGH - 1 || (high === -MAX_HIGH - 1 && low === 0)) throw inexact();
}

function inexact(): ProtocolError {
  return new ProtocolError('an integer is outside of ±(2^53 - 1)');
}

function checkString(bytes: number): void {
  const start = cursor;
  skip(bytes);
  if (!isUtf8(source, start, cursor)) throw new ProtocolError('a string is not well-formed UTF-8');
}

/** Every value takes at least one byte: a count beyond what is left is known to be wrong before anybody allocates it. */
function open(values: number, depth: number): void {
  if (depth >= MAX_DEPTH) throw new ProtocolError(`nested deeper than ${MAX_DEPTH} levels`);
  valuesLeft -= values + 1;
  if (valuesLeft < 0) throw new ProtocolError(`more than ${MAX_VALUES} values in one frame`);
  if (values > source.length - cursor) throw new ProtocolError('the frame ends in the middle of a value');
}

function checkArray(count: number, depth: number): void {
  open(count, depth);
  for (let index = 0; index < count; index++) checkValue(depth + 1);
}

function checkMap(count: number, depth: number): void {
  open(count * 2, depth);
  for (let index = 0; index < count; index++) {
    const lead = source[cursor] ?? 0;
    if (!((lead >= 0xa0 && lead < 0xc0) || (lead >= 0xd9 && lead <= 0xdb))) {
      throw new ProtocolError('a map key is not a string');
    }
    const start = cursor;
    checkValue(depth + 1);
    if (isProto(start)) throw new ProtocolError(`a map key is ${PROTO}, which no JavaScript object can have safely`);
    checkValue(depth + 1);
  }
}

/** Whether the string just checked, which began at `start`, is `__proto__`, in whatever form of length. */
function isProto(start: number): boolean {
  const first = cursor - PROTO.length;
  if (first <= start || cursor - start > PROTO.length + 5) return false;
  for (let index = 0; index < PROTO.length; index++) {
    if (source[first + index] !== PROTO.charCodeAt(index)) return false;
  }
  // A longer string that ends so has a lead that says a larger length.
  const lead = source[start] as number;
  const length = lead < 0xc0 ? lead & 0x1f : (source[first - 1] as number);
  return length === PROTO.length;
}
