import { webSocketTransport } from '@lockd/client';
import { type AdminAnswer, jsonCodec, PROTOCOL_VERSION } from '@lockd/client/protocol';
import { after } from '../clock.ts';

/**
 * Asks one node, and no other, for what operators ask. Resolves to `undefined` when it does not answer within
 * `timeoutMs`, or closes the connection first: then nobody knows what came of it.
 */
export function askAdmin(
  url: string,
  op: string,
  args: Readonly<Record<string, unknown>> = {},
  timeoutMs = 20_000,
): Promise<AdminAnswer | undefined> {
  return new Promise((resolve) => {
    let end = (): void => {};
    const cancel = after(timeoutMs, () => done(undefined));
    const done = (answer: AdminAnswer | undefined): void => {
      cancel();
      resolve(answer);
      end();
      end = () => {};
    };
    const connection = webSocketTransport({ codec: 'json' }).open(url, {
      onOpen: () => connection.send(jsonCodec.encode([['hello', { version: PROTOCOL_VERSION, client: 'operator' }]])),
      onFrame: (frame) => {
        for (const message of jsonCodec.decode(frame)) {
          if (message[0] === 'welcome') connection.send(jsonCodec.encode([['admin', 1, op, args]]));
          if (message[0] === 'result') done(message[2] as AdminAnswer);
          if (message[0] === 'error') done(undefined);
        }
      },
      onClose: () => done(undefined),
    });
    end = () => connection.close();
  });
}
