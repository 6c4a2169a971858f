import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LogStorage, levelStorage, StorageError } from '@lockd/raft/node';
import { afterEach, expect, test } from 'vitest';
import { realClock } from '../../src/clock.ts';
import type { FrameSocket } from '../../src/frame-socket.ts';
import { silentLogger } from '../../src/log.ts';
import { NodeService } from '../../src/node/node-service.ts';
import { until } from '../support/until.ts';

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** Makes a storage close, and say that it could not write something. */
function failAtClose(storage: LogStorage): LogStorage {
  const close = storage.close.bind(storage);
  storage.close = async () => {
    await close();
    throw new StorageError('STORAGE_IO', 'writing the marker: input/output error');
  };
  return storage;
}

test('a node whose storage cannot write its last says so, and takes no more connections', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'lockd-stop-'));
  cleanups.push(() => rm(dataDir, { recursive: true, force: true }));
  const service = await NodeService.open(
    { name: 'n1', dataDir, initialCluster: new Map([['n1', '127.0.0.1:1']]) },
    {
      log: silentLogger,
      clock: realClock,
      random: () => 0,
      storage: failAtClose(levelStorage(join(dataDir, 'raft'), realClock)),
      dialPeer: () => {
        throw new Error('there is nobody to dial');
      },
      newClusterId: () => 'cluster',
      pid: 1,
      onFatal: () => undefined,
    },
  );
  service.start({ client: 'ws://127.0.0.1:2', peer: '127.0.0.1:1' });
  await until('the node to serve', () => service.isServing);
  await expect(service.stop('the test is over')).rejects.toThrow('writing the marker');
  let isClosed = false;
  const close = (): void => {
    isClosed = true;
  };
  const late: FrameSocket = {
    readyState: 1,
    bufferedAmount: 0,
    send: () => undefined,
    close,
    terminate: close,
    on: () => undefined,
  };
  service.acceptPeer(late);
  expect(isClosed).toBe(true);
});
