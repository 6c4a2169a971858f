import {
  type AcquireOptions,
  type ErrorCode,
  escapeLoneSurrogates,
  LIMITS,
  nameProblem,
  type OpenOptions,
} from '@lockd/client/protocol';
import { type Command, isCount, MODE, OP, OPEN_FLAG, type Options } from './command.ts';

/** Why a request is no command. It has had no effect and is in no log. */
export interface RequestProblem {
  readonly code: ErrorCode;
  readonly message: string;
}

const MAX_NONCE_LENGTH = 128;
const MAX_ONCE_KEY_LENGTH = 512;
/** Completion records may outlive every lock: a year, for what runs once a year. */
const MAX_KEEP_MS = 366 * 24 * 3600 * 1000;
/** Handles in `reenter` or `holding`. */
const MAX_HANDLES = 1024;

/** Thrown and caught in this file only: checks read as a list, and the common request allocates nothing for them. */
class Invalid extends Error {
  readonly code: ErrorCode;

  constructor(message: string, code: ErrorCode = 'LOCKD_INVALID') {
    super(message);
    this.code = code;
  }
}

/**
 * The command for a client's message, which may be anything. `epoch` is the attachment of the connection it came by.
 * Strings come out well-formed, lone surrogates escaped. Takes the operations of a session, `open` and `attach`.
 */
export function toCommand(message: readonly unknown[], epoch: number): Command | RequestProblem {
  // The common case first, without a try block's worth of ceremony.
  if (message[0] === 'release' && isCount(message[4]) && isOperation(message)) {
    return [OP.release, message[1] as number, epoch, message[2] as number, message[3] as number, message[4]];
  }
  try {
    return commandOf(message, epoch);
  } catch (error) {
    if (error instanceof Invalid) return { code: error.code, message: error.message };
    throw error;
  }
}

export function isProblem(result: Command | RequestProblem): result is RequestProblem {
  return !Array.isArray(result);
}

function commandOf(message: readonly unknown[], epoch: number): Command {
  switch (message[0]) {
    case 'open':
      return openCommand(message);
    case 'attach':
      return [OP.attach, count(message[2], 'session'), nonce(message[3]), atLeastOne(message[4], 'epoch')];
    default:
  }
  if (!isOperation(message))
    throw new Invalid('an operation begins with session, seq and acked, and acked is below seq');
  const session = message[1] as number;
  const seq = message[2] as number;
  const acked = message[3] as number;
  switch (message[0]) {
    case 'acquire': {
      const name = nameOf(message[4]);
      const waitMs = duration(message[5], 'wait');
      const leaseMs = message[6] ?? null;
      const options = message[7] ?? null;
      if (leaseMs === null && options === null) return [OP.acquire, session, epoch, seq, acked, name, waitMs];
      return [OP.acquire, session, epoch, seq, acked, name, waitMs, lease(leaseMs), optionsOf(options, seq)];
    }
    case 'acquire-all': {
      const names = namesOf(message[4]);
      const options = optionsOf(message[7] ?? null, seq);
      if (options[0] !== MODE.exclusive) throw new Invalid('acquire-all takes names exclusively');
      if (options[8] !== 0 || options[9] !== '' || options[6].length > 0) {
        throw new Invalid('acquire-all knows neither steal nor onceKey nor reenter');
      }
      const waitMs = duration(message[5], 'wait');
      return [OP.acquireAll, session, epoch, seq, acked, names, waitMs, lease(message[6] ?? null), options];
    }
    case 'release':
      return [OP.release, session, epoch, seq, acked, handleOf(message[4], seq)];
    case 'cancel':
      return [OP.cancel, session, epoch, seq, acked, handleOf(message[4], seq)];
    case 'extend':
      return [OP.extend, session, epoch, seq, acked, handleOf(message[4], seq), positive(message[5], 'lease')];
    case 'downgrade':
      return [OP.downgrade, session, epoch, seq, acked, handleOf(message[4], seq)];
    case 'upgrade':
      return [OP.upgrade, session, epoch, seq, acked, handleOf(message[4], seq)];
    case 'set-limit':
      return [OP.setLimit, session, epoch, seq, acked, nameOf(message[4]), permits(message[5])];
    case 'complete': {
      const handle = handleOf(message[4], seq);
      const keepMs = atLeastOne(message[6], 'keep');
      if (keepMs > MAX_KEEP_MS) throw new Invalid(`a completion record is kept for at most ${MAX_KEEP_MS} ms`);
      return [OP.complete, session, epoch, seq, acked, handle, onceKeyOf(message[5]), keepMs];
    }
    case 'close':
      return [OP.close, session, epoch, seq, acked];
    default:
      throw new Invalid(`there is no operation ${JSON.stringify(message[0])}`, 'LOCKD_PROTOCOL');
  }
}

function openCommand(message: readonly unknown[]): Command {
  const ttlMs = count(message[3], 'ttl');
  if (ttlMs < LIMITS.minTtlMs || ttlMs > LIMITS.maxTtlMs) {
    throw new Invalid(`a session's ttl is from ${LIMITS.minTtlMs} to ${LIMITS.maxTtlMs} ms, not ${ttlMs}`);
  }
  const options = objectOf(message[5] ?? null, 'options') as OpenOptions;
  let flags = 0;
  if (flag(options.connectionBound, 'connectionBound')) flags |= OPEN_FLAG.connectionBound;
  if (flag(options.releaseOnDisconnect, 'releaseOnDisconnect')) {
    flags |= OPEN_FLAG.connectionBound | OPEN_FLAG.releaseOnDisconnect;
  }
  return [OP.open, nonce(message[2]), ttlMs, count(message[4], 'openedAfter'), flags, metadataOf(options.metadata)];
}

