import { type Connection, webSocketTransport } from '@lockd/client';
import { type ClientMessage, jsonCodec, type NodeStatus, PROTOCOL_VERSION } from '@lockd/client/protocol';
import { after, every, monotonicNs } from '../clock.ts';

/** What a node said about itself, and when. */
export interface StatusSample {
  readonly atNs: number;
  readonly status: NodeStatus;
}

/**
 * Asks one node for its status over a connection of its own that no fault touches, so that a partition is seen from
 * outside. `last` is `undefined` while the node does not answer.
 */
export class StatusPoller {
  last: StatusSample | undefined;
  readonly #url: string;
  readonly #onSample: (sample: StatusSample | undefined) => void;
  readonly #stop: () => void;
  #connection: Connection | undefined;
  #isWelcome = false;
  #askedNs: number | undefined;
  #id = 0;
  #isOver = false;

  constructor(url: string, intervalMs: number, onSample: (sample: StatusSample | undefined) => void) {
    this.#url = url;
    this.#onSample = onSample;
    this.#stop = every(intervalMs, () => this.#tick());
    this.#tick();
  }

  close(): void {
    this.#isOver = true;
    this.#stop();
    this.#connection?.close();
  }

  #tick(): void {
    if (this.#isOver) return;
    if (this.#connection === undefined) {
      this.#open();
      return;
    }
    if (this.#askedNs !== undefined) {
      // A frozen node keeps its connection: it counts as silent after a second, and is asked again by a new one.
      if (monotonicNs() - this.#askedNs < 1e9) return;
      this.#connection.close();
      this.#lost();
      return;
    }
    if (!this.#isWelcome) return;
    this.#askedNs = monotonicNs();
    this.#send(['status', ++this.#id]);
  }

  #open(): void {
    this.#askedNs = monotonicNs();
    const connection = webSocketTransport({ codec: 'json' }).open(this.#url, {
      onOpen: () => this.#send(['hello', { version: PROTOCOL_VERSION, client: 'jepsen-style-tests status' }]),
      onFrame: (frame) => {
        if (this.#connection !== connection) return;
        for (const message of jsonCodec.decode(frame)) this.#take(message);
      },
      onClose: () => {
        if (this.#connection === connection) this.#lost();
      },
    });
    this.#connection = connection;
    const unwanted = after(1500, () => {
      if (this.#connection === connection && !this.#isWelcome) {
        connection.close();
        this.#lost();
      }
    });
    void unwanted;
  }

  #take(message: readonly unknown[]): void {
    if (message[0] === 'welcome') {
      this.#isWelcome = true;
      this.#askedNs = undefined;
      this.#tick();
    } else if (message[0] === 'result' && message[1] === this.#id) {
      this.#askedNs = undefined;
      this.last = { atNs: monotonicNs(), status: message[2] as NodeStatus };
      this.#onSample(this.last);
    } else if (message[0] === 'goodbye' || message[0] === 'error') {
      this.#askedNs = undefined;
    }
  }

  #lost(): void {
    this.#connection = undefined;
    this.#isWelcome = false;
    this.#askedNs = undefined;
    if (this.last !== undefined) {
      this.last = undefined;
      this.#onSample(undefined);
    }
  }

  #send(message: ClientMessage): void {
    this.#connection?.send(jsonCodec.encode([message]));
  }
}
