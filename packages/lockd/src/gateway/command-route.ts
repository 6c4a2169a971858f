import type { NodeId, ProposeResult, RaftStatus } from '@lockd/raft';
import type { Clock } from '../clock.ts';
import type { AppPayload } from '../peers/app-payload.ts';
import { CommandBatch, type CommandOwner, type TakenBatch, withoutStale } from './command-batch.ts';
import { Gathering } from './gathering.ts';
import { GATEWAY_LIMITS } from './limits.ts';

/** What the route needs of the rest of the node. */
export interface RouteDependencies {
  readonly self: NodeId;
  readonly clock: Clock;
  /** How long commands wait for a leader. */
  readonly patienceMs: number;
  /** `awaitedBy`: the node whose clients wait for the outcome. Undefined: this one. */
  propose(bytes: Uint8Array, start: number, ends: Uint32Array, awaitedBy: NodeId | undefined): ProposeResult;
  /** Entries of this node's log that are not known to be committed. */
  uncommitted(): number;
  /** Lets the driver take its turn after this turn's commands were handed over. */
  wake(): void;
  sendApp(to: NodeId, payload: AppPayload): boolean;
  /** Commands that were on their way may never arrive: whoever waits for an answer has to attach and ask again. */
  onMayBeLost(): void;
}

interface Waiting {
  readonly batch: TakenBatch;
  readonly sinceMs: number;
  /** Set for a batch that another node has forwarded to this one. */
  readonly from: NodeId | undefined;
  readonly number: number;
}

/**
 * The way of commands into the log: proposed here if this node leads, forwarded to the leader if it does not, kept for
 * a moment if nobody does. Commands keep their order; nothing is sent twice or to a second leader.
 */
export class CommandRoute {
  readonly #dependencies: RouteDependencies;
  readonly #batch = new CommandBatch();
  readonly #gathering = new Gathering();
  /** The timer for `#onGatheringEnd` runs. */
  #isGatheringTimed = false;
  readonly #flushAtEndOfTurn: () => void;
  #flushIsDue = false;
  /** In order: behind these every later command queues. */
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  /** The timer for `#onPatienceEnd` runs. */
  #isPatienceTimed = false;
  #isLeader = false;
  #leader: NodeId | undefined;
  #term = 0;
  #batchNumber = 0;
  /** For metrics. */
  proposedCount = 0;
  forwardedCount = 0;

