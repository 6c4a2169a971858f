import { openSocket } from '#socket';
import { SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK } from './protocol/index.ts';
import type { Connection, ConnectionHandler, Transport } from './transport.ts';

export interface WebSocketTransportOptions {
  /** Text frames, readable in a network log; a few times the bytes. Default: 'msgpack', and JSON where a node insists. */
  readonly codec?: 'msgpack' | 'json';
}

/** `ws` on Node, the platform's own WebSocket in browsers and workers. */
export function webSocketTransport(options: WebSocketTransportOptions = {}): Transport {
  const subprotocols = options.codec === 'json' ? [SUBPROTOCOL_JSON] : [SUBPROTOCOL_MSGPACK, SUBPROTOCOL_JSON];
  return {
    open(endpoint: string, handler: ConnectionHandler): Connection {
      return openSocket(endpoint, subprotocols, handler);
    },
  };
}
