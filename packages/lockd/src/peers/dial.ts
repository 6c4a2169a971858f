import { WebSocket } from 'ws';
import type { FrameSocket } from '../frame-socket.ts';
import { PEER_LIMITS } from './limits.ts';

/** A WebSocket to a peer's listener. Throws where `address` is not `host:port`. */
export function dialPeer(address: string): FrameSocket {
  return new WebSocket(`ws://${address}/`, {
    perMessageDeflate: false,
    maxPayload: PEER_LIMITS.maxFrameBytes,
    handshakeTimeout: PEER_LIMITS.handshakeTimeoutMs,
    followRedirects: false,
    // Masks protect proxies from what web pages send. Between nodes they would only cost a pass over every byte.
    generateMask: (mask) => mask.fill(0),
  });
}
