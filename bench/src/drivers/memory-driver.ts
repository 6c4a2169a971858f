import { pause } from '../processes/children.ts';
import type { LockDriver } from './driver.ts';

/**
 * Locks in this process's own memory, first come, first served: what the tests of the harness run against, and the
 * cost of the load generator without any service (`--system memory`). `delayMs` makes every acquire take at least so long.
 */
export function createMemoryDriver(delayMs = 0): LockDriver<string> {
  const queues = new Map<string, (() => void)[]>();
  return {
    async acquire(_worker, name) {
      if (delayMs > 0) await pause(delayMs);
      const queue = queues.get(name);
      if (queue === undefined) queues.set(name, []);
      else await new Promise<void>((resolve) => queue.push(resolve));
      return name;
    },
    // A turn of the event loop, as any service would take: otherwise one worker would never let go of the thread.
    async release(_worker, name) {
      await new Promise((resolve) => setImmediate(resolve));
      const next = queues.get(name)?.shift();
      if (next === undefined) queues.delete(name);
      else next();
    },
    async close() {
      queues.clear();
    },
  };
}