  constructor(dependencies: RouteDependencies) {
    this.#dependencies = dependencies;
    this.#flushAtEndOfTurn = () => {
      this.#flushIsDue = false;
      this.flush();
    };
  }

  /** Bytes that no log has taken yet. */
  get waitingBytes(): number {
    return this.#waitingBytes + this.#batch.byteLength;
  }

  get leader(): NodeId | undefined {
    return this.#isLeader ? this.#dependencies.self : this.#leader;
  }

  /** Queues one encoded command (without its kind byte) for this turn. `body` is copied. */
  add(body: Uint8Array, owner: CommandOwner | undefined, tag: number): void {
    this.#batch.add(body, owner, tag);
    // Beyond a bound Raft would refuse the whole turn's commands, and a link would not carry them.
    if (this.#batch.byteLength >= GATEWAY_LIMITS.maxBatchBytes) this.flush();
    // Commands that wait for others need no turn before there are enough.
    if (this.#flushIsDue || (this.#isGatheringTimed && this.#batch.count < this.#gathering.fullCount)) return;
    this.#flushIsDue = true;
    this.#dependencies.clock.endOfTurn(this.#flushAtEndOfTurn);
    // Behind the flush, so that the driver's turn is this one and not the next.
    this.#dependencies.wake();
  }

  flush(): void {
    this.#drain();
    if (this.#batch.count > 0 && !this.#isGathering()) this.#dispatch(this.#batch.take(), undefined, 0);
  }

  /** Whether the commands of this node's clients wait for others, on the leader. */
  #isGathering(): boolean {
    if (!this.#isLeader || this.#batch.byteLength >= GATEWAY_LIMITS.maxBatchBytes) return false;
    const nowMs = this.#dependencies.clock.nowMs();
    if (this.#gathering.takes(this.#batch.count, this.#dependencies.uncommitted(), nowMs)) return false;
    this.#timeGathering(nowMs);
    return true;
  }

  #timeGathering(nowMs: number): void {
    const { deadlineMs } = this.#gathering;
    if (this.#isGatheringTimed || deadlineMs === undefined) return;
    this.#isGatheringTimed = true;
    this.#dependencies.clock.after(Math.max(1, deadlineMs - nowMs), () => this.#onGatheringEnd());
  }

  /** Of those that waited when the timer began, or of later ones, which may have time left. */
  #onGatheringEnd(): void {
    this.#isGatheringTimed = false;
    this.flush();
  }

  /** A turn has made progress: there may be room again. */
  onTurnEnd(): void {
    if (this.#waiting.length > 0) this.#drain();
  }

  onStatus(status: RaftStatus): void {
    const isLeader = status.role === 'leader';
    const isChanged = isLeader !== this.#isLeader || status.term !== this.#term || status.leader !== this.#leader;
    // A follower that only now learns who leads its term had nobody to send anything to.
    const mayHaveLost = isChanged && (this.#isLeader || this.#leader !== undefined);
    this.#isLeader = isLeader;
    this.#leader = status.leader;
    this.#term = status.term;
    if (mayHaveLost) this.#dependencies.onMayBeLost();
    if (isChanged) this.#drain();
  }

  onPeerUp(): void {
    this.#drain();
  }

  onPeerDown(peer: NodeId): void {
    if (!this.#isLeader && peer === this.#leader) this.#dependencies.onMayBeLost();
  }

  /** Another node's commands, for this node as the leader. */
  onForward(from: NodeId, payload: Extract<AppPayload, { type: 'forward' }>): void {
    const batch: TakenBatch = { bytes: payload.bytes, ends: payload.ends, owners: [], tags: [] };
    if (this.#isLeader) this.#dispatch(batch, from, payload.batch);
    else this.#refuseForward(from, payload.batch, 'not-leader');
  }

  onForwardRefused(): void {
    this.#dependencies.onMayBeLost();
  }

  #dispatch(batch: TakenBatch, from: NodeId | undefined, number: number): void {
    if (this.#waiting.length === 0 && this.#send(batch, from, number)) return;
    if (this.#waitingBytes + batch.bytes.length > GATEWAY_LIMITS.maxWaitingBytes) {
      if (from !== undefined) this.#refuseForward(from, number, 'overloaded');
      else this.#dependencies.onMayBeLost();
      return;
    }
    this.#waiting.push({ batch, from, number, sinceMs: this.#dependencies.clock.nowMs() });
    this.#waitingBytes += batch.bytes.length;
    this.#timePatience(this.#dependencies.patienceMs);
  }

  #drain(): void {
    let done = 0;
    while (done < this.#waiting.length) {
      const { batch, from, number } = this.#waiting[done] as Waiting;
      if (!this.#send(batch, from, number)) break;
      this.#waitingBytes -= batch.bytes.length;
      done++;
    }
    if (done > 0) this.#waiting = this.#waiting.slice(done);
  }

  /** False: not now. */
  #send(batch: TakenBatch, from: NodeId | undefined, number: number): boolean {
    if (from !== undefined) {
      if (this.#isLeader) {
        const result = this.#dependencies.propose(batch.bytes, 0, batch.ends, from);
        if (result.type === 'accepted') {
          this.proposedCount += batch.ends.length;
          return true;
        }
        if (result.reason === 'overloaded') return false;
        this.#refuseForward(from, number, result.reason);
        return true;
      }
      this.#refuseForward(from, number, 'not-leader');
      return true;
    }
    const live = withoutStale(batch);
    if (live === undefined) return true;
    if (this.#isLeader) {
      const result = this.#dependencies.propose(live.bytes, 0, live.ends, undefined);
      if (result.type === 'accepted') {
        this.proposedCount += live.ends.length;
        return true;
      }
      if (result.reason !== 'invalid') return false;
      this.#giveUp(live, 'invalid');
      return true;
    }
    if (this.#leader === undefined) return false;
    const isSent = this.#dependencies.sendApp(this.#leader, {
      type: 'forward',
      batch: ++this.#batchNumber,
      start: 0,
      ends: live.ends,
      bytes: live.bytes,
    });
    if (isSent) this.forwardedCount += live.ends.length;
    return isSent;
  }

  #timePatience(delayMs: number): void {
    if (this.#isPatienceTimed) return;
    this.#isPatienceTimed = true;
    this.#dependencies.clock.after(delayMs, () => this.#onPatienceEnd());
  }

  #onPatienceEnd(): void {
    this.#isPatienceTimed = false;
    // A leader that only lacks room keeps what it was given: releases and ends are never refused for load.
    const isOverdue = (waiting: Waiting): boolean =>
      !this.#isLeader && this.#dependencies.clock.nowMs() - waiting.sinceMs >= this.#dependencies.patienceMs;
    while (this.#waiting.length > 0 && isOverdue(this.#waiting[0] as Waiting)) {
      const { batch, from, number } = this.#waiting.shift() as Waiting;
      this.#waitingBytes -= batch.bytes.length;
      if (from !== undefined) this.#refuseForward(from, number, 'not-leader');
      else this.#giveUp(batch, 'no-leader');
    }
    if (this.#waiting.length > 0) {
      const oldest = this.#dependencies.clock.nowMs() - (this.#waiting[0] as Waiting).sinceMs;
      const restMs = Math.max(10, this.#dependencies.patienceMs - oldest);
      this.#timePatience(restMs);
    }
  }

  #giveUp(batch: TakenBatch, reason: 'no-leader' | 'invalid'): void {
    for (let i = 0; i < batch.owners.length; i++) {
      const owner = batch.owners[i];
      if (owner?.isStale === false) owner.notProposed(batch.tags[i] as number, reason);
    }
  }

  #refuseForward(to: NodeId, batch: number, reason: string): void {
    this.#dependencies.sendApp(to, { type: 'forward-refused', batch, reason });
  }
}
