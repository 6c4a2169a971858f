import type { Configuration } from './configuration.ts';
import type { NodeId } from './ids.ts';
import type { Random } from './options.ts';
import { quorumVote, type VoteResult } from './quorum.ts';

/** After a closed link: pre-vote this much later, so that two survivors seldom split (DESIGN, section 4). */
const FAST_MIN_MS = 10;
const FAST_MAX_MS = 80;
/** The first fast attempt, and three more where it splits. */
const FAST_ATTEMPTS = 4;

/**
 * When this node gives up on what it waits for: a leader's sign of life, or the votes of its campaign. Drawn from
 * [T, 2T) (§5.2), or from 10 to 80 ms while a closed link is evidence that the leader is gone.
 */
export class ElectionTimer {
  readonly #electionTimeoutMs: number;
  readonly #random: Random;
  #startedMs: number;
  #timeoutMs = 0;
  #isFast = false;
  /** Fast attempts left; the last one ends with a normal time-out. */
  #fastAttempts = 0;

  constructor(electionTimeoutMs: number, random: Random, nowMs: number) {
    this.#electionTimeoutMs = electionTimeoutMs;
    this.#random = random;
    this.#startedMs = nowMs;
    this.#draw(nowMs);
  }

  get deadlineMs(): number {
    return this.#startedMs + this.#timeoutMs;
  }

  /** A leader is alive. Keeps the time-out that was drawn: a new one each heartbeat would only cost. */
  heardFromLeader(nowMs: number): void {
    this.#fastAttempts = 0;
    if (this.#isFast) this.#draw(nowMs);
    else this.#startedMs = nowMs;
  }

  /** Somebody else got this node's vote: it has its time. */
  granted(nowMs: number): void {
    this.#fastAttempts = 0;
    this.#draw(nowMs);
  }

  /** The leader's link closed. */
  hurry(nowMs: number): void {
    this.#fastAttempts = FAST_ATTEMPTS;
    this.#draw(nowMs);
  }

  /** A campaign begins: how long it may take. */
  startAttempt(nowMs: number): void {
    if (this.#fastAttempts > 0) this.#fastAttempts -= 1;
    this.#draw(nowMs);
  }

  /** A new time-out of the same kind: between two attempts, or when an attempt enters its second half. */
  redraw(nowMs: number): void {
    this.#draw(nowMs);
  }

  /** For tests: this time-out until the next draw. */
  set(timeoutMs: number): void {
    this.#timeoutMs = timeoutMs;
    this.#isFast = false;
  }

  #draw(nowMs: number): void {
    this.#startedMs = nowMs;
    this.#isFast = this.#fastAttempts > 0;
    this.#timeoutMs = this.#isFast
      ? FAST_MIN_MS + this.#random(FAST_MAX_MS - FAST_MIN_MS + 1)
      : this.#electionTimeoutMs + this.#random(this.#electionTimeoutMs);
  }
}

/** The votes of one campaign, counted once a voter however often its answer arrives (row 4). */
export class Tally {
  readonly #votes = new Map<NodeId, boolean>();

  record(voter: NodeId, granted: boolean): void {
    if (!this.#votes.has(voter)) this.#votes.set(voter, granted);
  }

  result(configuration: Configuration): VoteResult {
    return quorumVote(configuration, (node) => this.#votes.get(node));
  }
}
