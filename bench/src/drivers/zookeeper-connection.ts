import { connect, type Socket } from 'node:net';
import {
  connectFrame,
  createFrame,
  deleteFrame,
  ERROR,
  existsFrame,
  getChildrenFrame,
  headerFrame,
  JuteReader,
  OPCODE,
  readConnectResponse,
} from './zookeeper-wire.ts';

const PING_XID = -2;
const WATCH_XID = -1;

interface Pending {
  readonly resolve: (body: JuteReader) => void;
  readonly reject: (error: Error) => void;
}

/** A server's refusal; `code` is ZooKeeper's (−101 no node, −110 node exists, …). */
export class ZooKeeperError extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`zookeeper: error ${code}`);
    this.code = code;
  }
}

/**
 * One session with ZooKeeper. Requests made until the microtasks of a turn
 * have drained leave in one write. When the connection
 * breaks, requests under way are rejected and the session goes on at the next of `endpoints`.
 */
export class ZooKeeperConnection {
  readonly #endpoints: readonly string[];
  readonly #timeoutMs: number;
  readonly #pending: Pending[] = [];
  readonly #watches = new Map<string, (() => void)[]>();
  #turn: number;
  #socket: Socket | undefined;
  #connected: Promise<void> | undefined;
  #session = 0n;
  #password: Buffer = Buffer.alloc(16);
  #xid = 0;
  #pings: NodeJS.Timeout | undefined;
  #received: Buffer = Buffer.alloc(0);
  #outgoing: Buffer[] = [];
  #closed = false;

  constructor(endpoints: readonly string[], first: number, timeoutMs: number) {
    this.#endpoints = endpoints;
    this.#turn = first;
    this.#timeoutMs = timeoutMs;
  }

  async create(path: string, flags: number): Promise<string> {
    return (await this.#request((xid) => createFrame(xid, path, flags))).string();
  }

  async delete(path: string): Promise<void> {
    await this.#request((xid) => deleteFrame(xid, path));
  }

  async children(path: string): Promise<string[]> {
    return (await this.#request((xid) => getChildrenFrame(xid, path))).strings();
  }

  /** Resolves once the node is known to be gone. */
  async gone(path: string): Promise<void> {
    const fired = new Promise<void>((resolve) => {
      const waiting = this.#watches.get(path);
      if (waiting === undefined) this.#watches.set(path, [resolve]);
      else waiting.push(resolve);
    });
    try {
      await this.#request((xid) => existsFrame(xid, path, true));
    } catch (error) {
      if (error instanceof ZooKeeperError && error.code === ERROR.noNode) return;
      throw error;
    }
    await fired;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#pings);
    this.#socket?.end(headerFrame(0, OPCODE.close));
    this.#socket?.unref();
  }

  async #request(frame: (xid: number) => Buffer): Promise<JuteReader> {
    await this.#open();
    return new Promise((resolve, reject) => {
      this.#pending.push({ resolve, reject });
      this.#send(frame(++this.#xid));
    });
  }

  #send(frame: Buffer): void {
    if (this.#outgoing.push(frame) > 1) return;
    process.nextTick(() => {
      this.#socket?.write(Buffer.concat(this.#outgoing));
      this.#outgoing = [];
    });
  }

  #open(): Promise<void> {
    this.#connected ??= new Promise((resolve, reject) => {
      const [host, port] = (this.#endpoints[this.#turn++ % this.#endpoints.length] as string).split(':');
      const socket = connect({ host: host as string, port: Number(port), noDelay: true });
      let welcomed = false;
      this.#socket = socket;
      this.#received = Buffer.alloc(0);
      this.#outgoing = [];
      socket.on('connect', () =>
        socket.write(connectFrame({ timeoutMs: this.#timeoutMs, session: this.#session, password: this.#password })),
      );
      socket.on('data', (chunk) => {
        this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
        for (;;) {
          if (this.#received.length < 4) return;
          const length = this.#received.readInt32BE();
          if (this.#received.length < 4 + length) return;
          const body = this.#received.subarray(4, 4 + length);
          this.#received = this.#received.subarray(4 + length);
          if (welcomed) this.#take(body);
          else {
            welcomed = true;
            const answer = readConnectResponse(body);
            this.#session = answer.session;
            this.#password = answer.password;
            this.#pings = setInterval(() => this.#send(headerFrame(PING_XID, OPCODE.ping)), this.#timeoutMs / 3);
            this.#pings.unref();
            resolve();
          }
        }
      });
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        const error = new Error('zookeeper: connection lost');
        clearInterval(this.#pings);
        this.#connected = undefined;
        reject(error);
        for (const request of this.#pending.splice(0)) request.reject(error);
        // Whoever waited for an event looks again; the watch itself went with the connection.
        for (const path of this.#watches.keys()) this.#fire(path);
        if (!this.#closed && !welcomed) this.#session = 0n;
      });
    });
    return this.#connected;
  }

  #take(body: Buffer): void {
    const reader = new JuteReader(body);
    const xid = reader.int();
    reader.long();
    const code = reader.int();
    if (xid === PING_XID) return;
    if (xid === WATCH_XID) {
      reader.int();
      reader.int();
      this.#fire(reader.string());
      return;
    }
    // A session's answers come in the order of its requests.
    const request = this.#pending.shift();
    if (code === ERROR.ok) request?.resolve(reader);
    else request?.reject(new ZooKeeperError(code));
  }

  #fire(path: string): void {
    const waiting = this.#watches.get(path);
    this.#watches.delete(path);
    for (const resolve of waiting ?? []) resolve();
  }
}
