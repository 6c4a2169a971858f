import { randomUUID } from 'node:crypto';
import type { Clock } from './clock.ts';
import { LevelDisk } from './level-disk.ts';
import { LogStore, type LogStoreOptions } from './log-store.ts';
import type { LogStorage } from './storage.ts';

/** The storage of one node in a directory of its own, which is made when it is first used. */
export function levelStorage(directory: string, clock: Clock, options: Partial<LogStoreOptions> = {}): LogStorage {
  return new LogStore(new LevelDisk(directory), clock, { newInstanceId: randomUUID, ...options });
}
