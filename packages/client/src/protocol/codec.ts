import { Packr } from 'msgpackr';
import { LIMITS } from './limits.ts';
import { SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK } from './messages.ts';
import { checkMsgpack } from './msgpack-guard.ts';
import { ProtocolError } from './protocol-error.ts';

/** A decoded message of which only the shape is known: a list that begins with its name. */
export type RawMessage = [name: string, ...fields: unknown[]];

/** How frames travel: one WebSocket message is one frame is a list of messages. */
export interface Codec {
  /** The WebSocket subprotocol that names this codec. */
  readonly subprotocol: string;
  /** Text for JSON, bytes (owned by the caller) for MessagePack. Throws ProtocolError on what has no form on the wire. */
  encode(messages: readonly (readonly unknown[])[]): Uint8Array | string;
  /**
   * The messages of a frame, at most `maxBytes` long (default LIMITS.maxFrameBytes). Throws ProtocolError, and nothing
   * else, on anything that is not a list of lists that begin with a name. Fields are unchecked.
   */
  decode(frame: Uint8Array | string, maxBytes?: number): RawMessage[];
}

// Plain MessagePack, without the library's own extensions: other languages read it. `undefined` becomes nil, as in JSON.
const packr = new Packr({ useRecords: false, encodeUndefinedAsNil: true, int64AsType: 'number' });

export const msgpackCodec: Codec = {
  subprotocol: SUBPROTOCOL_MSGPACK,
  encode: (messages) => packr.pack(messages),
  decode(frame, maxBytes = LIMITS.maxFrameBytes) {
    if (typeof frame === 'string')
      throw new ProtocolError(`a text frame on a connection that agreed on ${SUBPROTOCOL_MSGPACK}`);
    checkSize(frame.length, maxBytes);
    checkMsgpack(frame);
    return checkFrame(packr.unpack(frame));
  },
};

export const jsonCodec: Codec = {
  subprotocol: SUBPROTOCOL_JSON,
  encode: (messages) => JSON.stringify(messages),
  decode(frame, maxBytes = LIMITS.maxFrameBytes) {
    if (typeof frame !== 'string')
      throw new ProtocolError(`a binary frame on a connection that agreed on ${SUBPROTOCOL_JSON}`);
    // In UTF-16 units, never more than the bytes it came in; the transport bounds those.
    checkSize(frame.length, maxBytes);
    let value: unknown;
    try {
      value = JSON.parse(frame);
    } catch {
      throw new ProtocolError('a frame is not valid JSON');
    }
    return checkFrame(value);
  },
};

/** In order of preference. */
export const CODECS: readonly Codec[] = [msgpackCodec, jsonCodec];

/** The codec of an agreed subprotocol; undefined for a name that is not ours. */
export function codecFor(subprotocol: string): Codec | undefined {
  return CODECS.find((codec) => codec.subprotocol === subprotocol);
}

function checkSize(size: number, maxBytes: number): void {
  if (size > maxBytes)
    throw new ProtocolError(`a frame of ${size} is larger than ${maxBytes} bytes: send fewer messages in one frame`);
}

function checkFrame(value: unknown): RawMessage[] {
  if (!Array.isArray(value)) throw new ProtocolError('a frame is not a list of messages');
  for (const message of value) {
    if (!Array.isArray(message) || typeof message[0] !== 'string') {
      throw new ProtocolError('a message is not a list that begins with its name');
    }
  }
  return value as RawMessage[];
}
