import type { DriverSpec } from '../drivers/driver.ts';
import type { Scratch } from '../processes/scratch.ts';

export type ServerRole = 'leader' | 'follower' | 'server';

/** One server process, as the operating system knows it. */
export interface ServerProcess {
  readonly name: string;
  readonly role: ServerRole;
  readonly pid: number;
}

/** A lock service whose processes run on this machine's loopback. */
export interface RunningSystem {
  readonly name: string;
  readonly version: string;
  /** What the load generator needs to talk to it. */
  readonly driver: DriverSpec;
  /** All server processes with the roles they have now. */
  processes(): Promise<readonly ServerProcess[]>;
  /** Where one process can take over from another: starts a killed one again with its data; resolves once it serves. */
  restart?(name: string): Promise<void>;
  stop(): Promise<void>;
}

export interface LockSystem {
  readonly name: string;
  /** What a reader has to know to compare: how many servers, when they sync, how a lock is taken. */
  readonly description: string;
  /** Why it cannot be started here, in words that say what to install; `undefined` when it can. */
  unavailable(): string | undefined;
  start(scratch: Scratch): Promise<RunningSystem>;
}
