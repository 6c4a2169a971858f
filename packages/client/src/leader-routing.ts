import type { Member } from './protocol/index.ts';

const BACKOFF_BASE_MS = 50;
const BACKOFF_MAX_MS = 2000;
/** How long an address that could not be reached is not tried just because somebody says its node still leads. */
const UNREACHABLE_MS = 5000;
const MAX_ENDPOINTS = 256;
const NONE: ReadonlySet<string> = new Set();

/**
 * Which endpoint to try next, and when: a state machine over what nodes have said and which dials failed. Endpoints come
 * from the configuration and from the cluster itself.
 */
export class LeaderRouting {
  readonly #configured: readonly string[];
  #learnt: readonly string[] = [];
  #leader: string | undefined;
  /** Whom nodes named last, also where that connection is lost by now. */
  #named: string | undefined;
  readonly #unreachableUntilMs = new Map<string, number>();
  /** The endpoint of the connection that ended last. Not a failure: its node may well be alive. */
  #lastLost: string | undefined;
  #failures = 0;
  #cursor = 0;
  readonly #random: () => number;

  /** `random`: uniform in [0, 1). Clients start at different endpoints. */
  constructor(configured: readonly string[], random: () => number) {
    this.#configured = configured;
    this.#random = random;
    this.#cursor = Math.floor(random() * configured.length);
  }

  /** Known addresses, the configured ones first. */
  get endpoints(): readonly string[] {
    const known = new Set(this.#configured);
    for (const endpoint of this.#learnt) known.add(endpoint);
    return [...known];
  }

  learnMembers(members: readonly Member[]): void {
    this.#learnt = members.flatMap((member) => (member.client === null ? [] : [member.client])).slice(0, MAX_ENDPOINTS);
  }

  /** undefined while nobody is known to lead, or its address is not known. */
  learnLeader(endpoint: string | undefined): void {
    // Elected since: a node that was starting when it refused is there now. One that was named before may be dead still.
    if (endpoint !== undefined && endpoint !== this.#named) this.#unreachableUntilMs.delete(endpoint);
    this.#named = endpoint;
    this.#leader = endpoint;
  }

  /** The leader's address, where trying it makes sense now. */
  leaderToTry(nowMs: number): string | undefined {
    const leader = this.#leader;
    return leader !== undefined && this.#isReachable(leader, nowMs) ? leader : undefined;
  }

  failed(endpoint: string, nowMs: number): void {
    this.#failures++;
    this.#unreachableUntilMs.set(endpoint, nowMs + UNREACHABLE_MS);
    if (this.#unreachableUntilMs.size > MAX_ENDPOINTS) this.#unreachableUntilMs.clear();
  }

  /** Attached or opened there: what went wrong before is forgotten. */
  succeeded(endpoint: string): void {
    this.#failures = 0;
    this.#unreachableUntilMs.delete(endpoint);
    this.#lastLost = undefined;
  }

  /**
   * A connection that worked has ended. The first attempt has no back-off and goes elsewhere, but if that node still
   * names this one as the leader, it is tried again.
   */
  lost(endpoint: string): void {
    if (this.#leader === endpoint) this.#leader = undefined;
    this.#lastLost = endpoint;
    this.#failures = 0;
  }

  /** Milliseconds to wait before the next dial: none for the first, then exponential with full jitter above half. */
  backoffMs(): number {
    if (this.#failures === 0) return 0;
    const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** Math.min(this.#failures - 1, 16));
    return Math.round(ceiling / 2 + (this.#random() * ceiling) / 2);
  }

  /**
   * The leader where it can be reached, else the next of all in turn; those that failed lately, or were lost, last. Never
   * one of `busy`, to which there is a connection; undefined where that leaves none.
   */
  next(nowMs: number, busy: ReadonlySet<string> = NONE): string | undefined {
    const leader = this.leaderToTry(nowMs);
    if (leader !== undefined && !busy.has(leader)) return leader;
    const endpoints = this.endpoints;
    let oldest: string | undefined;
    for (let step = 0; step < endpoints.length; step++) {
      const endpoint = endpoints[(this.#cursor + step) % endpoints.length] as string;
      if (busy.has(endpoint)) continue;
      if (endpoint !== this.#lastLost && this.#isReachable(endpoint, nowMs)) {
        this.#cursor = (this.#cursor + step + 1) % endpoints.length;
        return endpoint;
      }
      if (oldest === undefined || this.#until(endpoint) < this.#until(oldest)) oldest = endpoint;
    }
    return oldest;
  }

  #until(endpoint: string): number {
    return this.#unreachableUntilMs.get(endpoint) ?? 0;
  }

  #isReachable(endpoint: string, nowMs: number): boolean {
    return this.#until(endpoint) <= nowMs;
  }
}
