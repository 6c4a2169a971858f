/** What a client does to messages before it believes them. */
import { type RawMessage } from './codec.ts';
import { ERROR_CODES, type ErrorCode } from './error-codes.ts';
import { bool, choice, type Fields, fields, isAbsent, list, text, uint } from './fields.ts';
import { LIMITS } from './limits.ts';
import type { Member, ServerMessage, Welcome } from './messages.ts';
import { ProtocolError } from './protocol-error.ts';

const MAX_TEXT_LENGTH = 16_384;
const MAX_MEMBERS = 1024;
const OUTCOMES = ['not-applied', 'applied', 'unknown'] as const;
const ROLES = ['voter', 'learner'] as const;

/**
 * A message with its fields checked; undefined for one whose name is not known, which a client of this version ignores.
 * A code or reason that a later server may have added passes as it is. Throws ProtocolError.
 * Messages are checked in place and returned as they came.
 */
export function parseServerMessage(raw: RawMessage): ServerMessage | undefined {
  switch (raw[0]) {
    case 'granted':
      uint(raw[1], 'session');
      uint(raw[2], 'handle');
      uint(raw[3], 'token');
      raw[4] = isAbsent(raw[4]) ? null : grantDetail(raw[4]);
      return raw as unknown as ServerMessage;
    case 'ok':
      uint(raw[1], 'session');
      uint(raw[2], 'seq');
      return raw as unknown as ServerMessage;
    case 'waiting':
      uint(raw[1], 'session');
      uint(raw[2], 'handle');
      uint(raw[3], 'position');
      return raw as unknown as ServerMessage;
    case 'ended':
      uint(raw[1], 'session');
      uint(raw[2], 'handle');
      text(raw[3], 'reason', MAX_TEXT_LENGTH);
      return raw as unknown as ServerMessage;
    case 'renewed':
      uint(raw[1], 'session');
      uint(raw[2], 'stamp');
      return raw as unknown as ServerMessage;
    case 'requests':
      uint(raw[1], 'session');
      for (const state of list(raw[2], 'states', LIMITS.maxHandlesPerAsk)) requestState(state);
      return raw as unknown as ServerMessage;
    case 'session-ended':
      uint(raw[1], 'session');
      text(raw[2], 'reason', MAX_TEXT_LENGTH);
      return raw as unknown as ServerMessage;
    case 'reattach':
      uint(raw[1], 'session');
      return raw as unknown as ServerMessage;
    case 'welcome':
      return ['welcome', parseWelcome(raw[1])];
    case 'opened':
      uint(raw[1], 'id');
      uint(raw[2], 'session');
      uint(raw[3], 'ttl');
      return raw as unknown as ServerMessage;
    case 'attached':
      uint(raw[1], 'id');
      uint(raw[2], 'session');
      uint(raw[3], 'epoch');
      uint(raw[4], 'ttl');
      return raw as unknown as ServerMessage;
    case 'leader':
      return ['leader', leader(raw[1])];
    case 'members':
      return ['members', members(raw[1])];
    case 'result':
      uint(raw[1], 'id');
      return raw as unknown as ServerMessage;
    case 'error':
      uint(raw[1], 'session');
      uint(raw[2], 'number');
      text(raw[3], 'code', MAX_TEXT_LENGTH);
      text(raw[4], 'message', MAX_TEXT_LENGTH);
      choice(raw[5], 'outcome', OUTCOMES);
      bool(raw[6], 'retryable');
      raw[7] = isAbsent(raw[7]) ? null : fields(raw[7], 'detail');
      return raw as unknown as ServerMessage;
    case 'goodbye':
      return ['goodbye', isAbsent(raw[1]) ? '' : text(raw[1], 'reason', MAX_TEXT_LENGTH)];
    default:
      return undefined;
  }
}

/** Whether a code that came over the wire is one of this version's. */
export function isErrorCode(code: string): code is ErrorCode {
  return (ERROR_CODES as readonly string[]).includes(code);
}

function grantDetail(value: unknown): Fields {
  const detail = fields(value, 'detail');
  for (const key of ['slot', 'leaseMs', 'after', 'shares', 'holdCount']) {
    if (detail[key] !== undefined) uint(detail[key], `detail.${key}`);
  }
  return detail;
}

function requestState(value: unknown): void {
  const state = list(value, 'state', 16) as unknown[];
  uint(state[0], 'handle');
  switch (state[1]) {
    case 'granted':
      uint(state[2], 'token');
      state[3] = isAbsent(state[3]) ? null : grantDetail(state[3]);
      return;
    case 'waiting':
      uint(state[2], 'position');
      return;
    case 'ended':
      text(state[2], 'reason', MAX_TEXT_LENGTH);
      return;
    default:
      throw new ProtocolError('a state is not granted, waiting or ended');
  }
}

function parseWelcome(value: unknown): Welcome {
  const welcome = fields(value, 'welcome');
  const limits = isAbsent(welcome['limits']) ? {} : fields(welcome['limits'], 'welcome.limits');
  return {
    version: uint(welcome['version'], 'welcome.version'),
    clusterId: text(welcome['clusterId'], 'welcome.clusterId', MAX_TEXT_LENGTH),
    node: text(welcome['node'], 'welcome.node', MAX_TEXT_LENGTH),
    leader: leader(welcome['leader']),
    isLeader: bool(welcome['isLeader'], 'welcome.isLeader'),
    members: members(welcome['members']),
    index: uint(welcome['index'], 'welcome.index'),
    attaching: bool(welcome['attaching'], 'welcome.attaching'),
    limits: {
      maxFrameBytes: limit(limits['maxFrameBytes'], LIMITS.maxFrameBytes),
      maxNameBytes: limit(limits['maxNameBytes'], LIMITS.maxNameBytes),
      window: limit(limits['window'], LIMITS.window),
    },
  };
}

function limit(value: unknown, fallback: number): number {
  return isAbsent(value) ? fallback : uint(value, 'welcome.limits');
}

function leader(value: unknown): { readonly name: string; readonly client: string | null } | null {
  if (isAbsent(value)) return null;
  const known = fields(value, 'leader');
  return { name: text(known['name'], 'leader.name', MAX_TEXT_LENGTH), client: address(known['client']) };
}

function members(value: unknown): readonly Member[] {
  return list(value, 'members', MAX_MEMBERS).map((item) => {
    const member = fields(item, 'member');
    return {
      name: text(member['name'], 'member.name', MAX_TEXT_LENGTH),
      client: address(member['client']),
      role: choice(member['role'], 'member.role', ROLES),
    };
  });
}

function address(value: unknown): string | null {
  return isAbsent(value) ? null : text(value, 'address', MAX_TEXT_LENGTH);
}
