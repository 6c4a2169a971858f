import {
  isErrorCode,
  ProtocolError,
  parseClientMessage,
  parseHello,
  parseServerMessage,
  type RawMessage,
} from '@lockd/client/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toleratesProtocolError } from './tolerates.ts';

const anything = fc.anything({ withNullPrototype: true });

describe('what a server accepts', () => {
  test('hello with only a version', () => {
    expect(parseHello({ version: 1 })).toEqual({
      version: 1,
      client: 'unknown',
      credentials: null,
      clusterId: null,
      sessions: [],
      onlyLeader: false,
    });
  });

  test('hello with everything, and keys of a later version', () => {
    const hello = {
      version: 1,
      client: 'x/1',
      credentials: 'c',
      clusterId: 'k',
      sessions: [[7, 'n', 2]],
      onlyLeader: true,
    };
    expect(parseHello({ ...hello, later: 1 })).toEqual(hello);
  });

  test.each([
    null,
    [],
    'x',
    {},
    { version: -1 },
    { version: 1.5 },
    { version: '1' },
    { version: 1, sessions: [[1]] },
    { version: 1, sessions: 3 },
    { version: 1, onlyLeader: 'yes' },
  ])('hello %j is refused', (hello) => {
    expect(() => parseHello(hello)).toThrow(ProtocolError);
  });

  test('absent trailing fields are null', () => {
    expect(parseClientMessage(['acquire', 9, 1, 0, 'a', 0])).toEqual(['acquire', 9, 1, 0, 'a', 0, null, null]);
    expect(parseClientMessage(['list', 1, 'p', 10])).toEqual(['list', 1, 'p', 10, null]);
  });

  test('options keep what is known', () => {
    const parsed = parseClientMessage(['acquire', 9, 1, 0, 'a', 0, null, { mode: 'shared', later: true, steal: null }]);
    expect(parsed?.[7 as never]).toEqual({ mode: 'shared' });
  });

  test.each([
    ['acquire', 9, 0, 0, 'a', 0],
    ['acquire', 9, 1, 1, 'a', 0],
    ['acquire', 9, 1, 0, 7, 0],
    ['acquire', 9, 1, 0, 'a', -1],
    ['acquire', 9, 2 ** 53, 0, 'a', 0],
    ['acquire', 9, 1, 0, 'a', 0, null, { mode: 'maybe' }],
    ['acquire', 9, 1, 0, 'a', 0, null, { metadata: { a: 1 } }],
    ['acquire-all', 9, 1, 0, [], 0],
    ['acquire-all', 9, 1, 0, new Array(65).fill('a'), 0],
    ['release', 9, 1, 0],
    ['ask', 9, [1, 'x']],
    ['attach', 1, 9, 'n'],
  ])('%j is refused', (...raw) => {
    expect(() => parseClientMessage(raw as RawMessage)).toThrow(ProtocolError);
  });

  test('an unknown name is reported as such', () => {
    expect(parseClientMessage(['frobnicate', 1])).toBeUndefined();
  });

  test('nothing but a ProtocolError comes of any input', () => {
    const names = fc.constantFrom(
      'hello',
      'open',
      'attach',
      'renew',
      'acquire',
      'acquire-all',
      'release',
      'extend',
      'set-limit',
      'complete',
      'close',
      'ask',
      'inspect',
      'list',
      'status',
    );
    fc.assert(
      fc.property(names, fc.array(fc.oneof(fc.nat(), anything), { maxLength: 9 }), (name, rest) => {
        toleratesProtocolError(() => parseClientMessage([name, ...rest]));
      }),
    );
  });
});

describe('what a client accepts', () => {
  test('a welcome without limits has the defaults', () => {
    const welcome = {
      version: 1,
      clusterId: 'c',
      node: 'n1',
      leader: null,
      isLeader: false,
      members: [{ name: 'n1', client: null, role: 'voter' }],
      index: 3,
      attaching: false,
    };
    expect(parseServerMessage(['welcome', welcome])).toMatchObject([
      'welcome',
      { ...welcome, limits: { window: 1024 } },
    ]);
  });

  test('an unknown message is ignored, an unknown code passes', () => {
    expect(parseServerMessage(['news', 1])).toBeUndefined();
    expect(parseServerMessage(['error', 0, 1, 'LOCKD_LATER', 'm', 'unknown', true, null])).toBeDefined();
    expect(isErrorCode('LOCKD_LATER')).toBe(false);
    expect(isErrorCode('LOCKD_BUSY')).toBe(true);
  });

  test.each([
    ['granted', 1, 2],
    ['granted', 1, 2, 3, { leaseMs: 'x' }],
    ['requests', 1, [[1, 'gone']]],
    ['error', 0, 0, 'LOCKD_BUSY', 'm', 'perhaps', true],
    ['welcome', {}],
    ['leader', 3],
    ['members', [{ name: 'a', role: 'king' }]],
  ])('%j is refused', (...raw) => {
    expect(() => parseServerMessage(raw as RawMessage)).toThrow(ProtocolError);
  });

  test('nothing but a ProtocolError comes of any input', () => {
    const names = fc.constantFrom(
      'welcome',
      'opened',
      'attached',
      'renewed',
      'ok',
      'granted',
      'waiting',
      'ended',
      'requests',
      'session-ended',
      'reattach',
      'leader',
      'members',
      'result',
      'error',
      'goodbye',
    );
    fc.assert(
      fc.property(names, fc.array(fc.oneof(fc.nat(), anything), { maxLength: 9 }), (name, rest) => {
        toleratesProtocolError(() => parseServerMessage([name, ...rest]));
      }),
    );
  });
});
