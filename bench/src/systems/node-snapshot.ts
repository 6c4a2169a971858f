import { webSocketTransport } from '@lockd/client';
import { jsonCodec, PROTOCOL_VERSION } from '@lockd/client/protocol';
import { waitUntil } from '../processes/children.ts';

const DEADLINE_MS = 120_000;

export interface MadeSnapshot {
  readonly ms: number;
  readonly bytes: number;
  /** Of the node, since it started: the longest that making a snapshot kept it from anything else, by the clock. */
  readonly longestSliceMs: number;
}

/** Lets one node make a snapshot of its state, and waits until it is the newest on its disk. `endpoint` is its client address. */
export async function makeSnapshot(endpoint: string): Promise<MadeSnapshot> {
  const before = await metricOf(endpoint, 'snapshots_made_total');
  await ask(endpoint);
  await waitUntil(
    'a snapshot of lockd',
    async () => (await metricOf(endpoint, 'snapshots_made_total')) > before,
    DEADLINE_MS,
  );
  return {
    ms: await metricOf(endpoint, 'snapshot_milliseconds'),
    bytes: await metricOf(endpoint, 'snapshot_bytes'),
    longestSliceMs: await metricOf(endpoint, 'snapshot_slice_max_milliseconds'),
  };
}

function ask(endpoint: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const connection = webSocketTransport({ codec: 'json' }).open(endpoint, {
      onOpen: () => connection.send(jsonCodec.encode([['hello', { version: PROTOCOL_VERSION, client: 'bench' }]])),
      onFrame: (frame) => {
        for (const message of jsonCodec.decode(frame)) {
          if (message[0] === 'welcome') connection.send(jsonCodec.encode([['admin', 1, 'make-snapshot', {}]]));
          if (message[0] !== 'result') continue;
          resolve();
          connection.close();
        }
      },
      onClose: () => reject(new Error(`${endpoint} closed the connection before it answered`)),
    });
  });
}

async function metricOf(endpoint: string, name: string): Promise<number> {
  const response = await fetch(new URL('/metrics', endpoint.replace(/^ws/, 'http')));
  const match = new RegExp(`^lockd_${name} (\\S+)$`, 'm').exec(await response.text());
  if (match === null) throw new Error(`no metric lockd_${name} at ${endpoint}`);
  return Number(match[1]);
}
