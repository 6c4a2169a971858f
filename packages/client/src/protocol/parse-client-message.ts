/** What a server does to messages before it believes them. Names are checked for type and rough size only: the gateway makes them canonical and then applies `nameProblem`. */
import { type RawMessage } from './codec.ts';
import { bool, choice, fields, isAbsent, list, metadata, text, uint, uints } from './fields.ts';
import { LIMITS } from './limits.ts';
import type { AcquireOptions, ClientMessage, Hello, OpenOptions } from './messages.ts';
import { ProtocolError } from './protocol-error.ts';

const MAX_NONCE_LENGTH = 64;
const MAX_CREDENTIALS_LENGTH = 8192;
const MAX_TEXT_LENGTH = 256;
const MAX_HANDLES_PER_OPTION = 1024;
const MODES = ['exclusive', 'shared'] as const;

/** The second field of a `hello`. Unknown keys are ignored. Throws ProtocolError. */
export function parseHello(value: unknown): Hello {
  const hello = fields(value, 'hello');
  const sessions = isAbsent(hello['sessions'])
    ? []
    : list(hello['sessions'], 'hello.sessions', LIMITS.maxSessionsPerConnection);
  return {
    version: uint(hello['version'], 'hello.version'),
    client: isAbsent(hello['client']) ? 'unknown' : text(hello['client'], 'hello.client', MAX_TEXT_LENGTH),
    credentials: isAbsent(hello['credentials'])
      ? null
      : text(hello['credentials'], 'hello.credentials', MAX_CREDENTIALS_LENGTH),
    clusterId: isAbsent(hello['clusterId']) ? null : text(hello['clusterId'], 'hello.clusterId', MAX_TEXT_LENGTH),
    sessions: sessions.map((item) => {
      const [session, nonce, epoch] = list(item, 'hello.sessions', LIMITS.maxSessionsPerConnection);
      return [uint(session, 'session'), text(nonce, 'nonce', MAX_NONCE_LENGTH), uint(epoch, 'epoch')] as const;
    }),
    onlyLeader: isAbsent(hello['onlyLeader']) ? false : bool(hello['onlyLeader'], 'hello.onlyLeader'),
  };
}

/**
 * A message with every field checked; undefined for one whose name is not known (the gateway answers LOCKD_PROTOCOL).
 * Absent trailing fields count as null. Throws ProtocolError. Hot messages are checked in place and returned as they came.
 */
export function parseClientMessage(raw: RawMessage): ClientMessage | undefined {
  switch (raw[0]) {
    case 'acquire':
      operation(raw);
      name(raw[4]);
      acquisition(raw);
      return raw as unknown as ClientMessage;
    case 'acquire-all': {
      operation(raw);
      const names = list(raw[4], 'names', LIMITS.maxNamesPerAcquire);
      if (names.length === 0) throw new ProtocolError('names is empty');
      for (const item of names) name(item);
      acquisition(raw);
      return raw as unknown as ClientMessage;
    }
    case 'release':
    case 'cancel':
    case 'downgrade':
    case 'upgrade':
      operation(raw);
      uint(raw[4], 'handle');
      return raw as unknown as ClientMessage;
    case 'extend':
      operation(raw);
      uint(raw[4], 'handle');
      uint(raw[5], 'lease');
      return raw as unknown as ClientMessage;
    case 'set-limit':
      operation(raw);
      name(raw[4]);
      uint(raw[5], 'limit');
      return raw as unknown as ClientMessage;
    case 'complete':
      operation(raw);
      uint(raw[4], 'handle');
      name(raw[5]);
      uint(raw[6], 'keep');
      return raw as unknown as ClientMessage;
    case 'close':
      operation(raw);
      return raw as unknown as ClientMessage;
    case 'renew':
      uint(raw[1], 'session');
      uint(raw[2], 'stamp');
      return raw as unknown as ClientMessage;
    case 'ask':
      uint(raw[1], 'session');
      uints(raw[2], 'handles', LIMITS.maxHandlesPerAsk);
      return raw as unknown as ClientMessage;
    case 'attach':
      uint(raw[1], 'id');
      uint(raw[2], 'session');
      text(raw[3], 'nonce', MAX_NONCE_LENGTH);
      uint(raw[4], 'epoch');
      return raw as unknown as ClientMessage;
    case 'open':
      uint(raw[1], 'id');
      text(raw[2], 'nonce', MAX_NONCE_LENGTH);
      uint(raw[3], 'ttl');
      uint(raw[4], 'openedAfter');
      raw[5] = isAbsent(raw[5]) ? null : parseOpenOptions(raw[5]);
      return raw as unknown as ClientMessage;
    case 'inspect':
      uint(raw[1], 'id');
      name(raw[2]);
      return raw as unknown as ClientMessage;
    case 'list':
      uint(raw[1], 'id');
      text(raw[2], 'prefix', LIMITS.maxFrameBytes);
      uint(raw[3], 'limit');
      if (isAbsent(raw[4])) raw[4] = null;
      else name(raw[4]);
      return raw as unknown as ClientMessage;
    case 'status':
      uint(raw[1], 'id');
      return raw as unknown as ClientMessage;
    case 'admin':
      uint(raw[1], 'id');
      text(raw[2], 'op', MAX_TEXT_LENGTH);
      raw[3] = isAbsent(raw[3]) ? {} : fields(raw[3], 'args');
      return raw as unknown as ClientMessage;
    case 'goodbye':
      return ['goodbye'];
    case 'hello':
      return ['hello', parseHello(raw[1])];
    default:
      return undefined;
  }
}

