import { cpuBetween, type ProcessUsage, readProcessUsage } from './process-cpu.ts';

/** A process to account for, and what to call it in the table. */
export interface AccountedProcess {
  readonly role: 'leader' | 'follower' | 'server' | 'client';
  readonly name: string;
  readonly pid: number;
}

export interface ProcessCost {
  readonly role: AccountedProcess['role'];
  readonly name: string;
  /** CPU seconds between `begin` and `end`; undefined when the process was gone. */
  readonly cpuSeconds: number | undefined;
  /** Resident at `end`. */
  readonly rssBytes: number | undefined;
}

/** Reads all processes when the measured time begins and when it ends. */
export class CpuAccount {
  readonly #processes: readonly AccountedProcess[];
  #before: readonly (ProcessUsage | undefined)[] = [];
  #after: readonly (ProcessUsage | undefined)[] = [];

  constructor(processes: readonly AccountedProcess[]) {
    this.#processes = processes;
  }

  begin(): void {
    this.#before = this.#read();
  }

  end(): void {
    this.#after = this.#read();
  }

  costs(): readonly ProcessCost[] {
    return this.#processes.map(({ role, name }, index) => ({
      role,
      name,
      cpuSeconds: cpuBetween(this.#before[index], this.#after[index]),
      rssBytes: this.#after[index]?.rssBytes,
    }));
  }

  #read(): readonly (ProcessUsage | undefined)[] {
    return this.#processes.map(({ pid }) => readProcessUsage(pid));
  }
}
