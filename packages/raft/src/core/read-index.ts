import type { LogIndex, ReadRound } from './ids.ts';

/** Rounds confirmed by a quorum, and the index reads must wait for. */
export interface ConfirmedReads {
  readonly round: ReadRound;
  readonly index: LogIndex;
}

/**
 * ReadIndex in rounds (thesis §6.4). Heartbeats carry the number of the newest round; an answer confirms that the
 * sender had not left this term when it got it, and so every round up to that number. One round is under way
 * at a time and serves everybody who asked before it started. Numbers rise over all terms of the process, so
 * that a late answer can never confirm another round (row 32).
 */
export class ReadRounds {
  #started = 0 as ReadRound;
  #isUnderWay = false;
  #isWanted = false;
  #index = 0 as LogIndex;
  #confirmed: ConfirmedReads | undefined;

  /** The newest round, for heartbeats. */
  get newest(): ReadRound {
    return this.#started;
  }

  get isUnderWay(): boolean {
    return this.#isUnderWay;
  }

  /** Asks for a round that starts from now on. */
  request(): ReadRound {
    this.#isWanted = true;
    return (this.#started + 1) as ReadRound;
  }

  /**
   * Starts the next round if one is wanted and none is under way. Reads of it must see everything up to `commitIndex`,
   * and at least this term's first entry, before which the leader may not know what is committed (§8, row 31).
   */
  start(commitIndex: LogIndex, termStartIndex: LogIndex): boolean {
    if (!this.#isWanted || this.#isUnderWay) return false;
    this.#isWanted = false;
    this.#isUnderWay = true;
    this.#started = (this.#started + 1) as ReadRound;
    this.#index = commitIndex > termStartIndex ? commitIndex : termStartIndex;
    return true;
  }

  /** A quorum has confirmed rounds up to this number. */
  confirm(round: number): void {
    if (!this.#isUnderWay || round < this.#started) return;
    this.#isUnderWay = false;
    this.#confirmed = { round: this.#started, index: this.#index };
  }

  /** What has been confirmed since the last call. A later round includes the earlier ones. */
  take(): ConfirmedReads | undefined {
    const confirmed = this.#confirmed;
    this.#confirmed = undefined;
    return confirmed;
  }

  /** Leadership ended: what was asked for will never be confirmed, so its number is used up. */
  abandon(): void {
    this.#started = (this.#started + 1) as ReadRound;
    this.#isUnderWay = false;
    this.#isWanted = false;
    this.#confirmed = undefined;
  }
}
