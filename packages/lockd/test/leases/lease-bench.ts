import { LeaseManager } from '../../src/leases/lease-manager.ts';
import type { Proposal } from '../../src/leases/lease-types.ts';
import { type Command, encodeCommand, OP } from '../../src/lock-table/command.ts';
import { LockTable } from '../../src/lock-table/lock-table.ts';
import type { TableSink } from '../../src/lock-table/sink.ts';
import { SILENT_SINK } from '../../src/lock-table/state.ts';

export const TTL_MS = 15_000;

interface Entry {
  readonly term: number;
  readonly command: Command | undefined;
}

/** One node: its replica of the table, its lease manager, its clock. */
export class LeaseNode {
  readonly table = new LockTable();
  readonly leases: LeaseManager;
  nowMs = 1000;
  readonly #cluster: LeaseBench;
  readonly #sink: TableSink;

  constructor(cluster: LeaseBench, maxProposals = 1000) {
    this.#cluster = cluster;
    const leases = new LeaseManager({ maxProposals });
    this.leases = leases;
    this.#sink = {
      ...SILENT_SINK,
      sessionOpened: (session, _nonce, ttlMs) => leases.sessionOpened(session, ttlMs, this.nowMs),
      sessionHeard: (session) => leases.sessionHeard(session, this.nowMs),
      sessionEnded: (session) => leases.sessionEnded(session),
      deadlineStarted: (kind, session, handle, key, lengthMs, generation) =>
        leases.deadlineStarted(kind, session, handle, key, lengthMs, generation, this.nowMs),
      deadlineEnded: () => leases.deadlineEnded(),
    };
  }

  /** Applies what the log has, up to `upTo`. */
  catchUp(upTo: number = this.#cluster.log.length): void {
    for (let index = this.table.index + 1; index <= upTo; index++) {
      const { command, term } = this.#cluster.log[index - 1] as Entry;
      if (command === undefined) this.table.skip(index, term);
      else this.table.applyEntry(encodeCommand(command), index, term, this.#sink);
    }
  }

  /** Wins `term`: its first entry commits, and it applies it. */
  lead(term: number): void {
    this.#cluster.log.push({ term, command: undefined });
    this.catchUp();
    this.leases.becameReady(term, this.nowMs, this.table);
  }

  pass(ms: number): void {
    this.nowMs += ms;
  }

  /** What it proposes now. */
  due(): Command[] {
    return this.proposals().map((proposal) => proposal.command);
  }

  proposals(): Proposal[] {
    return this.leases.due(this.nowMs);
  }

  /** A renewal and a round that starts after it: returns the stamps acknowledged. */
  renew(session: number, stamp: number): number[] {
    if (!this.leases.renewalArrived(session, stamp, this.nowMs)) return [];
    const round = this.#cluster.nextRound();
    this.leases.roundFor(round);
    return this.leases.confirmed(round).map((ack) => ack.stamp);
  }
}

/** A log that the test writes, and nodes that apply it when the test says so. Virtual time, a clock for each node. */
export class LeaseBench {
  readonly log: Entry[] = [];
  #round = 0;

  node(maxProposals?: number): LeaseNode {
    return new LeaseNode(this, maxProposals);
  }

  nextRound(): number {
    return ++this.#round;
  }

  /** An entry of `term` commits. Returns its index. */
  commit(term: number, command: Command): number {
    this.log.push({ term, command });
    return this.log.length;
  }

  open(term: number, nonce = 'n', flags = 0): number {
    return this.commit(term, [OP.open, nonce, TTL_MS, this.log.length, flags, []]);
  }
}
