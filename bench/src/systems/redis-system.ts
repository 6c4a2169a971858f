import { mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { programVersion } from '../measure/machine.ts';
import { startChild, tailOf, waitUntil } from '../processes/children.ts';
import { findFreePorts } from '../processes/ports.ts';
import type { Scratch } from '../processes/scratch.ts';
import type { LockSystem, RunningSystem, ServerProcess } from './system.ts';

function unavailable(): string | undefined {
  return programVersion('redis-server', ['--version']) === undefined
    ? 'Redis is not installed (Debian: apt-get install redis-server)'
    : undefined;
}

/** One Redis that syncs its append-only file before it answers. Not replicated: what it holds is gone with its machine. */
export const redisSystem: LockSystem = {
  name: 'Redis',
  description: '1 server, not replicated, appendfsync always; SET NX PX and a comparing release (contended: polling)',
  unavailable,
  start: (scratch) => startRedis(scratch, 'Redis', 'redis', 1),
};

/** Redlock over three independent servers that sync before they answer. No fencing tokens, and as safe as their clocks. */
export const redlockSystem: LockSystem = {
  name: 'Redlock',
  description: '3 independent servers, appendfsync always; SET NX PX on all, held with a majority (contended: polling)',
  unavailable,
  start: (scratch) => startRedis(scratch, 'Redlock', 'redlock', 3),
};

async function startRedis(
  scratch: Scratch,
  name: string,
  type: 'redis' | 'redlock',
  servers: number,
): Promise<RunningSystem> {
  const directory = scratch.make(type);
  const firstPort = await findFreePorts(servers);
  const indices = Array.from({ length: servers }, (_, index) => index);
  const children = indices.map((index) => {
    const home = join(directory, `r${index + 1}`);
    mkdirSync(home);
    return startChild(
      'redis-server',
      [
        '--bind',
        '127.0.0.1',
        '--port',
        String(firstPort + index),
        '--dir',
        home,
        '--appendonly',
        'yes',
        '--appendfsync',
        'always',
        '--save',
        '',
        '--daemonize',
        'no',
      ],
      { logFile: join(home, 'redis.log') },
    );
  });
  const stop = async (): Promise<void> => {
    await Promise.all(children.map((child) => child.stop()));
  };
  try {
    await waitUntil(
      'Redis to listen',
      async () => (await Promise.all(indices.map((index) => listens(firstPort + index)))).every(Boolean),
      10_000,
    );
  } catch (error) {
    await stop();
    throw new Error(`Redis did not start; the end of a log:\n${tailOf(join(directory, 'r1', 'redis.log'))}`, {
      cause: error,
    });
  }
  const version = /v=(\S+)/.exec(programVersion('redis-server', ['--version']) ?? '')?.[1] ?? 'unknown version';
  return {
    name,
    version: `Redis ${version}`,
    driver: { type, endpoints: indices.map((index) => `redis://127.0.0.1:${firstPort + index}`) },
    processes: async () =>
      children.map((child, index): ServerProcess => ({ name: `r${index + 1}`, role: 'server', pid: child.pid })),
    stop,
  };
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
