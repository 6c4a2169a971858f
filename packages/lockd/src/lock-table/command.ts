import { Packr, Unpackr } from 'msgpackr';
import { decodeFlat, encodeFlat } from './flat-tuple.ts';

/**
 * First byte of an encoded command: the version of what follows. Version 1 is MessagePack of one of the tuples below.
 * A changed meaning of a command is a new version, and the old one keeps its meaning: old logs replay to the same bytes.
 */
export const COMMAND_VERSION = 1;

/** First element of every command. Numbers are never reused. */
export const OP = {
  acquire: 1,
  acquireAll: 2,
  release: 3,
  cancel: 4,
  extend: 5,
  downgrade: 6,
  upgrade: 7,
  setLimit: 8,
  complete: 9,
  close: 10,
  open: 20,
  attach: 21,
  detach: 22,
  endSession: 30,
  endGrant: 31,
  endWait: 32,
  endMaxHold: 33,
  endReserve: 34,
  endOnce: 35,
  continueWork: 36,
} as const;

/** How a request stands with others on the same name. Also the lowest two bits of a request's flags. */
export const MODE = { exclusive: 0, shared: 1, permit: 2 } as const;
export type Mode = (typeof MODE)[keyof typeof MODE];

/** Bits of `open`. */
export const OPEN_FLAG = { connectionBound: 1, releaseOnDisconnect: 2 } as const;

/**
 * Beyond the plain exclusive lock. Absent is 0, an empty list, or the empty string (no key of `once` is empty).
 * `metadata` is flat: key, value, key, value; `permits` is the limit of the semaphore, in permit mode only.
 */
export type Options = readonly [
  mode: number,
  permits: number,
  maxHoldMs: number,
  minHoldMs: number,
  lockDelayMs: number,
  metadata: readonly string[],
  reenter: readonly number[],
  holding: readonly number[],
  steal: number,
  onceKey: string,
];

/** Operation of a session: replicated, applied at most once. `acked`: the client has the answers up to it. */
type Operation<Op extends number, Rest extends readonly unknown[]> = readonly [
  op: Op,
  session: number,
  epoch: number,
  seq: number,
  acked: number,
  ...rest: Rest,
];

export type AcquireCommand =
  | Operation<1, [name: string, waitMs: number]>
  | Operation<1, [name: string, waitMs: number, leaseMs: number, options: Options]>;
export type AcquireAllCommand = Operation<
  2,
  [names: readonly string[], waitMs: number, leaseMs: number, options: Options]
>;

export type SessionCommand =
  | AcquireCommand
  | AcquireAllCommand
  | Operation<3, [handle: number]>
  | Operation<4, [handle: number]>
  | Operation<5, [handle: number, leaseMs: number]>
  | Operation<6, [handle: number]>
  | Operation<7, [handle: number]>
  | Operation<8, [name: string, limit: number]>
  | Operation<9, [handle: number, onceKey: string, keepMs: number]>
  | Operation<10, []>;

export type OpenCommand = readonly [
  20,
  nonce: string,
  ttlMs: number,
  openedAfter: number,
  flags: number,
  metadata: readonly string[],
];
export type AttachCommand = readonly [21, session: number, nonce: string, epoch: number];

/** Decided by the leader of `term`, and refused in an entry of any other term. */
export type EndCommand =
  | readonly [30, session: number, term: number, seenAttachment: number]
  | readonly [31, session: number, handle: number, term: number, generation: number]
  | readonly [32, session: number, handle: number, term: number]
  | readonly [33, session: number, handle: number, term: number]
  | readonly [34, generation: number, term: number]
  | readonly [35, key: string, generation: number, term: number];

export type Command =
  | SessionCommand
  | OpenCommand
  | AttachCommand
  /** The connection with which the session was attached as `epoch` is closed. */
  | readonly [22, session: number, epoch: number]
  | EndCommand
  | readonly [36];

