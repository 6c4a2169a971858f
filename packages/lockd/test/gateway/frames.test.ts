import { jsonCodec, LIMITS, msgpackCodec, type RawMessage, type ServerMessage } from '@lockd/client/protocol';
import { describe, expect, test } from 'vitest';
import type { FrameSocket } from '../../src/frame-socket.ts';
import { Connection } from '../../src/gateway/connection.ts';

describe.each([msgpackCodec, jsonCodec])('frames to a client in $subprotocol', (codec) => {
  function connected() {
    const sent: RawMessage[][] = [];
    let wasCut = false;
    const socket: FrameSocket = {
      readyState: 1,
      bufferedAmount: 0,
      // As the client does, which accepts nothing larger.
      send: (frame) => void sent.push(codec.decode(frame)),
      close: () => {},
      terminate: () => {
        wasCut = true;
      },
      on: () => socket,
    };
    const events = { onFrame: () => {}, onOutgoing: () => {}, onClosed: () => {} };
    const connection = new Connection(socket, codec, () => {}, events);
    connection.open();
    return { connection, sent, wasCut: () => wasCut };
  }
  const answer = (id: number, length: number): ServerMessage =>
    ['result', id, 'x'.repeat(length)] as unknown as ServerMessage;

  test('answers that do not fit one frame go in several, in order', () => {
    const { connection, sent } = connected();
    const ids = [1, 2, 3, 4, 5, 6, 7];
    for (const id of ids) connection.send(answer(id, LIMITS.maxFrameBytes / 3));
    connection.flush();
    expect(sent.length).toBeGreaterThan(1);
    expect(sent.flat().map((message) => message[1])).toEqual(ids);
  });

  test('an answer that is too large by itself becomes an error, and the others arrive', () => {
    const { connection, sent } = connected();
    for (const [id, length] of [
      [1, 10],
      [2, LIMITS.maxFrameBytes],
      [3, 10],
    ] as const)
      connection.send(answer(id, length));
    connection.flush();
    expect(sent.flat().map((message) => [message[0], message[0] === 'error' ? message[2] : message[1]])).toEqual([
      ['result', 1],
      ['error', 2],
      ['result', 3],
    ]);
    expect(sent.flat()[1]?.[3]).toBe('LOCKD_LIMIT');
  });

  test('a message of another kind that is too large, which nothing makes, ends its connection and not the node', () => {
    const { connection, wasCut } = connected();
    connection.send(['goodbye', 'x'.repeat(LIMITS.maxFrameBytes)]);
    connection.flush();
    expect(wasCut()).toBe(true);
    expect(connection.state).toBe('closed');
  });
});
