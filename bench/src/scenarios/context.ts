import type { Scratch } from '../processes/scratch.ts';
import type { LockSystem, RunningSystem } from '../systems/system.ts';

/** What every scenario is given. */
export interface Context {
  readonly scratch: Scratch;
  /** One line of progress, for people. */
  log(line: string): void;
}

/** How long and how often each thing is measured. */
export interface Timing {
  readonly repeats: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

/** Connections of the load generator in every workload; also the reference figures were taken over 8. */
export const CONNECTIONS = 8;
export const SESSION_TTL_MS = 15_000;

/** Starts those systems that can be started, all before any is measured; says why others are left out. */
export async function startSystems(
  context: Context,
  systems: readonly LockSystem[],
): Promise<{ readonly running: readonly RunningSystem[]; readonly skipped: readonly string[] }> {
  const running: RunningSystem[] = [];
  const skipped: string[] = [];
  for (const system of systems) {
    const reason = system.unavailable();
    if (reason !== undefined) {
      skipped.push(`${system.name} left out: ${reason}`);
      context.log(`${system.name} left out: ${reason}`);
      continue;
    }
    context.log(`starting ${system.name} …`);
    try {
      running.push(await system.start(context.scratch));
    } catch (error) {
      await stopSystems(running);
      throw error;
    }
  }
  return { running, skipped };
}

export async function stopSystems(systems: readonly RunningSystem[]): Promise<void> {
  await Promise.allSettled(systems.map((system) => system.stop()));
}

let runs = 0;

/** A fresh beginning for names, so that no two measurements meet in one name. */
export function freshPrefix(kind: string): string {
  return `bench/${kind}/${++runs}`;
}
