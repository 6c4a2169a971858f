import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type WebSocket, WebSocketServer } from 'ws';
import { formatHostPort, type HostPort } from '../config.ts';

/** A port cannot be listened on. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  readonly address: string;

  constructor(address: string, what: string, cause: NodeJS.ErrnoException) {
    const reason =
      cause.code === 'EADDRINUSE'
        ? 'the port is in use by another process'
        : cause.code === 'EACCES'
          ? 'this user may not listen on that port'
          : cause.code === 'EADDRNOTAVAIL'
            ? 'this machine does not have that address'
            : cause.message;
    super(`cannot listen for ${what} on ${address}: ${reason}`, { cause });
    this.address = address;
  }
}

export interface ListenerOptions {
  readonly address: HostPort;
  /** For error messages: `clients`, `peers`. */
  readonly what: string;
  readonly maxPayloadBytes: number;
  /** Which of the offered subprotocols to speak; undefined: none. */
  readonly chooseProtocol?: (offered: ReadonlySet<string>) => string | undefined;
  readonly onSocket: (socket: WebSocket) => void;
  readonly onRequest: (request: IncomingMessage, response: ServerResponse) => void;
}

/** A port with HTTP and WebSocket behind it. */
export class Listener {
  readonly #server: Server;
  readonly #sockets: WebSocketServer;
  readonly #host: string;

  private constructor(server: Server, sockets: WebSocketServer, host: string) {
    this.#server = server;
    this.#sockets = sockets;
    this.#host = host;
  }

  /** Rejects with a {@link ListenError}. */
  static open(options: ListenerOptions): Promise<Listener> {
    const server = createServer(options.onRequest);
    const { chooseProtocol } = options;
    const sockets = new WebSocketServer({
      server,
      perMessageDeflate: false,
      maxPayload: options.maxPayloadBytes,
      ...(chooseProtocol === undefined ? {} : { handleProtocols: (offered) => chooseProtocol(offered) ?? false }),
    });
    // Errors of the HTTP server come here too; the one that matters is handled below.
    sockets.on('error', () => {});
    sockets.on('connection', options.onSocket);
    const { host, port } = options.address;
    return new Promise((resolve, reject) => {
      server.once('error', (error) => reject(new ListenError(formatHostPort(options.address), options.what, error)));
      server.listen(port, host, () => resolve(new Listener(server, sockets, host)));
    });
  }

  /** Where it really listens. */
  get address(): HostPort {
    const address = this.#server.address();
    return { host: this.#host, port: typeof address === 'object' && address !== null ? address.port : 0 };
  }

  /** Takes no more connections, and ends those that are left. */
  close(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate();
    this.#sockets.close();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }
}
