import type { LockSystem } from './system.ts';

/** No service at all: locks in the load generator's own memory. Shows what the load generator itself costs. */
export const memorySystem: LockSystem = {
  name: 'memory',
  description: 'no service: the load generator alone',
  unavailable: () => undefined,
  start: async () => ({
    name: 'memory',
    version: process.version,
    driver: { type: 'memory', endpoints: [] },
    processes: async () => [],
    stop: async () => undefined,
  }),
};