/** session, seq, acked; seq from 1, acked below it. */
function isOperation(message: readonly unknown[]): boolean {
  const seq = message[2];
  const acked = message[3];
  return isCount(message[1]) && isCount(seq) && isCount(acked) && acked < seq;
}

function count(value: unknown, what: string): number {
  if (!isCount(value)) throw new Invalid(`${what} is not a number from 0 below 2^53`);
  return value;
}

function atLeastOne(value: unknown, what: string): number {
  if (count(value, what) === 0) throw new Invalid(`${what} is at least 1`);
  return value as number;
}

function duration(value: unknown, what: string): number {
  if (count(value, what) > LIMITS.maxDurationMs) throw new Invalid(`${what} is at most ${LIMITS.maxDurationMs} ms`);
  return value as number;
}

function positive(value: unknown, what: string): number {
  if (duration(value, what) === 0) throw new Invalid(`${what} is at least 1 ms`);
  return value as number;
}

function lease(value: unknown): number {
  return value === null ? 0 : positive(value, 'lease');
}

function permits(value: unknown): number {
  const limit = atLeastOne(value, 'the limit of a semaphore');
  if (limit > LIMITS.maxPermits) throw new Invalid(`a semaphore has at most ${LIMITS.maxPermits} slots`);
  return limit;
}

function handleOf(value: unknown, seq: number): number {
  if (atLeastOne(value, 'handle') >= seq) throw new Invalid('a handle is the seq of an earlier operation');
  return value as number;
}

function nameOf(value: unknown): string {
  if (typeof value !== 'string') throw new Invalid('a name is a string');
  const name = escapeLoneSurrogates(value);
  const problem = nameProblem(name);
  if (problem !== undefined) throw new Invalid(problem);
  return name;
}

function namesOf(value: unknown): readonly string[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > LIMITS.maxNamesPerAcquire) {
    throw new Invalid(`acquire-all takes 1 to ${LIMITS.maxNamesPerAcquire} names`);
  }
  const names = value.map(nameOf);
  if (new Set(names).size !== names.length) throw new Invalid('acquire-all takes different names');
  return names;
}

function nonce(value: unknown): string {
  if (typeof value !== 'string' || value.length === 0 || value.length > MAX_NONCE_LENGTH) {
    throw new Invalid(`a nonce is a string of 1 to ${MAX_NONCE_LENGTH} characters`);
  }
  return escapeLoneSurrogates(value);
}

function onceKeyOf(value: unknown): string {
  if (typeof value !== 'string' || value.length === 0 || value.length > MAX_ONCE_KEY_LENGTH) {
    throw new Invalid(`a key of once is a string of 1 to ${MAX_ONCE_KEY_LENGTH} characters`);
  }
  return escapeLoneSurrogates(value);
}

function flag(value: unknown, what: string): boolean {
  if (value === undefined || value === null) return false;
  if (typeof value !== 'boolean') throw new Invalid(`${what} is true or false`);
  return value;
}

function objectOf(value: unknown, what: string): object {
  if (value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) throw new Invalid(`${what} is an object`);
  return value;
}

function optionsOf(value: unknown, seq: number): Options {
  const options = objectOf(value, 'options') as AcquireOptions;
  const mode = options.mode ?? 'exclusive';
  if (mode !== 'exclusive' && mode !== 'shared') throw new Invalid('mode is exclusive or shared');
  const limit = (options.permits ?? null) === null ? 0 : permits(options.permits);
  if (limit > 0 && mode === 'shared') throw new Invalid('a permit is neither shared nor exclusive: leave out mode');
  const steal = flag(options.steal, 'steal');
  if (steal && (limit > 0 || mode === 'shared')) throw new Invalid('only an exclusive request can steal');
  return [
    limit > 0 ? MODE.permit : mode === 'shared' ? MODE.shared : MODE.exclusive,
    limit,
    optionalDuration(options.maxHoldMs, 'maxHoldMs'),
    optionalDuration(options.minHoldMs, 'minHoldMs'),
    optionalDuration(options.lockDelayMs, 'lockDelayMs'),
    metadataOf(options.metadata),
    handles(options.reenter, 'reenter', seq),
    handles(options.holding, 'holding', seq),
    steal ? 1 : 0,
    (options.onceKey ?? null) === null ? '' : onceKeyOf(options.onceKey),
  ];
}

function optionalDuration(value: unknown, what: string): number {
  return value === undefined || value === null ? 0 : duration(value, what);
}

function handles(value: unknown, what: string, seq: number): readonly number[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > MAX_HANDLES)
    throw new Invalid(`${what} is a list of at most ${MAX_HANDLES} handles`);
  return value.map((handle) => handleOf(handle, seq));
}

/** Record to flat list, in the order given. */
function metadataOf(value: unknown): readonly string[] {
  if (value === undefined || value === null) return [];
  const flat: string[] = [];
  let length = 0;
  for (const [key, text] of Object.entries(objectOf(value, 'metadata'))) {
    if (typeof text !== 'string') throw new Invalid('metadata is strings');
    length += key.length + text.length;
    flat.push(escapeLoneSurrogates(key), escapeLoneSurrogates(text));
  }
  if (flat.length > 2 * LIMITS.maxMetadataKeys || length > LIMITS.maxMetadataLength) {
    const most = `${LIMITS.maxMetadataKeys} keys and ${LIMITS.maxMetadataLength} characters`;
    throw new Invalid(`metadata is at most ${most}`, 'LOCKD_LIMIT');
  }
  return flat;
}
