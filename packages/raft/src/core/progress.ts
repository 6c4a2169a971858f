import type { LogIndex, ReadRound } from './ids.ts';

/**
 * What a leader knows of one member, and how it sends to it:
 *
 * ```
 *            refusal, unreachable                 needs a compacted entry
 *   replicate ----------------> probe ----------------------------------> snapshot
 *       ^                        | ^                                         |
 *       +---- acknowledgement ---+ +----- sent, failed, or acknowledged -----+
 * ```
 *
 * - probe: one append at a time, to find where the logs part; the next one after an answer or a heartbeat.
 * - replicate: appends are sent ahead of their acknowledgements, within the window.
 * - snapshot: nothing is sent until the snapshot has arrived or failed.
 *
 * Always `0 <= match < next`.
 */
export class Progress {
  state: 'probe' | 'replicate' | 'snapshot' = 'probe';
  /** Known to be durable there and equal to the leader's log. */
  match: LogIndex = 0 as LogIndex;
  next: LogIndex;
  /** Probe: one is under way. */
  isPaused = false;
  /** An append is due although there may be nothing new: to probe, or to tell the commit index. */
  wantsEmptyAppend = true;
  /** Replicate: the commit index the member was last told. */
  toldCommit: LogIndex = 0 as LogIndex;
  /** Somebody at the member waits for the fate of what stands here: it is told of that commit at once. */
  awaitedIndex: LogIndex = 0 as LogIndex;
  /** Snapshot: the member is useful again from here on. */
  pendingSnapshot: LogIndex = 0 as LogIndex;
  /** The newest round this member has confirmed. */
  confirmedRound: ReadRound = 0 as ReadRound;
  lastHeardMs: number;
  /** When the member last had all there was, or took a part of what it lacks. */
  lastGainMs: number;
  /** Replicate: when the member last acknowledged, or was last asked whether the window's messages arrived. */
  lastAskedMs: number;
  readonly window: InflightWindow;

  constructor(next: LogIndex, nowMs: number, maxMessages: number, maxBytes: number) {
    this.next = next;
    this.lastHeardMs = nowMs;
    this.lastGainMs = nowMs;
    this.lastAskedMs = nowMs;
    this.window = new InflightWindow(maxMessages, maxBytes);
  }

  probe(): void {
    // A snapshot that arrived needs no entries before its end.
    const atLeast = this.state === 'snapshot' ? Math.max(this.match, this.pendingSnapshot) : this.match;
    this.#enter('probe');
    this.next = (atLeast + 1) as LogIndex;
  }

  replicate(): void {
    this.#enter('replicate');
    this.next = (this.match + 1) as LogIndex;
  }

  snapshot(index: LogIndex): void {
    this.#enter('snapshot');
    this.pendingSnapshot = index;
  }

  /** An acknowledgement up to `index`. False where it says nothing new. */
  acknowledge(index: LogIndex): boolean {
    const isNew = index > this.match;
    if (isNew) this.match = index;
    if (this.next <= index) this.next = (index + 1) as LogIndex;
    return isNew;
  }

  /**
   * The member refused the append after `refused` and suggests to go on after `hint`. False where that is an old
   * answer, overtaken by what is known since (row 21: `next` never falls to `match` or below).
   */
  refuse(refused: LogIndex, hint: LogIndex): boolean {
    if (this.state === 'replicate') {
      if (refused <= this.match) return false;
      this.probe();
      // The hint may save the walk back; the match is certain, so never before it.
      this.next = Math.max(this.match + 1, Math.min(refused, hint + 1)) as LogIndex;
      return true;
    }
    if (this.state === 'snapshot' || this.next - 1 !== refused) return false;
    this.next = Math.max(this.match + 1, Math.min(refused, hint + 1)) as LogIndex;
    this.isPaused = false;
    return true;
  }

  /** Whether nothing may be sent now, except to ask whether the last messages arrived. */
  get isBlocked(): boolean {
    return this.state === 'snapshot' || (this.state === 'probe' ? this.isPaused : this.window.isFull);
  }

  #enter(state: 'probe' | 'replicate' | 'snapshot'): void {
    this.state = state;
    this.isPaused = false;
    this.pendingSnapshot = 0 as LogIndex;
    this.window.clear();
    this.toldCommit = 0 as LogIndex;
  }
}

/** Appends sent and not acknowledged yet, bounded by their number and by their bytes. A ring. */
export class InflightWindow {
  readonly #maxMessages: number;
  readonly #maxBytes: number;
  readonly #lastIndexes: number[] = [];
  readonly #sizes: number[] = [];
  #first = 0;
  #count = 0;
  #bytes = 0;

  constructor(maxMessages: number, maxBytes: number) {
    this.#maxMessages = maxMessages;
    this.#maxBytes = maxBytes;
  }

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count >= this.#maxMessages || this.#bytes >= this.#maxBytes;
  }

  get bytesLeft(): number {
    return this.#maxBytes - this.#bytes;
  }

  add(lastIndex: LogIndex, bytes: number): void {
    const slot = (this.#first + this.#count) % this.#maxMessages;
    this.#lastIndexes[slot] = lastIndex;
    this.#sizes[slot] = bytes;
    this.#count += 1;
    this.#bytes += bytes;
  }

  /** Everything that ends at or before `index` has arrived. */
  freeUpTo(index: LogIndex): void {
    while (this.#count > 0 && (this.#lastIndexes[this.#first] as number) <= index) {
      this.#bytes -= this.#sizes[this.#first] as number;
      this.#first = (this.#first + 1) % this.#maxMessages;
      this.#count -= 1;
    }
  }

  clear(): void {
    this.#first = 0;
    this.#count = 0;
    this.#bytes = 0;
  }
}