/** Only what is known and right. Throws ProtocolError. */
export function parseAcquireOptions(value: unknown): AcquireOptions {
  const given = fields(value, 'options');
  const mode = given['mode'];
  const permits = given['permits'];
  const maxHoldMs = given['maxHoldMs'];
  const minHoldMs = given['minHoldMs'];
  const lockDelayMs = given['lockDelayMs'];
  const reenter = given['reenter'];
  const holding = given['holding'];
  const steal = given['steal'];
  const onceKey = given['onceKey'];
  return {
    ...(isAbsent(mode) ? undefined : { mode: choice(mode, 'options.mode', MODES) }),
    ...(isAbsent(permits) ? undefined : { permits: uint(permits, 'options.permits') }),
    ...(isAbsent(maxHoldMs) ? undefined : { maxHoldMs: uint(maxHoldMs, 'options.maxHoldMs') }),
    ...(isAbsent(minHoldMs) ? undefined : { minHoldMs: uint(minHoldMs, 'options.minHoldMs') }),
    ...(isAbsent(lockDelayMs) ? undefined : { lockDelayMs: uint(lockDelayMs, 'options.lockDelayMs') }),
    ...(isAbsent(given['metadata']) ? undefined : { metadata: metadata(given['metadata'], 'options.metadata') }),
    ...(isAbsent(reenter) ? undefined : { reenter: uints(reenter, 'options.reenter', MAX_HANDLES_PER_OPTION) }),
    ...(isAbsent(holding) ? undefined : { holding: uints(holding, 'options.holding', MAX_HANDLES_PER_OPTION) }),
    ...(isAbsent(steal) ? undefined : { steal: bool(steal, 'options.steal') }),
    ...(isAbsent(onceKey) ? undefined : { onceKey: text(onceKey, 'options.onceKey', LIMITS.maxFrameBytes) }),
  };
}

/** Only what is known and right. Throws ProtocolError. */
export function parseOpenOptions(value: unknown): OpenOptions {
  const given = fields(value, 'options');
  const bound = given['connectionBound'];
  const release = given['releaseOnDisconnect'];
  return {
    ...(isAbsent(bound) ? undefined : { connectionBound: bool(bound, 'options.connectionBound') }),
    ...(isAbsent(release) ? undefined : { releaseOnDisconnect: bool(release, 'options.releaseOnDisconnect') }),
    ...(isAbsent(given['metadata']) ? undefined : { metadata: metadata(given['metadata'], 'options.metadata') }),
  };
}

/** session, seq, acked. */
function operation(raw: RawMessage): void {
  uint(raw[1], 'session');
  if (uint(raw[2], 'seq') === 0) throw new ProtocolError('seq begins with 1');
  if (uint(raw[3], 'acked') >= (raw[2] as number)) throw new ProtocolError('acked is not below seq');
}

/** wait, lease, options: what asking for one name and for several have in common. */
function acquisition(raw: RawMessage): void {
  uint(raw[5], 'wait');
  if (!isAbsent(raw[6])) uint(raw[6], 'lease');
  else raw[6] = null;
  raw[7] = isAbsent(raw[7]) ? null : parseAcquireOptions(raw[7]);
}

function name(value: unknown): void {
  // Only the frame bounds it here: a name that is too long is that operation's LOCKD_INVALID, not the connection's end.
  text(value, 'name', LIMITS.maxFrameBytes);
}
