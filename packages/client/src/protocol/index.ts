/** `@lockd/client/protocol`: what client and server say to each other, and nothing that does it. docs/protocol.md. */
export { CODECS, type Codec, codecFor, jsonCodec, msgpackCodec, type RawMessage } from './codec.ts';
export { type Duration, durationMs } from './durations.ts';
export { ERROR_CODES, type ErrorCode, type Outcome } from './error-codes.ts';
export { LIMITS } from './limits.ts';
export {
  type AcquireOptions,
  type AdminAnswer,
  type ClientMessage,
  type EndReason,
  type ErrorDetail,
  type GrantDetail,
  type Hello,
  type HolderInfo,
  type Member,
  type NameInfo,
  type NodeStatus,
  type OpenOptions,
  PROTOCOL_VERSION,
  type RequestState,
  type ServerMessage,
  SUBPROTOCOL_JSON,
  SUBPROTOCOL_MSGPACK,
  type Welcome,
} from './messages.ts';
export { canonicalName, escapeLoneSurrogates, nameProblem, originalName } from './names.ts';
export { parseAcquireOptions, parseClientMessage, parseHello, parseOpenOptions } from './parse-client-message.ts';
export { isErrorCode, parseServerMessage } from './parse-server-message.ts';
export { ProtocolError } from './protocol-error.ts';
export { utf8ByteLength } from './utf8.ts';
