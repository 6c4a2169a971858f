import { type Command, OP } from '../lock-table/command.ts';
import type { DeadlineKind } from '../lock-table/sink.ts';
import { DeadlineHeap } from './deadline-heap.ts';
import type { Deadline, GrantDeadline, LeaseTable, Proposal, RenewalAck, SessionLease } from './lease-types.ts';
import { RenewalQueue } from './renewal-queue.ts';

export interface LeaseOptions {
  /** Proposals of one call of `due` at most; the next call goes on. Default 1,000. */
  readonly maxProposals: number;
}

export const DEFAULT_LEASE_OPTIONS: LeaseOptions = { maxProposals: 1000 };

/** Of this leader since it became ready. */
export interface LeaseCounters {
  acknowledgedRenewals: number;
  /** Renewals that wait for the fate of a proposed end. */
  heldBackRenewals: number;
  proposedEnds: number;
  /** Milliseconds by which all deadlines were put off because this node could not listen. */
  extendedMs: number;
}

/**
 * The deadlines of the leader, on its monotonic clock (DESIGN.md, section 6). Time comes in as an argument, in whole
 * milliseconds; nothing waits in here.
 *
 * Nothing is armed, acknowledged or proposed but between `becameReady` and `lostLeadership`. The node calls, in this
 * order when several are due in one turn: `stalled`, then what came in from sockets and from the log, then `due`.
 * It proposes what `due` returns at once, in the same turn, to its own Raft, and never forwards or keeps it.
 */
export class LeaseManager {
  readonly counters: LeaseCounters = { acknowledgedRenewals: 0, heldBackRenewals: 0, proposedEnds: 0, extendedMs: 0 };
  readonly #options: LeaseOptions;
  #table: LeaseTable | undefined;
  /** Set while this node leads and has applied the first entry of its own term. */
  #term: number | undefined;
  #isTransferring = false;
  readonly #sessions: Map<number, SessionLease> = new Map();
  readonly #heap: DeadlineHeap<Deadline> = new DeadlineHeap();
  /** Entries of the heap whose deadline was ended before its time. An estimate, for cleaning up. */
  #endedInHeap = 0;
  readonly #renewals = new RenewalQueue();
  /** Acknowledgements whose session's proposed end was refused: they leave with the next `takeAcks`. */
  #freed: RenewalAck[] = [];
  /**
   * All times in here are the clock's less this: what the node could not listen. A stall so puts off every deadline
   * armed before it, at no cost.
   */
  #unheardMs = 0;
  #readySinceMs = 0;
  #lastStallEndMs = -1;
  /** `workRounds` of the table when a `continue-work` was last proposed. */
  #workProposedAt = -1;

  constructor(options: LeaseOptions = DEFAULT_LEASE_OPTIONS) {
    this.#options = options;
  }

  /** Deadlines in memory, some of which may have been ended before their time. */
  get pendingDeadlines(): number {
    return this.#heap.size;
  }

  get isReady(): boolean {
    return this.#term !== undefined;
  }

  /**
   * This node leads `term`, has applied the first entry of it, and accepts clients. Every deadline starts anew at its full
   * length: what the last leader had heard is not known here.
   */
  becameReady(term: number, nowMs: number, table: LeaseTable): void {
    this.lostLeadership();
    this.#term = term;
    this.#table = table;
    this.#readySinceMs = nowMs;
    table.forEachSession((session, ttlMs) => this.sessionOpened(session, ttlMs, nowMs));
    table.forEachDeadline((kind, session, handle, key, lengthMs, generation) =>
      this.deadlineStarted(kind, session, handle, key, lengthMs, generation, nowMs),
    );
  }

  /** From now on nothing is acknowledged or proposed; what was waiting is forgotten. Also for a node that never led. */
  lostLeadership(): void {
    this.#term = undefined;
    this.#table = undefined;
    this.#isTransferring = false;
    this.#sessions.clear();
    this.#heap.clear();
    this.#endedInHeap = 0;
    this.#renewals.clear();
    this.#freed = [];
    this.#unheardMs = 0;
    this.#workProposedAt = -1;
  }

  /**
   * A leader that hands over proposes no end and acknowledges no renewal: its successor may have begun to count. Renewals
   * stay, and need a new round if the transfer is called off.
   */
  setTransferring(isTransferring: boolean): void {
    this.#isTransferring = isTransferring;
    if (isTransferring) this.#renewals.forgetRounds();
  }

