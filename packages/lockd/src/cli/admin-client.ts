import { type AdminAnswer, SUBPROTOCOL_JSON } from '@lockd/client/protocol';
import { WebSocket } from 'ws';
import { realClock } from '../clock.ts';
import { CommandFailure, EXIT } from './exit-codes.ts';
import { DEFAULT_ENDPOINTS, type Settings } from './settings.ts';

/** Longer than a node tries (OPERATION_LIMITS.timeoutMs). */
const ANSWER_TIMEOUT_MS = 20_000;
const CONNECT_TIMEOUT_MS = 2000;

/** Asks the first node that is there; any of them knows the way to the leader. Rejects with a {@link CommandFailure}. */
export async function askCluster(
  settings: Settings,
  op: string,
  args: Readonly<Record<string, unknown>> = {},
): Promise<AdminAnswer> {
  const reasons: string[] = [];
  let request = args;
  let noLeader: AdminAnswer | undefined;
  for (const endpoint of settings.list('endpoints') ?? DEFAULT_ENDPOINTS) {
    const url = endpoint.includes('://') ? endpoint : `ws://${endpoint}`;
    const { answer, failure, wasSent } = await askOne(url, settings.text('credentials'), op, request);
    if (answer !== undefined) {
      // Of one that takes no part, or is alone: another one may know better.
      if (answer.ok || answer.reason !== 'no-leader') return answer;
      noLeader = answer;
      continue;
    }
    // It may have been done all the same: a leader that is removed goes before it has answered.
    if (wasSent) request = { ...args, repeated: true };
    reasons.push(`${url}: ${failure}`);
  }
  if (noLeader !== undefined) return noLeader;
  throw new CommandFailure(`no node answers (${reasons.join('; ')}): check --endpoints`, EXIT.unavailable);
}

/** The answer, or why there is none. */
interface Reply {
  readonly answer: AdminAnswer | undefined;
  readonly failure: string;
  readonly wasSent: boolean;
}

function askOne(
  url: string,
  credentials: string | undefined,
  op: string,
  args: Readonly<Record<string, unknown>>,
): Promise<Reply> {
  return new Promise((resolve) => {
    let socket: WebSocket;
    let wasSent = false;
    let cancel = realClock.after(CONNECT_TIMEOUT_MS, () => finish('no answer'));
    const finish = (answer: AdminAnswer | string): void => {
      cancel();
      socket?.terminate();
      resolve(
        typeof answer === 'string' ? { answer: undefined, failure: answer, wasSent } : { answer, failure: '', wasSent },
      );
    };
    try {
      socket = new WebSocket(url, SUBPROTOCOL_JSON, { perMessageDeflate: false });
    } catch (error) {
      cancel();
      resolve({ answer: undefined, failure: error instanceof Error ? error.message : String(error), wasSent });
      return;
    }
    socket.on('error', (error) => finish(error.message === '' ? 'cannot connect' : error.message));
    socket.on('close', () => finish('the node closed the connection'));
    socket.on('open', () => {
      cancel();
      cancel = realClock.after(ANSWER_TIMEOUT_MS, () => finish('no answer in time'));
      socket.send(JSON.stringify([['hello', { version: 1, client: 'lockd-cli', credentials: credentials ?? null }]]));
      socket.send(JSON.stringify([['admin', 1, op, args]]));
      wasSent = true;
    });
    socket.on('message', (data) => {
      const frame = JSON.parse(Buffer.from(data as Buffer).toString()) as readonly (readonly unknown[])[];
      for (const message of frame) {
        if (message[0] === 'result' && message[1] === 1) finish(message[2] as AdminAnswer);
        else if (message[0] === 'error') finish(`${String(message[3])}: ${String(message[4])}`);
      }
    });
  });
}
