import type { LockTable } from '../../src/lock-table/lock-table.ts';
import { type Call, recordingSink } from './recording-sink.ts';
import { ScriptWriter } from './scripts.ts';

/** Keeps, from the sink's calls alone, what a leader knows: the script writer asks it what to end. */
export class LeaderBooks {
  readonly table: LockTable;
  readonly sink = recordingSink();
  readonly #leases = new Map<string, number>();
  readonly #completions = new Map<string, number>();
  reserves: { key: string; generation: number; handle: number }[] = [];

  constructor(table: LockTable) {
    this.table = table;
  }

  note(calls: readonly Call[]): void {
    for (const [name, ...args] of calls) {
      if (name !== 'deadlineStarted') continue;
      const [kind, session, handle, key, , generation] = args as [string, number, number, string, number, number];
      if (kind === 'lease') this.#leases.set(`${session}/${handle}`, generation);
      if (kind === 'once') this.#completions.set(key, generation);
      if (kind === 'reserve') this.reserves.push({ key, generation, handle });
    }
    this.reserves = this.reserves.filter(({ key, generation }) =>
      this.table.deadlineStands('reserve', 0, 0, key, generation),
    );
  }

  writer(): ScriptWriter {
    return new ScriptWriter({
      attachmentOf: (session) => this.table.attachmentOf(session),
      epochOf: (session) => this.table.epochOf(session),
      generationOf: (session, handle) => this.#leases.get(`${session}/${handle}`) ?? 0,
      completionGenerationOf: (key) => this.#completions.get(key) ?? 0,
      reservations: () => this.reserves.map(({ generation }) => generation),
    });
  }
}
