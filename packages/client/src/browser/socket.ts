import type { Connection, ConnectionHandler } from '../transport.ts';

/** See `Transport.open`. */
export function openSocket(endpoint: string, subprotocols: readonly string[], handler: ConnectionHandler): Connection {
  let socket: WebSocket;
  try {
    socket = new WebSocket(endpoint, [...subprotocols]);
  } catch (error) {
    // The endpoint is not a WebSocket address.
    queueMicrotask(() => handler.onClose(error instanceof Error ? error.message : String(error)));
    return { send() {}, close() {} };
  }
  socket.binaryType = 'arraybuffer';
  socket.onopen = () => handler.onOpen(socket.protocol);
  socket.onmessage = (event: MessageEvent<string | ArrayBuffer>) => {
    handler.onFrame(typeof event.data === 'string' ? event.data : new Uint8Array(event.data));
  };
  // The platform tells pages nothing about why.
  socket.onclose = (event) =>
    handler.onClose(event.reason === '' ? `the connection was closed (${event.code})` : event.reason);
  return {
    send(frame) {
      // Frames are never backed by shared memory; the type of `send` cannot know.
      if (socket.readyState === WebSocket.OPEN) socket.send(frame as string | Uint8Array<ArrayBuffer>);
    },
    close() {
      socket.close();
    },
  };
}
