import { type ClientHttp2Session, connect, constants } from 'node:http2';

/**
 * Unary gRPC calls over one HTTP/2 connection without TLS, on Node's own http2. Does less than a full gRPC library
 * (no interceptors, deadlines or metadata), so it costs the client less CPU: in the peer's favour.
 * A connection that has broken is opened again by the next call, to the next of `endpoints`.
 */
export class GrpcConnection {
  readonly #endpoints: readonly string[];
  #turn: number;
  #session: ClientHttp2Session | undefined;

  /** `endpoints` are `http://host:port`; the first one tried is number `first`. */
  constructor(endpoints: readonly string[], first: number) {
    this.#endpoints = endpoints;
    this.#turn = first;
  }

  /** Resolves to the response message; rejects with the connection's error or with grpc-status and grpc-message. */
  call(path: string, request: Buffer): Promise<Buffer> {
    const session = this.#open();
    return new Promise((resolve, reject) => {
      const stream = session.request({
        [constants.HTTP2_HEADER_METHOD]: 'POST',
        [constants.HTTP2_HEADER_PATH]: path,
        [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
        [constants.HTTP2_HEADER_TE]: 'trailers',
      });
      const chunks: Buffer[] = [];
      let status: string | undefined;
      let message = '';
      const takeStatus = (headers: Record<string, string | string[] | number | undefined>): void => {
        if (headers['grpc-status'] === undefined) return;
        status = String(headers['grpc-status']);
        message = String(headers['grpc-message'] ?? '');
      };
      stream.on('response', takeStatus);
      stream.on('trailers', takeStatus);
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('error', reject);
      stream.on('close', () => {
        if (status === '0') resolve(Buffer.concat(chunks).subarray(5));
        else reject(new Error(status === undefined ? 'grpc: connection lost' : `grpc: status ${status} ${message}`));
      });
      // One byte "not compressed", four bytes length, the message.
      const frame = Buffer.allocUnsafe(5 + request.length);
      frame[0] = 0;
      frame.writeUInt32BE(request.length, 1);
      request.copy(frame, 5);
      stream.end(frame);
    });
  }

  close(): void {
    this.#session?.destroy();
  }

  #open(): ClientHttp2Session {
    const current = this.#session;
    if (current !== undefined && !current.closed && !current.destroyed) return current;
    const endpoint = this.#endpoints[this.#turn++ % this.#endpoints.length] as string;
    const session = connect(endpoint);
    // The calls under way are rejected through their own streams.
    session.on('error', () => session.destroy());
    session.on('goaway', () => session.destroy());
    this.#session = session;
    return session;
  }
}
