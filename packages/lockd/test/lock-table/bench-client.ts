import type { ErrorDetail, GrantDetail } from '@lockd/client/protocol';
import { type Command, encodeCommand, OP, type Options } from '../../src/lock-table/command.ts';
import type { TableLimits } from '../../src/lock-table/limits.ts';
import { LockTable } from '../../src/lock-table/lock-table.ts';
import { type Call, recordingSink } from './recording-sink.ts';

/** Options by name, for tests. */
export function options(given: {
  mode?: 'exclusive' | 'shared';
  permits?: number;
  maxHoldMs?: number;
  minHoldMs?: number;
  lockDelayMs?: number;
  reenter?: number[];
  holding?: number[];
  steal?: boolean;
  onceKey?: string;
  metadata?: string[];
}): Options {
  return [
    given.permits !== undefined ? 2 : given.mode === 'shared' ? 1 : 0,
    given.permits ?? 0,
    given.maxHoldMs ?? 0,
    given.minHoldMs ?? 0,
    given.lockDelayMs ?? 0,
    given.metadata ?? [],
    given.reenter ?? [],
    given.holding ?? [],
    given.steal === true ? 1 : 0,
    given.onceKey ?? '',
  ];
}

export interface Outcome {
  readonly granted?: number;
  readonly detail?: GrantDetail | null;
  readonly waiting?: number;
  readonly refused?: string;
  readonly refusal?: ErrorDetail | null;
  readonly ended?: string;
  readonly ok?: unknown;
}

/** A table with sessions that speak to it in turn: what a claim needs in one line a step. */
export class Bench {
  readonly table: LockTable;
  readonly #sink = recordingSink();
  index = 0;
  term = 1;
  /** The calls of the last entry. */
  calls: Call[] = [];

  constructor(limits?: TableLimits) {
    this.table = new LockTable(limits);
  }

  apply(command: Command): Call[] {
    this.table.applyEntry(encodeCommand(command), ++this.index, this.term, this.#sink);
    this.calls = this.#sink.take();
    return this.calls;
  }

  open(nonce: string, flags = 0, openedAfter = this.index): Client {
    const calls = this.apply([OP.open, nonce, 15_000, openedAfter, flags, []]);
    const opened = calls.find(([name]) => name === 'sessionOpened');
    if (opened === undefined) throw new Error(JSON.stringify(calls));
    return new Client(this, opened[1] as number, nonce);
  }

  /** Goes on until nothing is left to do; returns how many entries that took. */
  finishWork(): number {
    let entries = 0;
    while (this.table.hasWorkLeft) {
      this.apply([OP.continueWork]);
      entries++;
    }
    return entries;
  }

  /** What the last entry said of a request or an operation. */
  said(session: number, number: number): Outcome {
    let outcome: Outcome = {};
    for (const [name, who, which, first, , fifth] of this.calls) {
      if (who !== session || which !== number) continue;
      if (name === 'granted')
        outcome = {
          granted: first as number,
          detail: this.calls.find((c) => c[0] === name && c[1] === who && c[2] === which)?.[4] as GrantDetail | null,
        };
      if (name === 'waiting') outcome = { waiting: first as number };
      if (name === 'refused') outcome = { refused: first as string, refusal: fifth as ErrorDetail | null };
      if (name === 'ended') outcome = { ended: first as string };
      if (name === 'answered') outcome = { ok: first };
    }
    return outcome;
  }

  holders(name: string): string[] {
    return (this.table.inspect(name)?.holders ?? []).map((holder) => `${holder.session}/${holder.handle}`);
  }

  waiters(name: string): string[] {
    return (this.table.inspect(name)?.waiters ?? []).map((waiter) => `${waiter.session}/${waiter.handle}`);
  }

  count(method: string): number {
    return this.calls.filter(([name]) => name === method).length;
  }
}

/** Numbers its operations; acknowledges nothing unless told to. */
export class Client {
  readonly bench: Bench;
  readonly id: number;
  readonly nonce: string;
  seq = 0;
  acked = 0;
  epoch = 1;

  constructor(bench: Bench, id: number, nonce: string) {
    this.bench = bench;
    this.id = id;
    this.nonce = nonce;
  }

  /** Sends an operation under the next seq, or another, and returns what was said of it. */
  #send(command: Command, seq: number): Outcome & { readonly handle: number } {
    this.bench.apply(command);
    return { ...this.bench.said(this.id, seq), handle: seq };
  }

  acquire(name: string, waitMs = 1000, given?: Parameters<typeof options>[0], leaseMs = 0, seq: number = ++this.seq) {
    const head = [OP.acquire, this.id, this.epoch, seq, this.acked, name, waitMs] as const;
    return this.#send(given === undefined && leaseMs === 0 ? head : [...head, leaseMs, options(given ?? {})], seq);
  }

  acquireAll(names: string[], waitMs = 1000, given: Parameters<typeof options>[0] = {}, seq: number = ++this.seq) {
    return this.#send([OP.acquireAll, this.id, this.epoch, seq, this.acked, names, waitMs, 0, options(given)], seq);
  }

  on(op: 3 | 4 | 6 | 7, handle: number, seq: number = ++this.seq) {
    return this.#send([op, this.id, this.epoch, seq, this.acked, handle] as Command, seq);
  }

  release(handle: number, seq?: number) {
    return this.on(OP.release, handle, seq ?? ++this.seq);
  }

  cancel(handle: number, seq?: number) {
    return this.on(OP.cancel, handle, seq ?? ++this.seq);
  }

  downgrade(handle: number) {
    return this.on(OP.downgrade, handle);
  }

  upgrade(handle: number) {
    return this.on(OP.upgrade, handle);
  }

  extend(handle: number, leaseMs: number, seq: number = ++this.seq) {
    return this.#send([OP.extend, this.id, this.epoch, seq, this.acked, handle, leaseMs], seq);
  }

  setLimit(name: string, limit: number, seq: number = ++this.seq) {
    return this.#send([OP.setLimit, this.id, this.epoch, seq, this.acked, name, limit], seq);
  }

  complete(handle: number, onceKey: string, seq: number = ++this.seq) {
    return this.#send([OP.complete, this.id, this.epoch, seq, this.acked, handle, onceKey, 60_000], seq);
  }

  close(seq: number = ++this.seq) {
    return this.#send([OP.close, this.id, this.epoch, seq, this.acked], seq);
  }

  detach(epoch = this.epoch): void {
    this.bench.apply([OP.detach, this.id, epoch]);
  }

  attach(epoch = this.epoch + 1): boolean {
    const calls = this.bench.apply([OP.attach, this.id, this.nonce, epoch]);
    const isAttached = calls.some(([name]) => name === 'sessionAttached');
    if (isAttached) this.epoch = epoch;
    return isAttached;
  }

  expire(term = this.bench.term, attachment = this.bench.table.attachmentOf(this.id) ?? 0): void {
    this.bench.apply([OP.endSession, this.id, term, attachment]);
  }

  state(handle: number) {
    return this.bench.table.askRequest(this.id, handle);
  }
}
