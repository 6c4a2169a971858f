import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HistoryLine } from '../history/history-line.ts';
import { HistoryWriter } from '../history/history-writer.ts';
import { thefts } from '../history/thefts.ts';
import type { WorkerReport } from '../workload/messages.ts';

export interface OnceRun {
  readonly client: string;
  readonly key: string;
  readonly start: number;
  readonly end: number;
  readonly completed: number | null;
}

export interface ClientViolation {
  readonly client: string;
  readonly check: string;
  readonly what: string;
}

interface Grant {
  readonly key: string;
  readonly token: number;
  mayEnd: number;
  readonly mode: HistoryLine['mode'];
}

/** Gathers what client processes report: histories into files and memory, the rest for checks of its own. */
export class Collector {
  readonly lines: HistoryLine[] = [];
  readonly violations: ClientViolation[] = [];
  readonly onceRuns: OnceRun[] = [];
  readonly added: Map<string, string[]> = new Map();
  readonly rejected: Map<string, number> = new Map();
  readonly errors: Map<string, number> = new Map();
  /** Answered requests, by workload. */
  readonly operations: Map<string, number> = new Map();
  readonly lastOperationNs: Map<string, number> = new Map();
  stalls = 0;

  readonly #directory: string | undefined;
  readonly #writers = new Map<string, HistoryWriter>();
  readonly #begun = new Map<string, Map<string, HistoryLine[]>>();
  readonly #granted = new Map<string, Map<string, Grant[]>>();
  readonly #releasing = new Map<string, Map<string, number>>();
  #writing: Promise<void> = Promise.resolve();
  #failed: Error | undefined;

  /** Without a directory the lines stay in memory. */
  constructor(directory?: string) {
    this.#directory = directory;
  }

  get operationCount(): number {
    let count = 0;
    for (const of of this.operations.values()) count += of;
    return count;
  }

  take(client: string, report: WorkerReport): void {
    switch (report.type) {
      case 'begin':
        push(nested(this.#begun, client), report.line.owner as string, report.line);
        return;
      case 'drop':
        this.#begun.get(client)?.delete(report.owner);
        return;
      case 'hold':
        push(nested(this.#granted, client), report.owner, {
          key: report.key,
          token: report.token,
          mayEnd: report.mayEnd,
          mode: undefined,
        });
        return;
      case 'releasing':
        nested(this.#releasing, client).set(report.owner, report.at);
        return;
      case 'line':
        this.#line(client, report.line);
        return;
      case 'error':
        this.errors.set(report.code, (this.errors.get(report.code) ?? 0) + 1);
        return;
      case 'trace':
        if (this.#directory === undefined) return;
        appendFileSync(join(this.#directory, 'traces.jsonl'), `${JSON.stringify({ client, ...report })}\n`);
        return;
      case 'stall':
        this.stalls++;
        return;
      case 'added':
        push(this.added, report.set, report.element);
        return;
      case 'rejected':
        this.rejected.set(report.set, (this.rejected.get(report.set) ?? 0) + 1);
        return;
      case 'once':
        this.onceRuns.push({
          client,
          key: report.key,
          start: report.start,
          end: report.end,
          completed: report.completed,
        });
        return;
      case 'violation':
        this.violations.push({ client, check: report.check, what: report.what });
        return;
      default:
    }
  }

  /** The client was killed: what it had asked for may or may not have happened, what it held ends by itself. */
  died(client: string): void {
    for (const lines of this.#begun.get(client)?.values() ?? []) {
      for (const line of lines) {
        // A permit that was not answered has no slot, and slots are what is judged.
        if (line.mode === 'permit') continue;
        this.#write(line);
        if (line.op === 'acquire') this.#write({ ...line, op: 'expire' });
      }
    }
    for (const [owner, grants] of this.#granted.get(client) ?? []) {
      const releasedNs = this.#releasing.get(client)?.get(owner);
      for (const { key, mayEnd, mode } of grants) {
        const base = {
          client,
          key,
          owner,
          token: null,
          return: null,
          result: 'unknown' as const,
          holder: null,
          ...(mode === undefined ? {} : { mode }),
        };
        if (releasedNs !== undefined) this.#write({ ...base, op: 'release', call: releasedNs });
        this.#write({ ...base, op: 'expire', call: mayEnd, stalled: true });
      }
    }
    this.#begun.delete(client);
    this.#granted.delete(client);
    this.#releasing.delete(client);
  }

  /** Adds, for each theft, the lines that end what may have been stolen. To be called once, when the last client has gone. */
  completeThefts(): void {
    for (const line of thefts(this.lines)) this.#write(line);
  }

  /** Files, with how many lines each has. Rejects when one could not be written in full. */
  async close(): Promise<readonly { readonly path: string; readonly lines: number }[]> {
    await this.#writing;
    for (const writer of this.#writers.values()) await writer.close();
    if (this.#failed !== undefined) throw this.#failed;
    return [...this.#writers.values()].map(({ path, lines }) => ({ path, lines }));
  }

  #line(client: string, line: HistoryLine): void {
    if (line.op === 'acquire' || line.op === 'upgrade' || line.op === 'downgrade')
      this.#begun.get(client)?.delete(line.owner as string);
    if (line.op === 'expire') {
      this.#granted.get(client)?.delete(line.owner as string);
      this.#releasing.get(client)?.delete(line.owner as string);
    }
    if (line.return !== null) {
      const workload = workloadOf(line.key);
      this.operations.set(workload, (this.operations.get(workload) ?? 0) + 1);
      this.lastOperationNs.set(client, line.return);
    }
    this.#write(line);
  }

  #write(line: HistoryLine): void {
    this.lines.push(line);
    const directory = this.#directory;
    if (directory === undefined) return;
    const workload = workloadOf(line.key);
    // Outside checkers read `history-*` and know exclusive locks: what is shared is in a file of another name.
    const name = `${SHARING.has(workload) ? 'rw-' : ''}history-${workload}.jsonl`;
    let writer = this.#writers.get(name);
    if (writer === undefined) {
      writer = new HistoryWriter(join(directory, name));
      this.#writers.set(name, writer);
    }
    const to = writer;
    this.#writing = this.#writing
      .then(() => to.write(line))
      .catch((error: unknown) => {
        this.#failed ??= error instanceof Error ? error : new Error(String(error));
      });
  }
}

/** Workloads whose histories need more than exclusive locks. */
const SHARING: ReadonlySet<string> = new Set(['shared', 'convert']);

export function workloadOf(key: string): string {
  return key.split(':', 1)[0] as string;
}

function nested<T>(map: Map<string, Map<string, T>>, key: string): Map<string, T> {
  let inner = map.get(key);
  if (inner === undefined) {
    inner = new Map();
    map.set(key, inner);
  }
  return inner;
}

function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