/**
 * Shape of each command after its op: `i` a safe integer from 0 on, `s` a string, `S` and `I` lists of them,
 * `o` options; what follows `?` is there as a whole or not at all.
 */
const SHAPES: readonly (string | undefined)[] = shapes([
  [OP.acquire, 'iiiisi?io'],
  [OP.acquireAll, 'iiiiSiio'],
  [OP.release, 'iiiii'],
  [OP.cancel, 'iiiii'],
  [OP.extend, 'iiiiii'],
  [OP.downgrade, 'iiiii'],
  [OP.upgrade, 'iiiii'],
  [OP.setLimit, 'iiiisi'],
  [OP.complete, 'iiiiisi'],
  [OP.close, 'iiii'],
  [OP.open, 'siiiS'],
  [OP.attach, 'isi'],
  [OP.detach, 'ii'],
  [OP.endSession, 'iii'],
  [OP.endGrant, 'iiii'],
  [OP.endWait, 'iii'],
  [OP.endMaxHold, 'iii'],
  [OP.endReserve, 'ii'],
  [OP.endOnce, 'sii'],
  [OP.continueWork, ''],
]);
const OPTIONS_SHAPE = 'iiiiiSIIis';

function shapes(rows: readonly (readonly [number, string])[]): (string | undefined)[] {
  const table: (string | undefined)[] = [];
  for (const [op, shape] of rows) table[op] = shape;
  return table;
}

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false });

/** Body of an `ENTRY_KIND.command` entry, after the kind byte. Strings must be well-formed: lone surrogates do not survive. */
export function encodeCommand(command: Command): Uint8Array {
  const flat = encodeFlat(COMMAND_VERSION, command);
  if (flat !== undefined) return flat;
  const packed = packr.pack(command);
  const bytes = new Uint8Array(packed.length + 1);
  bytes[0] = COMMAND_VERSION;
  bytes.set(packed, 1);
  return bytes;
}

/**
 * The inverse of `encodeCommand` on `bytes` from `start` up to `end`; undefined for anything else. Never throws: every replica
 * treats what it cannot read alike.
 */
export function decodeCommand(bytes: Uint8Array, start = 0, end: number = bytes.length): Command | undefined {
  if (start >= end || bytes[start] !== COMMAND_VERSION) return undefined;
  const value = decodeFlat(bytes, start + 1, end) ?? decodeAny(bytes.subarray(start + 1, end));
  return isCommand(value) ? value : undefined;
}

function decodeAny(bytes: Uint8Array): unknown {
  try {
    return unpackr.unpack(bytes);
  } catch {
    return undefined;
  }
}

function isCommand(value: unknown): value is Command {
  if (!Array.isArray(value)) return false;
  const shape = SHAPES[value[0] as number];
  return shape !== undefined && hasShape(value, 1, shape);
}

function hasShape(list: readonly unknown[], from: number, shape: string): boolean {
  let position = from;
  for (let step = 0; step < shape.length; step++) {
    const kind = shape.charCodeAt(step);
    if (kind === QUESTION_MARK) {
      if (position === list.length) return true;
      continue;
    }
    if (!isOfKind(list[position++], kind)) return false;
  }
  return position === list.length;
}

const QUESTION_MARK = 63; // ?
const INTEGERS = 73; // I
const STRINGS = 83; // S
const INTEGER = 105; // i
const OPTIONS = 111; // o

function isOfKind(value: unknown, kind: number): boolean {
  switch (kind) {
    case INTEGER:
      return isCount(value);
    case INTEGERS:
      return Array.isArray(value) && value.every(isCount);
    case STRINGS:
      return Array.isArray(value) && value.every((item) => typeof item === 'string');
    case OPTIONS:
      return Array.isArray(value) && hasShape(value, 0, OPTIONS_SHAPE) && value[0] <= MODE.permit;
    default:
      return typeof value === 'string';
  }
}

/** A safe integer, 0 or larger; -0 is not one, because it would come back as 0. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0);
}
