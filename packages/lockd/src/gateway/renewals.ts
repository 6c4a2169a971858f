import type { NodeId, RaftStatus, ReadRound } from '@lockd/raft';
import type { Clock } from '../clock.ts';
import type { LeaseManager } from '../leases/lease-manager.ts';
import type { AppPayload } from '../peers/app-payload.ts';
import type { LocalSession } from './local-session.ts';

export interface RenewalDependencies {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly leases: LeaseManager;
  requestRead(): { readonly type: 'round'; readonly round: ReadRound } | { readonly type: 'refused' };
  sendApp(to: NodeId, payload: AppPayload): boolean;
  onAcknowledged(session: number, stamp: number): void;
  /** Sessions attached here; those with a `renewStamp` have a renewal without an acknowledgement. */
  unacknowledged(): Iterable<LocalSession>;
}

/**
 * The way of renewals (DESIGN section 6): to the leader, whose lease manager moves the deadline when one arrives, and back
 * when a round of heartbeats that began later has confirmed that it leads. They are in no log; one round serves
 * all of a turn. A renewal that gets no acknowledgement does no harm: the client counts from the last one that did.
 */
export class Renewals {
  readonly #dependencies: RenewalDependencies;
  #isLeader = false;
  #isReady = false;
  #leader: NodeId | undefined;
  #term = 0;
  /** For the leader, in this turn: session, stamp, session, stamp, … */
  #forward: number[] = [];
  #isDue = false;
  readonly #sendAtEndOfTurn: () => void;

  constructor(dependencies: RenewalDependencies) {
    this.#dependencies = dependencies;
    this.#sendAtEndOfTurn = () => {
      this.#isDue = false;
      this.#send();
    };
  }

  /** A client's renewal: `session.renewStamp` says which. */
  add(session: LocalSession): void {
    if (session.renewStamp === undefined) return;
    if (this.#isLeader) {
      const { leases, clock } = this.#dependencies;
      if (leases.renewalArrived(session.session, session.renewStamp, clock.nowMs())) this.#begin();
    } else if (this.#leader !== undefined) {
      this.#forward.push(session.session, session.renewStamp);
      this.#begin();
    }
  }

  /** Another node's clients' renewals, for this node as the leader. Elsewhere they are dropped: the asking node notices. */
  onForwarded(from: NodeId, renewals: readonly number[]): void {
    if (!this.#isLeader) return;
    const { leases, clock } = this.#dependencies;
    const nowMs = clock.nowMs();
    for (let i = 0; i < renewals.length; i += 2) {
      leases.renewalArrived(renewals[i] as number, renewals[i + 1] as number, nowMs, from);
    }
    this.#begin();
  }

  onStatus(status: RaftStatus): void {
    const isLeader = status.role === 'leader';
    const isReady = isLeader && status.isReady;
    const isSame =
      isLeader === this.#isLeader &&
      isReady === this.#isReady &&
      status.term === this.#term &&
      status.leader === this.#leader;
    if (isSame) return;
    this.#isLeader = isLeader;
    this.#isReady = isReady;
    this.#leader = status.leader;
    this.#term = status.term;
    // Whoever leads now, or leads and only now takes renewals, has not heard of these.
    this.#forward = [];
    this.#again();
  }

  onPeerUp(): void {
    if (!this.#isLeader) this.#again();
  }

  onReadsConfirmed(round: ReadRound): void {
    this.#acknowledge(this.#dependencies.leases.confirmed(round));
  }

  /** After entries were applied: an end that was refused frees the renewals that waited for its fate. */
  onTurnEnd(): void {
    const { leases } = this.#dependencies;
    if (!this.#isReady) return;
    this.#acknowledge(leases.takeAcks());
    if (leases.wantsRound) this.#begin();
  }

  #acknowledge(acks: ReturnType<LeaseManager['confirmed']>): void {
    if (acks.length === 0) return;
    const remote = new Map<NodeId, number[]>();
    for (const { session, stamp, origin } of acks) {
      if (origin === undefined) {
        this.#dependencies.onAcknowledged(session, stamp);
        continue;
      }
      const peer = origin as NodeId;
      const list = remote.get(peer);
      if (list === undefined) remote.set(peer, [session, stamp]);
      else list.push(session, stamp);
    }
    for (const [peer, renewals] of remote) this.#dependencies.sendApp(peer, { type: 'renewed', renewals });
  }

  #again(): void {
    for (const session of this.#dependencies.unacknowledged()) this.add(session);
  }

  #begin(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#dependencies.clock.endOfTurn(this.#sendAtEndOfTurn);
  }

  #send(): void {
    const { leases } = this.#dependencies;
    if (this.#isLeader) {
      if (!leases.wantsRound) return;
      const result = this.#dependencies.requestRead();
      if (result.type === 'round') leases.roundFor(result.round);
    } else if (this.#leader !== undefined && this.#forward.length > 0) {
      this.#dependencies.sendApp(this.#leader, { type: 'renew', renewals: this.#forward });
      this.#forward = [];
    }
  }
}
