import WebSocket from 'ws';
import { LIMITS } from '../protocol/index.ts';
import type { Connection, ConnectionHandler } from '../transport.ts';

/** See `Transport.open`. */
export function openSocket(endpoint: string, subprotocols: readonly string[], handler: ConnectionHandler): Connection {
  let socket: WebSocket;
  try {
    socket = new WebSocket(endpoint, [...subprotocols], {
      // Compression costs more than it saves on frames of this size, and memory on both sides.
      perMessageDeflate: false,
      maxPayload: LIMITS.maxFrameBytes,
      // Text is checked by the JSON codec; MessagePack checks its own strings.
      skipUTF8Validation: true,
    });
  } catch (error) {
    // The endpoint is not a WebSocket address.
    queueMicrotask(() => handler.onClose(error instanceof Error ? error.message : String(error)));
    return { send() {}, close() {} };
  }
  let reason = 'the connection was closed';
  socket.on('open', () => handler.onOpen(socket.protocol));
  socket.on('message', (data: Buffer, isBinary: boolean) => handler.onFrame(isBinary ? data : data.toString('utf8')));
  socket.on('error', (error) => {
    reason = error.message === '' ? ((error as NodeJS.ErrnoException).code ?? error.name) : error.message;
  });
  socket.on('close', (code, text) =>
    handler.onClose(text.length > 0 ? text.toString('utf8') : code === 1006 ? reason : `${reason} (${code})`),
  );
  return {
    send(frame) {
      if (socket.readyState === WebSocket.OPEN) socket.send(frame);
    },
    close() {
      if (socket.readyState === WebSocket.CONNECTING) socket.terminate();
      else socket.close();
    },
  };
}
