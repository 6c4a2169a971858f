import { type NodeStatus, SUBPROTOCOL_JSON, type Welcome } from '@lockd/client/protocol';
import { type RawData, WebSocket } from 'ws';
import type { Clock } from '../clock.ts';

export type NodeAnswer =
  | { readonly isReachable: true; readonly welcome: Welcome; readonly status: NodeStatus }
  | { readonly isReachable: false; readonly reason: string };

/**
 * Asks one node, and no other, how it is: unlike the SDK, which would go to another node. Never rejects; answers
 * within `timeoutMs`.
 */
export function askNode(
  endpoint: string,
  credentials: string | undefined,
  timeoutMs: number,
  clock: Clock,
): Promise<NodeAnswer> {
  return new Promise((resolve) => {
    let welcome: Welcome | undefined;
    let socket: WebSocket;
    const finish = (answer: NodeAnswer): void => {
      cancel();
      socket?.terminate();
      resolve(answer);
    };
    const cancel = clock.after(timeoutMs, () =>
      finish({ isReachable: false, reason: `no answer within ${timeoutMs} ms` }),
    );
    try {
      socket = new WebSocket(endpoint, SUBPROTOCOL_JSON, { perMessageDeflate: false });
    } catch (error) {
      cancel();
      resolve({ isReachable: false, reason: String(error) });
      return;
    }
    socket.on('error', (error) => finish({ isReachable: false, reason: reasonOf(error) }));
    socket.on('close', () => finish({ isReachable: false, reason: 'the node closed the connection' }));
    socket.on('open', () => {
      socket.send(JSON.stringify([['hello', { version: 1, client: 'lockd-cli', credentials: credentials ?? null }]]));
      socket.send(JSON.stringify([['status', 1]]));
    });
    socket.on('message', (data, isBinary) => {
      for (const message of isBinary ? [] : parseFrame(textOf(data))) {
        if (message[0] === 'welcome') welcome = message[1] as Welcome;
        else if (message[0] === 'result' && welcome !== undefined)
          finish({ isReachable: true, welcome, status: message[2] as NodeStatus });
        else if (message[0] === 'error')
          finish({ isReachable: false, reason: `${String(message[3])}: ${String(message[4])}` });
      }
    });
  });
}

function textOf(data: RawData): string {
  return Array.isArray(data) ? Buffer.concat(data).toString() : Buffer.from(data as Buffer).toString();
}

function parseFrame(text: string): readonly (readonly unknown[])[] {
  try {
    const frame: unknown = JSON.parse(text);
    return Array.isArray(frame) ? frame.filter((message: unknown) => Array.isArray(message)) : [];
  } catch {
    return [];
  }
}

function reasonOf(error: Error): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ECONNREFUSED') return 'nobody listens there';
  if (code === 'ENOTFOUND') return 'no such host';
  return error.message === '' ? (code ?? 'cannot connect') : error.message;
}
