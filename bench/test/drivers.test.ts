import { describe, expect, test } from 'vitest';
import { ProtobufWriter, readProtobuf } from '../src/drivers/protobuf.ts';
import { encodeCommand, parseReply } from '../src/drivers/redis-connection.ts';
import { connectFrame, createFrame, JuteReader, readConnectResponse } from '../src/drivers/zookeeper-wire.ts';

describe('protocol buffers', () => {
  test('write and read integers up to 63 bits, bytes and nested messages', () => {
    const inner = new ProtobufWriter().integer(1, 300).finish();
    const fields = readProtobuf(
      new ProtobufWriter()
        .integer(2, 2n ** 62n)
        .bytes(3, 'key')
        .bytes(4, inner)
        .finish(),
    );
    expect(fields.get(2)).toBe(2n ** 62n);
    expect(String(fields.get(3))).toBe('key');
    expect(readProtobuf(fields.get(4) as Buffer).get(1)).toBe(300n);
  });

  test('are bytes as the specification shows them', () => {
    expect(new ProtobufWriter().integer(1, 150).finish().toString('hex')).toBe('089601');
    expect(new ProtobufWriter().bytes(2, 'testing').finish().toString('hex')).toBe('120774657374696e67');
  });

  test('that are broken are refused', () => {
    expect(() => readProtobuf(Buffer.from([0x08, 0x80]))).toThrow('varint');
    expect(() => readProtobuf(Buffer.from([0x0b]))).toThrow('wire type');
  });
});

describe('RESP', () => {
  test('commands are arrays of bulk strings with their length in bytes', () => {
    expect(encodeCommand(['SET', 'ä'])).toBe('*2\r\n$3\r\nSET\r\n$2\r\nä\r\n');
  });

  test.each([
    ['+OK\r\n', 'OK'],
    [':7\r\n', 7],
    ['$-1\r\n', null],
    ['$2\r\nab\r\n', 'ab'],
  ])('%j is read', (text, value) => {
    expect(parseReply(`xx${text}`, 2)).toEqual({ value, end: text.length + 2 });
  });

  test('an error is a value, an incomplete reply is none yet, another type is refused', () => {
    expect(parseReply('-ERR no\r\n', 0)?.value).toEqual(new Error('redis: ERR no'));
    expect(parseReply('$5\r\nabc', 0)).toBeUndefined();
    expect(parseReply('+OK', 0)).toBeUndefined();
    expect(() => parseReply('*1\r\n', 0)).toThrow('cannot read');
  });
});

describe("ZooKeeper's wire", () => {
  test('frames begin with the length of what follows', () => {
    const frame = createFrame(7, '/a', 1);
    expect(frame.readInt32BE()).toBe(frame.length - 4);
    const reader = new JuteReader(frame.subarray(4));
    expect([reader.int(), reader.int(), reader.string()]).toEqual([7, 1, '/a']);
  });

  test('a session comes back as it was asked for', () => {
    // Request and response share their fields but for the request's last zxid.
    const frame = connectFrame({ timeoutMs: 15_000, session: 0x1234n, password: Buffer.from('secret') });
    const response = Buffer.concat([frame.subarray(4, 8), frame.subarray(16)]);
    expect(readConnectResponse(response)).toEqual({
      timeoutMs: 15_000,
      session: 0x1234n,
      password: Buffer.from('secret'),
    });
  });
});
