import { ENTRY_KIND, type ProposeResult, type RaftStatus } from '@lockd/raft';
import type { Clock } from '../clock.ts';
import type { LeaseManager } from '../leases/lease-manager.ts';
import { encodeCommand } from '../lock-table/command.ts';
import type { LockTable } from '../lock-table/lock-table.ts';

export interface LeaseDriverDependencies {
  readonly clock: Clock;
  readonly leases: LeaseManager;
  readonly table: LockTable;
  propose(bytes: Uint8Array, start: number, ends: Uint32Array): ProposeResult;
  lastStall(): { readonly lengthMs: number; readonly endedAtMs: number } | undefined;
}

/** After a refused proposal there is no point in asking again at once. */
const RETRY_MS = 50;

/**
 * Gives the lease manager its time and its leader, and proposes what it says is over: to this node's own Raft, at once,
 * never through anything that keeps or forwards.
 */
export class LeaseDriver {
  readonly #dependencies: LeaseDriverDependencies;
  #timer: { readonly dueMs: number; readonly cancel: () => void } | undefined;
  #notBeforeMs = 0;
  #readyTerm: number | undefined;

  constructor(dependencies: LeaseDriverDependencies) {
    this.#dependencies = dependencies;
  }

  onStatus(status: RaftStatus): void {
    const { leases, table, clock } = this.#dependencies;
    const readyTerm = status.role === 'leader' && status.isReady ? status.term : undefined;
    if (readyTerm !== this.#readyTerm) {
      this.#readyTerm = readyTerm;
      if (readyTerm === undefined) leases.lostLeadership();
      else leases.becameReady(readyTerm, clock.nowMs(), table);
    }
    leases.setTransferring(status.transferringTo !== undefined);
    this.arm();
  }

  /** What could not be listened to is nobody's loss. Every turn: the Raft driver remembers only its last stall. */
  #heedStall(): void {
    const stall = this.#dependencies.lastStall();
    if (stall !== undefined) this.#dependencies.leases.stalled(stall.lengthMs, stall.endedAtMs);
  }

  /** At the end of each turn: sets the one timer for the next deadline. */
  arm(): void {
    const { leases, clock } = this.#dependencies;
    this.#heedStall();
    const nextMs = leases.nextDeadlineMs();
    if (nextMs === undefined) return;
    const dueMs = Math.max(nextMs, this.#notBeforeMs);
    if (this.#timer !== undefined) {
      if (this.#timer.dueMs <= dueMs) return;
      this.#timer.cancel();
    }
    // Timers run before the event loop has read the sockets: one poll phase first, in which renewals that came in time are taken.
    const cancel = clock.after(Math.max(0, dueMs - clock.nowMs()), () => {
      this.#timer = undefined;
      clock.endOfTurn(() => this.#propose());
    });
    this.#timer = { dueMs, cancel };
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#dependencies.leases.lostLeadership();
  }

  #propose(): void {
    const { leases, clock } = this.#dependencies;
    this.#heedStall();
    const proposals = leases.due(clock.nowMs());
    if (proposals.length > 0) {
      const entries = proposals.map((proposal) => encodeCommand(proposal.command));
      const bytes = new Uint8Array(entries.reduce((sum, entry) => sum + entry.length + 1, 0));
      const ends = new Uint32Array(entries.length);
      let offset = 0;
      entries.forEach((entry, position) => {
        bytes[offset] = ENTRY_KIND.command;
        bytes.set(entry, offset + 1);
        offset += entry.length + 1;
        ends[position] = offset;
      });
      const result = this.#dependencies.propose(bytes, 0, ends);
      if (result.type !== 'accepted') {
        this.#notBeforeMs = clock.nowMs() + RETRY_MS;
        for (const proposal of proposals) leases.withdraw(proposal);
      }
    }
    this.arm();
  }
}
