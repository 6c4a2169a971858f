import type { Connection, ConnectionHandler, Transport } from '@lockd/client';
import { jsonCodec, type ServerMessage } from '@lockd/client/protocol';
import { describe, expect, test } from 'vitest';
import { TransportTap } from '../src/workload/transport-tap.ts';

describe('what stands between the SDK and its connections', () => {
  test('counts a connection as ended when it is given up, before that is confirmed, and once', () => {
    const { tap, connection, handler } = tapped();
    connection.close();
    expect(tap.disconnects).toBe(1);
    handler.onClose('given up');
    expect(tap.disconnects).toBe(1);
  });

  test('knows until when there was a connection for sure: the last request that was answered was sent then', () => {
    const { tap, connection, handler, time } = tapped();
    const release = (seq: number): void => {
      connection.send(jsonCodec.encode([['release', 7, seq, 0, 1]]));
    };
    expect(tap.heardUntilNs).toBe(-Infinity);
    time.ns = 10;
    release(2);
    time.ns = 20;
    release(3);
    time.ns = 900;
    handler.onFrame(answered(2));
    expect(tap.heardUntilNs).toBe(10);
    handler.onFrame(answered(3));
    handler.onFrame(answered(2));
    expect(tap.heardUntilNs).toBe(20);
  });
});

function answered(seq: number): ReturnType<typeof jsonCodec.encode> {
  const message: ServerMessage = ['ok', 7, seq, null];
  return jsonCodec.encode([message]);
}

function tapped(): {
  readonly tap: TransportTap;
  readonly connection: Connection;
  readonly handler: ConnectionHandler;
  readonly time: { ns: number };
} {
  const time = { ns: 0 };
  let inner: ConnectionHandler | undefined;
  const transport: Transport = {
    open: (_endpoint, handler) => {
      inner = handler;
      return { send: () => undefined, close: () => undefined };
    },
  };
  const tap = new TransportTap(transport, {}, { nowNs: () => time.ns });
  const connection = tap.open('ws://one', {
    onOpen: () => undefined,
    onFrame: () => undefined,
    onClose: () => undefined,
  });
  if (inner === undefined) throw new Error('nothing was opened');
  inner.onOpen(jsonCodec.subprotocol);
  return { tap, connection, handler: inner, time };
}
