import { describe, expect, test } from 'vitest';
import { decodeText, encodeText, type PeerHello } from '../../src/peers/handshake.ts';

const hello: PeerHello = {
  version: 1,
  name: 'n1',
  identity: { instanceId: 'i', incarnation: 3, start: 'c', earlierStarts: ['b', 'a'], clusterId: 'k' },
  bootstrapHash: 'h',
  client: 'ws://127.0.0.1:1',
  peer: '127.0.0.1:2',
  members: { n2: '127.0.0.1:3' },
  probe: false,
};

describe('a hello', () => {
  test('arrives as it was sent', () => {
    expect(decodeText(encodeText({ type: 'hello', hello }))).toEqual({ type: 'hello', hello });
  });

  test('of a node that tells nothing of earlier starts is understood', () => {
    const { earlierStarts: _, ...fields } = JSON.parse(encodeText({ type: 'hello', hello })) as Record<string, unknown>;
    const decoded = decodeText(JSON.stringify(fields));
    const { earlierStarts: __, ...identity } = hello.identity;
    expect(decoded).toEqual({
      type: 'hello',
      hello: { ...hello, identity: { ...identity, earlierStarts: undefined } },
    });
  });

  test('with anything but names of starts is one without', () => {
    for (const earlierStarts of ['b', 7, {}, [7], ['b', null], ['x'.repeat(256)]]) {
      const fields = { ...(JSON.parse(encodeText({ type: 'hello', hello })) as object), earlierStarts };
      expect(decodeText(JSON.stringify(fields))).toMatchObject({ hello: { identity: { earlierStarts: undefined } } });
    }
  });
});
