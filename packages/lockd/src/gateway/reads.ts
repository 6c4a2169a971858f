import type { NodeId, RaftStatus, ReadRound } from '@lockd/raft';
import type { Clock } from '../clock.ts';
import type { AppPayload } from '../peers/app-payload.ts';
import { GATEWAY_LIMITS } from './limits.ts';

/** One linearizable read. */
export interface PendingRead {
  /** Called once, when this node's state is new enough. */
  answer(): void;
  /** Called instead: nobody could confirm in time, or too many wait. */
  fail(reason: 'no-leader' | 'overloaded'): void;
}

export interface ReadDependencies {
  readonly self: NodeId;
  readonly clock: Clock;
  readonly patienceMs: number;
  requestRead(): { readonly type: 'round'; readonly round: ReadRound } | { readonly type: 'refused' };
  sendApp(to: NodeId, payload: AppPayload): boolean;
  appliedIndex(): number;
}

interface Queued {
  readonly read: PendingRead;
  readonly sinceMs: number;
}

/**
 * Reads that see everything acknowledged before they began: on the leader after a round of heartbeats that began
 * later, elsewhere once everything the leader had by then is applied here. A read that outlives its leader begins anew.
 */
export class Reads {
  readonly #dependencies: ReadDependencies;
  #isLeader = false;
  #leader: NodeId | undefined;
  #term = 0;
  /** Begin at the end of this turn. */
  #fresh: Queued[] = [];
  #isDue = false;
  /** In order of their rounds. Those without reads wait for a peer's sake. */
  #rounds: {
    readonly round: ReadRound;
    readonly reads: readonly Queued[];
    readonly peer: NodeId | undefined;
    readonly id: number;
  }[] = [];
  readonly #asked = new Map<number, readonly Queued[]>();
  /** The leader has named the index; not yet applied here. */
  #indexed: { readonly index: number; readonly reads: readonly Queued[] }[] = [];
  #nextId = 1;
  #count = 0;
  /** The timer for `#onPatienceEnd` runs. */
  #isPatienceTimed = false;

  constructor(dependencies: ReadDependencies) {
    this.#dependencies = dependencies;
  }

  add(read: PendingRead): void {
    if (this.#count >= GATEWAY_LIMITS.maxWaitingReads) {
      read.fail('overloaded');
      return;
    }
    this.#count++;
    this.#fresh.push({ read, sinceMs: this.#dependencies.clock.nowMs() });
    this.#begin();
    this.#timePatience(this.#dependencies.patienceMs);
  }

  onStatus(status: RaftStatus): void {
    const isLeader = status.role === 'leader';
    if (isLeader !== this.#isLeader || status.term !== this.#term || status.leader !== this.#leader) {
      this.#isLeader = isLeader;
      this.#leader = status.leader;
      this.#term = status.term;
      this.#again();
    }
    // A leader takes reads only from the first applied entry of its term on.
    if (this.#fresh.length > 0) this.#begin();
  }

  onPeerUp(): void {
    this.#begin();
  }

  onPeerDown(peer: NodeId): void {
    // It asks again under other numbers; or it has been started anew, and uses the same ones for other reads.
    this.#rounds = this.#rounds.filter((waiting) => waiting.peer !== peer);
    if (peer === this.#leader) this.#again();
  }

  /** Every round up to here is confirmed, and what it may see is applied. */
  onReadsConfirmed(round: ReadRound): void {
    let done = 0;
    for (const waiting of this.#rounds) {
      if (waiting.round > round) break;
      done++;
      if (waiting.peer === undefined) this.#answer(waiting.reads);
      else
        this.#dependencies.sendApp(waiting.peer, {
          type: 'read-answer',
          id: waiting.id,
          index: this.#dependencies.appliedIndex(),
        });
    }
    if (done > 0) this.#rounds = this.#rounds.slice(done);
  }

  onApplied(index: number): void {
    if (this.#indexed.length === 0) return;
    const ripe = this.#indexed.filter((waiting) => waiting.index <= index);
    if (ripe.length === 0) return;
    this.#indexed = this.#indexed.filter((waiting) => waiting.index > index);
    for (const { reads } of ripe) this.#answer(reads);
  }

  /** Another node asks this one as the leader. */
  onAsked(from: NodeId, id: number): void {
    const result = this.#dependencies.requestRead();
    if (result.type === 'round') this.#rounds.push({ round: result.round, reads: [], peer: from, id });
    else this.#dependencies.sendApp(from, { type: 'read-answer', id, index: undefined });
  }

  onAnswered(id: number, index: number | undefined): void {
    const reads = this.#asked.get(id);
    if (reads === undefined) return;
    this.#asked.delete(id);
    if (index === undefined) this.#fresh.push(...reads);
    else if (index <= this.#dependencies.appliedIndex()) this.#answer(reads);
    else this.#indexed.push({ index, reads });
  }

  #answer(reads: readonly Queued[]): void {
    for (const { read } of reads) {
      this.#count--;
      read.answer();
    }
  }

  #begin(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#dependencies.clock.endOfTurn(() => {
      this.#isDue = false;
      this.#send();
    });
  }

  #send(): void {
    const reads = this.#fresh;
    if (reads.length === 0) return;
    if (this.#isLeader) {
      const result = this.#dependencies.requestRead();
      if (result.type !== 'round') return;
      this.#rounds.push({ round: result.round, reads, peer: undefined, id: 0 });
    } else {
      const id = this.#nextId++;
      if (this.#leader === undefined || !this.#dependencies.sendApp(this.#leader, { type: 'read-index', id })) return;
      this.#asked.set(id, reads);
    }
    this.#fresh = [];
  }

  /** What was asked of a leader that is no more. Peers notice by themselves. */
  #again(): void {
    for (const { reads } of this.#rounds) this.#fresh.push(...reads);
    for (const reads of this.#asked.values()) this.#fresh.push(...reads);
    this.#rounds = [];
    this.#asked.clear();
    if (this.#fresh.length > 0) this.#begin();
  }

  #timePatience(delayMs: number): void {
    if (this.#isPatienceTimed) return;
    this.#isPatienceTimed = true;
    this.#dependencies.clock.after(delayMs, () => this.#onPatienceEnd());
  }

  #onPatienceEnd(): void {
    this.#isPatienceTimed = false;
    const oldestMs = this.#dependencies.clock.nowMs() - this.#dependencies.patienceMs;
    const isLate = (queued: Queued): boolean => queued.sinceMs <= oldestMs;
    const late: Queued[] = this.#fresh.filter(isLate);
    this.#fresh = this.#fresh.filter((queued) => !isLate(queued));
    for (const [id, reads] of this.#asked) {
      if (!reads.some(isLate)) continue;
      this.#asked.delete(id);
      late.push(...reads);
    }
    this.#rounds = this.#rounds.filter((waiting) => {
      if (!waiting.reads.some(isLate)) return true;
      late.push(...waiting.reads);
      return false;
    });
    for (const { read } of late) {
      this.#count--;
      read.fail('no-leader');
    }
    if (this.#fresh.length > 0) this.#begin();
    if (this.#count > 0) {
      this.#timePatience(this.#dependencies.patienceMs / 2);
    }
  }
}
