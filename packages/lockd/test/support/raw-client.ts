import { type ClientMessage, codecFor, type Hello, jsonCodec, type ServerMessage } from '@lockd/client/protocol';
import { WebSocket } from 'ws';
import { until } from './until.ts';

type Named<Name extends ServerMessage[0]> = Extract<ServerMessage, readonly [Name, ...unknown[]]>;

/** A client that says exactly what it is told to, so that a test can say what no SDK would. */
export class RawClient {
  readonly received: ServerMessage[] = [];
  closeCode: number | undefined;
  readonly #socket: WebSocket;
  readonly #subprotocol: string;

  private constructor(socket: WebSocket, subprotocol: string) {
    this.#socket = socket;
    this.#subprotocol = subprotocol;
    socket.on('error', () => {});
    socket.on('close', (code) => {
      this.closeCode = code;
    });
    socket.on('message', (data, isBinary) => {
      const frame = isBinary ? (data as Buffer) : (data as Buffer).toString();
      this.received.push(...((codecFor(subprotocol) ?? jsonCodec).decode(frame) as unknown as ServerMessage[]));
    });
  }

  /** Connected, and nothing said yet. */
  static async dial(url: string, subprotocol = jsonCodec.subprotocol): Promise<RawClient> {
    const socket = new WebSocket(url, subprotocol, { perMessageDeflate: false });
    const client = new RawClient(socket, subprotocol);
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    return client;
  }

  /** Connected, and welcomed. */
  static async connect(url: string, hello: Partial<Hello> = {}, subprotocol?: string): Promise<RawClient> {
    const client = await RawClient.dial(url, subprotocol);
    client.send(['hello', { version: 1, client: 'test', ...hello }]);
    await client.next('welcome');
    return client;
  }

  send(...messages: (ClientMessage | readonly unknown[])[]): void {
    this.sendFrame((codecFor(this.#subprotocol) ?? jsonCodec).encode(messages));
  }

  sendFrame(frame: string | Uint8Array): void {
    this.#socket.send(frame);
  }

  /** The oldest message with this name that was not taken yet. */
  async next<Name extends ServerMessage[0]>(
    name: Name,
    matches: (message: Named<Name>) => boolean = () => true,
  ): Promise<Named<Name>> {
    return await until(`${name} (received: ${JSON.stringify(this.received).slice(0, 500)})`, () => {
      const index = this.received.findIndex((message) => message[0] === name && matches(message as Named<Name>));
      return index === -1 ? undefined : (this.received.splice(index, 1)[0] as Named<Name>);
    });
  }

  async closed(): Promise<number> {
    return await until('the connection to close', () => this.closeCode);
  }

  /** A session of its own; resolves to its id. */
  async open(nonce: string, ttlMs = 15_000): Promise<number> {
    this.send(['open', 1, nonce, ttlMs, 0, null]);
    return (await this.next('opened', (message) => message[1] === 1))[2];
  }

  /** Ends without a word. */
  drop(): void {
    this.#socket.terminate();
  }

  close(): void {
    this.#socket.close();
  }
}
