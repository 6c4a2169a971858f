import { GATEWAY_LIMITS } from './limits.ts';

/** Of what was under way at once, so much makes a full batch: of many clients there is always one that is late. */
const FULL_SHARE = 0.85;
/** Where fewer are under way at once, nobody waits for anybody. */
const FEWEST = 8;
/** How many were proposed last says nothing any more after so long. */
const REMEMBERED_MS = 20;
/** After six failures in a row 63 batches go unhindered before the next trial. */
const MOST_FAILURES = 6;

/**
 * Whether a leader's commands wait for others before they are proposed.
 *
 * Clients that wait for their answers fall into two halves: one is being written while the other is at the clients. A write
 * costs every node about the same whatever it holds, so where machines are busy the half that is here does best to wait
 * for the answers of the other to bring the next commands, and to be written with them. It waits a few milliseconds at most, and
 * where that does not bring them (clients far away, or such that wait for no answer) it is tried less and less often.
 */
export class Gathering {
  #sinceMs: number | undefined;
  /** The most that is known to have been under way at once since the last batch went, that batch included. */
  #most = 0;
  #last = 0;
  #lastMs = 0;
  #failures = 0;
  /** Batches that go at once before the next trial. */
  #unhindered = 0;

  /** Where commands wait: so many are a full batch. Else 0. */
  get fullCount(): number {
    return this.#sinceMs === undefined ? 0 : Math.ceil(this.#most * FULL_SHARE);
  }

  /** When those that wait go at the latest. */
  get deadlineMs(): number | undefined {
    return this.#sinceMs === undefined ? undefined : this.#sinceMs + GATEWAY_LIMITS.gatherMs;
  }

  /**
   * True: the `count` commands are a batch that goes now. False: they wait until there are `fullCount` of them, or
   * `deadlineMs`. `uncommitted`: entries that were proposed before them and are under way.
   */
  takes(count: number, uncommitted: number, nowMs: number): boolean {
    if (this.#unhindered > 0) this.#unhindered--;
    else if (this.#isWorthWaiting(count, uncommitted, nowMs)) return false;
    this.#sinceMs = undefined;
    this.#most = 0;
    this.#last = count;
    this.#lastMs = nowMs;
    return true;
  }

  #isWorthWaiting(count: number, uncommitted: number, nowMs: number): boolean {
    const last = nowMs - this.#lastMs <= REMEMBERED_MS ? this.#last : 0;
    this.#most = Math.max(this.#most, last, uncommitted + count);
    if (this.#most < FEWEST) return false;
    if (count >= this.#most * FULL_SHARE) {
      if (this.#sinceMs !== undefined) this.#failures = 0;
      return false;
    }
    this.#sinceMs ??= nowMs;
    if (nowMs - this.#sinceMs < GATEWAY_LIMITS.gatherMs) return true;
    this.#failures = Math.min(this.#failures + 1, MOST_FAILURES);
    this.#unhindered = 2 ** this.#failures - 1;
    return false;
  }
}
