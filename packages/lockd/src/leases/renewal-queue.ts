import type { RenewalAck } from './lease-types.ts';

/** Renewals that wait for a quorum round which starts after their arrival. */
export class RenewalQueue {
  /** In order of arrival. */
  #waiting: RenewalAck[] = [];
  /** The first `#assigned` of them have a round: `#rounds` says up to where which one reaches. */
  #assigned = 0;
  #rounds: { readonly round: number; readonly end: number }[] = [];

  get hasUnassigned(): boolean {
    return this.#waiting.length > this.#assigned;
  }

  get size(): number {
    return this.#waiting.length;
  }

  add(renewal: RenewalAck): void {
    this.#waiting.push(renewal);
  }

  /** Everything without a round gets this one. Rounds ascend. */
  assign(round: number): void {
    if (!this.hasUnassigned) return;
    this.#assigned = this.#waiting.length;
    this.#rounds.push({ round, end: this.#assigned });
  }

  /** Takes what the confirmation of `round` answers: that round's and all earlier ones'. */
  take(round: number): RenewalAck[] {
    let end = 0;
    let rounds = 0;
    for (const assigned of this.#rounds) {
      if (assigned.round > round) break;
      end = assigned.end;
      rounds++;
    }
    if (end === 0) return [];
    const taken = this.#waiting.slice(0, end);
    this.#waiting = this.#waiting.slice(end);
    this.#assigned -= end;
    this.#rounds = this.#rounds.slice(rounds).map((later) => ({ round: later.round, end: later.end - end }));
    return taken;
  }

  /** Rounds under way no longer count: all wait for a new one. */
  forgetRounds(): void {
    this.#assigned = 0;
    this.#rounds = [];
  }

  clear(): void {
    this.#waiting = [];
    this.forgetRounds();
  }
}