  /**
   * This node could not listen for `lengthMs`, until `endedAtMs`: nobody may lose anything for that time. Call it before
   * anything else in the turn; the same stall may be reported again.
   */
  stalled(lengthMs: number, endedAtMs: number): void {
    if (this.#term === undefined || endedAtMs <= this.#lastStallEndMs || endedAtMs <= this.#readySinceMs) return;
    this.#lastStallEndMs = endedAtMs;
    this.#unheardMs += lengthMs;
    this.counters.extendedMs += lengthMs;
  }

  // What applying the log tells, call by call as in TableSink. Ignored unless ready: `becameReady` reads the table.

  sessionOpened(session: number, ttlMs: number, nowMs: number): void {
    if (this.#term === undefined) return;
    // A repeated open is reported again: the client counts from sending it.
    if (this.#heard(session, nowMs)) return;
    const expiresMs = this.#local(nowMs) + ttlMs;
    const lease: SessionLease = {
      session,
      ttlMs,
      expiresMs,
      heardUntilMs: expiresMs,
      isEndProposed: false,
      heldBack: undefined,
    };
    this.#sessions.set(session, lease);
    this.#heap.add({ type: 'session', dueMs: lease.expiresMs, lease });
  }

  /** The log shows that its client is there: that counts like a renewal, and any end proposed before it will be refused. */
  sessionHeard(session: number, nowMs: number): void {
    const lease = this.#sessions.get(session);
    if (lease === undefined) return;
    this.#heard(session, nowMs);
    if (lease.isEndProposed) this.#revive(lease);
  }

  /** The proposed end came to nothing: all that was heard meanwhile counts. */
  #revive(lease: SessionLease): void {
    lease.isEndProposed = false;
    lease.expiresMs = lease.heardUntilMs;
    // Its entry left the heap with the proposal.
    this.#heap.add({ type: 'session', dueMs: lease.expiresMs, lease });
    if (lease.heldBack !== undefined) this.#freed.push(...lease.heldBack);
    lease.heldBack = undefined;
  }

  sessionEnded(session: number): void {
    // Its entry in the heap goes when it is due; what waits for an acknowledgement gets none.
    if (this.#sessions.delete(session)) this.#endedInHeap++;
  }

  deadlineStarted(
    kind: DeadlineKind,
    session: number,
    handle: number,
    key: string,
    lengthMs: number,
    generation: number,
    nowMs: number,
  ): void {
    if (this.#term === undefined) return;
    // A lease that is restarted leaves the deadline it had.
    if (kind === 'lease' && generation > 0) this.#endedInHeap++;
    this.#heap.add({ type: 'grant', dueMs: this.#local(nowMs) + lengthMs, kind, session, handle, key, generation });
  }

  deadlineEnded(): void {
    if (this.#term !== undefined) this.#endedInHeap++;
  }

  // Renewals.

  /**
   * A client renews. Moves its deadline now, unless an end of it has been proposed. The acknowledgement needs a round
   * that starts after this call: see `roundFor`. False: this node cannot take it (not ready, or the session is over or
   * bound to a closed connection). `origin` comes back with the acknowledgement.
   */
  renewalArrived(session: number, stamp: number, nowMs: number, origin?: unknown): boolean {
    if (this.#term === undefined || this.#table?.isRenewable(session) !== true) return false;
    if (!this.#sessions.has(session)) return false;
    this.#heard(session, nowMs);
    this.#renewals.add({ session, stamp, origin });
    return true;
  }

  /** Whether renewals wait for which no round has been started yet. */
  get wantsRound(): boolean {
    return this.#term !== undefined && !this.#isTransferring && this.#renewals.hasUnassigned;
  }

  /** `round` starts after everything that has arrived so far. Rounds ascend. */
  roundFor(round: number): void {
    if (this.#term !== undefined && !this.#isTransferring) this.#renewals.assign(round);
  }

  /**
   * A quorum has confirmed this leader in `round`, and this node has applied up to that round's read index. Returns what is
   * now acknowledged; a renewal whose session is being ended waits for the fate of that proposal.
   */
  confirmed(round: number): RenewalAck[] {
    if (this.#term === undefined || this.#isTransferring) return [];
    for (const renewal of this.#renewals.take(round)) {
      const lease = this.#sessions.get(renewal.session);
      if (lease === undefined || this.#table?.isAlive(renewal.session) !== true) continue;
      if (lease.isEndProposed) {
        lease.heldBack ??= [];
        lease.heldBack.push(renewal);
        this.counters.heldBackRenewals++;
      } else {
        this.#freed.push(renewal);
      }
    }
    return this.takeAcks();
  }

  /** Acknowledgements that became possible since the last call: after applying entries, without a round. */
  takeAcks(): RenewalAck[] {
    if (this.#freed.length === 0 || this.#isTransferring) return [];
    const acks = this.#freed;
    this.#freed = [];
    // An end may have been proposed after they were freed.
    const sent = acks.filter((ack) => {
      const lease = this.#sessions.get(ack.session);
      if (lease === undefined) return false;
      if (!lease.isEndProposed) return true;
      lease.heldBack ??= [];
      lease.heldBack.push(ack);
      return false;
    });
    this.counters.acknowledgedRenewals += sent.length;
    return sent;
  }

  // Ends.

  /** When `due` has something to do, on the same clock; undefined: not before something else happens. */
  nextDeadlineMs(): number | undefined {
    if (this.#term === undefined || this.#isTransferring) return undefined;
    if (this.#wantsWork) return 0;
    this.#cleanUp();
    const first = this.#heap.first;
    return first === undefined ? undefined : first.dueMs + this.#unheardMs;
  }

  /** Looks once more at what is due, and returns what to propose, in this turn, to this node's own Raft. */
  due(nowMs: number): Proposal[] {
    const table = this.#table;
    const term = this.#term;
    if (term === undefined || table === undefined || this.#isTransferring) return [];
    const proposals: Proposal[] = [];
    const now = this.#local(nowMs);
    if (this.#wantsWork) {
      this.#workProposedAt = table.workRounds;
      proposals.push({ command: [OP.continueWork], deadline: undefined });
    }
    while (proposals.length < this.#options.maxProposals) {
      const first = this.#heap.first;
      if (first === undefined || first.dueMs > now) break;
      this.#heap.takeFirst();
      const command =
        first.type === 'session' ? this.#sessionEnd(first.lease, table, term, now) : grantEnd(first, table, term);
      if (command === undefined) continue;
      proposals.push({ command, deadline: first });
      this.counters.proposedEnds++;
    }
    return proposals;
  }

  /** Raft did not take the proposal: its deadline is due again. */
  withdraw(proposal: Proposal): void {
    if (this.#term === undefined) return;
    const deadline = proposal.deadline;
    if (deadline === undefined) {
      this.#workProposedAt = -1;
    } else if (deadline.type === 'grant') {
      this.#heap.add(deadline);
    } else if (deadline.lease.isEndProposed) {
      this.#revive(deadline.lease);
    }
  }

  get #wantsWork(): boolean {
    return this.#table?.hasWorkLeft === true && this.#table.workRounds !== this.#workProposedAt;
  }

  #sessionEnd(lease: SessionLease, table: LeaseTable, term: number, now: number): Command | undefined {
    if (this.#sessions.get(lease.session) !== lease) return undefined;
    const attachment = table.attachmentOf(lease.session);
    if (attachment === undefined) return undefined;
    if (lease.expiresMs > now) {
      // Renewed since: renewals move only the lease, not the heap.
      this.#heap.add({ type: 'session', dueMs: lease.expiresMs, lease });
      return undefined;
    }
    lease.isEndProposed = true;
    return [OP.endSession, lease.session, term, attachment];
  }

  /** The client was heard of: its lease begins anew, unless its end is on the way. False: no such session. */
  #heard(session: number, nowMs: number): boolean {
    const lease = this.#sessions.get(session);
    if (lease === undefined) return false;
    lease.heardUntilMs = Math.max(lease.heardUntilMs, this.#local(nowMs) + lease.ttlMs);
    if (!lease.isEndProposed) lease.expiresMs = lease.heardUntilMs;
    return true;
  }

  #local(nowMs: number): number {
    return nowMs - this.#unheardMs;
  }

  /** Waits mostly end long before their deadline; their entries must not pile up until then. O(1) amortized. */
  #cleanUp(): void {
    if (this.#endedInHeap <= 1000 || this.#endedInHeap * 2 <= this.#heap.size) return;
    const table = this.#table as LeaseTable;
    this.#heap.retain((entry) =>
      entry.type === 'session'
        ? this.#sessions.get(entry.lease.session) === entry.lease
        : table.deadlineStands(entry.kind, entry.session, entry.handle, entry.key, entry.generation),
    );
    this.#endedInHeap = 0;
  }
}

function grantEnd(deadline: GrantDeadline, table: LeaseTable, term: number): Command | undefined {
  const { kind, session, handle, key, generation } = deadline;
  if (!table.deadlineStands(kind, session, handle, key, generation)) return undefined;
  switch (kind) {
    case 'wait':
      return [OP.endWait, session, handle, term];
    case 'lease':
      return [OP.endGrant, session, handle, term, generation];
    case 'max-hold':
      return [OP.endMaxHold, session, handle, term];
    case 'reserve':
      return [OP.endReserve, generation, term];
    default:
      return [OP.endOnce, key, generation, term];
  }
}
