/** How frames get to a node and back. The SDK brings WebSocket; an in-process node and the simulator bring their own. */
export interface Transport {
  /**
   * Begins to connect; returns at once and never throws: what goes wrong is told by `onClose`. The handler is called
   * later, never from inside this call.
   */
  open(endpoint: string, handler: ConnectionHandler): Connection;
}

export interface Connection {
  /** After `onOpen`. The frame belongs to the transport from here on. Frames arrive in the order sent or not at all. */
  send(frame: Uint8Array | string): void;
  /** What has been sent is still delivered where that is possible. `onClose` follows, once. */
  close(): void;
}

export interface ConnectionHandler {
  /** Once, before anything else. `subprotocol`: `lockd.v1.msgpack` or `lockd.v1.json`, which decides the codec. */
  onOpen(subprotocol: string): void;
  onFrame(frame: Uint8Array | string): void;
  /** Once, the last call; also where the connection never opened. */
  onClose(reason: string): void;
}
