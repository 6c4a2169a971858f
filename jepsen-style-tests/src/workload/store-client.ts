import { connect, type Socket } from 'node:net';
import { readJsonLines } from '../cluster/json-lines.ts';

export interface StoreRequest {
  readonly op: 'read' | 'write';
  readonly set: string;
  readonly client: string;
  /** With it the store refuses what is older than the newest it has seen. */
  readonly token?: number;
  readonly values?: readonly string[];
}

export interface StoreAnswer {
  readonly ok: boolean;
  readonly values?: readonly string[];
}

/** Talks to the protected store over one connection, which no fault touches: what is tested is the lock before it. */
export class StoreClient {
  readonly #socket: Socket;
  readonly #waiting = new Map<
    number,
    { readonly resolve: (answer: StoreAnswer) => void; readonly reject: (error: Error) => void }
  >();
  #id = 0;

  constructor(port: number) {
    this.#socket = connect(port, '127.0.0.1');
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the store is gone'));
      this.#waiting.clear();
    });
    readJsonLines(this.#socket, (value) => {
      const answer = value as StoreAnswer & { readonly id: number };
      this.#waiting.get(answer.id)?.resolve(answer);
      this.#waiting.delete(answer.id);
    });
  }

  ask(request: StoreRequest): Promise<StoreAnswer> {
    const id = ++this.#id;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#socket.write(`${JSON.stringify({ id, ...request })}\n`);
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}
