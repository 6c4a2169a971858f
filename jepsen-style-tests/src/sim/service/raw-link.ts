import { type ClientMessage, codecFor, PROTOCOL_VERSION, type RawMessage } from '@lockd/client/protocol';
import type { SimulatedProcess } from '../world/process.ts';
import type { World } from '../world/world.ts';
import { workloadTime } from './client-parts.ts';
import type { Internet, Party } from './internet.ts';
import type { SimulatedSocket } from './simulated-socket.ts';

const PATIENCE_MS = 1500;
const SUBPROTOCOL = 'lockd.v1.json';

/** One connection: says hello, and can be waited for. */
export class RawLink {
  readonly #socket: SimulatedSocket;
  readonly #time: ReturnType<typeof workloadTime>;
  readonly #codec = codecFor(SUBPROTOCOL);
  readonly #onMessage: (message: RawMessage) => void;
  readonly #waiting: {
    readonly kinds: readonly string[];
    readonly resolve: (message: RawMessage | undefined) => void;
  }[] = [];
  #welcome: RawMessage | undefined;
  #isClosed = false;

  /** `onMessage` hears all that comes, before whoever waits for it. */
  constructor(
    world: World,
    internet: Internet,
    process: SimulatedProcess,
    dial: { readonly host: string; readonly node: string; readonly url: string },
    onMessage: (message: RawMessage) => void = () => undefined,
  ) {
    const party: Party = { host: dial.host, process, usesPromises: true };
    const socket = internet.dial(party, dial.node, dial.url, [SUBPROTOCOL]);
    this.#socket = socket;
    this.#time = workloadTime(world, process, () => 1);
    this.#onMessage = onMessage;
    socket.on('open', () =>
      this.say([
        'hello',
        { version: PROTOCOL_VERSION, client: 'raw', credentials: null, clusterId: null, sessions: [] },
      ]),
    );
    socket.on('message', (data: Buffer) => {
      for (const message of this.#codec?.decode(data.toString()) ?? []) {
        if (message[0] === 'welcome') this.#welcome = message;
        this.#onMessage(message);
        this.#settle((kinds) => kinds.includes(message[0]), message);
      }
    });
    socket.on('close', () => {
      this.#isClosed = true;
      this.#settle(() => true, undefined);
    });
  }

  /** Of the log, when the connection was made. */
  get index(): number {
    return (this.#welcome?.[1] as { readonly index: number } | undefined)?.index ?? 0;
  }

  async isWelcome(): Promise<boolean> {
    return this.#welcome !== undefined || (await this.hear('welcome')) !== undefined;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** All in one frame. */
  say(...messages: readonly ClientMessage[]): void {
    const codec = this.#codec;
    if (codec !== undefined && !this.#isClosed) this.#socket.send(codec.encode(messages));
  }

  ask(message: ClientMessage, ...kinds: readonly string[]): Promise<RawMessage | undefined> {
    this.say(message);
    return this.hear(...kinds);
  }

  /** The next message of these kinds; undefined where none comes. */
  hear(...kinds: readonly string[]): Promise<RawMessage | undefined> {
    if (this.#isClosed) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const waiting = { kinds, resolve };
      this.#waiting.push(waiting);
      this.#time.after(PATIENCE_MS, () => {
        const at = this.#waiting.indexOf(waiting);
        if (at >= 0) this.#waiting.splice(at, 1);
        resolve(undefined);
      });
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#socket.close();
  }

  #settle(matches: (kinds: readonly string[]) => boolean, message: RawMessage | undefined): void {
    for (const waiting of [...this.#waiting]) {
      if (!matches(waiting.kinds)) continue;
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
      waiting.resolve(message);
    }
  }
}
