import { randomBytes } from 'node:crypto';
import { type Connection, webSocketTransport } from '@lockd/client';
import { LIMITS, msgpackCodec, PROTOCOL_VERSION } from '@lockd/client/protocol';
import { after } from '../clock.ts';

const TTL_MS = 3_600_000;
/** One session's acquires without an answer. */
const IN_FLIGHT = 500;
const RETRY_MS = 200;
const SESSION_LOCKS = 150_000;

/** Takes many locks and keeps them, on the wire itself: a million handles of the SDK would weigh more than the cluster. */
export class Holder {
  readonly #connections: Connection[] = [];

  /** Resolves when all of them are granted. */
  async hold(endpoint: string, count: number, onProgress: (held: number) => void): Promise<void> {
    let held = 0;
    const sessions: Promise<void>[] = [];
    for (let from = 0; from < count; from += SESSION_LOCKS) {
      const until = Math.min(count, from + SESSION_LOCKS);
      sessions.push(
        this.#session(endpoint, from, until, () => {
          held++;
          if (held % 100_000 === 0) onProgress(held);
        }),
      );
    }
    await Promise.all(sessions);
  }

  close(): void {
    for (const connection of this.#connections) connection.close();
  }

  #session(endpoint: string, from: number, until: number, onGrant: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      let session = 0;
      let seq = 0;
      let answered = 0;
      let epoch = 1;
      let openedAfter = 0;
      const nonce = randomBytes(16).toString('hex');
      let total = until - from;
      const send = (messages: readonly unknown[][]): void => {
        if (messages.length > 0) connection.send(msgpackCodec.encode(messages));
      };
      const attach = (): unknown[] => ['attach', 2, session, nonce, ++epoch];
      const acquire = (number: number): unknown[] => [
        'acquire',
        session,
        number,
        answered,
        `held:${from}:${number}`,
        0,
        null,
        null,
      ];
      const fill = (): void => {
        const messages: unknown[][] = [];
        while (seq < total && seq - answered < Math.min(IN_FLIGHT, LIMITS.window)) messages.push(acquire(++seq));
        send(messages);
      };
      const connection = webSocketTransport({ codec: 'msgpack' }).open(endpoint, {
        onOpen: () => {
          connection.send(msgpackCodec.encode([['hello', { version: PROTOCOL_VERSION, client: 'operations holder' }]]));
        },
        onFrame: (frame) => {
          for (const message of msgpackCodec.decode(frame)) {
            if (message[0] === 'welcome') {
              const { index } = message[1] as { index: number };
              openedAfter = index;
              send([['open', 1, nonce, TTL_MS, openedAfter, null]]);
            } else if (message[0] === 'opened') {
              session = message[2] as number;
              fill();
            } else if (message[0] === 'reattach') {
              // The leader has changed: what has no answer is sent again.
              send([attach()]);
            } else if (message[0] === 'attached') {
              send(Array.from({ length: seq - answered }, (_, at) => acquire(answered + 1 + at)));
            } else if (message[0] === 'granted') {
              // Answers of a session come in the order of its operations; one that comes again is known.
              if ((message[2] as number) !== answered + 1) continue;
              answered++;
              onGrant();
              if (answered === total) resolve();
              else if (seq - answered < IN_FLIGHT / 2) fill();
            } else if (message[0] === 'error' && message[6] === true && message[1] === 0) {
              // No leader just now: neither the opening nor the attachment was taken.
              const again = session === 0 ? ['open', 1, nonce, TTL_MS, openedAfter, null] : attach();
              after(RETRY_MS, () => send([again]));
            } else if (message[0] === 'error' && message[6] === true && message[2] === answered + 1) {
              // Not done, and its number is used up.
              answered++;
              total++;
              fill();
            } else if (message[0] === 'error') {
              reject(new Error(JSON.stringify(message)));
            }
          }
        },
        onClose: () => reject(new Error('the node closed the connection')),
      });
      this.#connections.push(connection);
    });
  }
}
