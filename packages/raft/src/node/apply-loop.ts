import type { EntryRun } from '../core/entry-run.ts';
import { type LogIndex, type Term, ZERO_INDEX, ZERO_TERM } from '../core/ids.ts';
import type { RaftNode } from '../core/raft-node.ts';
import { ApplyQueue } from './apply-queue.ts';
import type { Clock } from './clock.ts';
import type { StateMachine } from './state-machine.ts';

/** Gives committed entries to the state machine, for a bounded time in each turn. */
export class ApplyLoop {
  readonly #clock: Clock;
  readonly #stateMachine: StateMachine;
  readonly #turnMs: number;
  readonly #queue: ApplyQueue;
  /** True where the node must not go on. */
  readonly #onApplied: (run: EntryRun) => boolean;
  #index: LogIndex = ZERO_INDEX;
  #term: Term = ZERO_TERM;

  constructor(options: {
    readonly clock: Clock;
    readonly stateMachine: StateMachine;
    /** In one turn at most this long, in milliseconds, and so many bytes between two looks at the clock. */
    readonly turnMs: number;
    readonly sliceBytes: number;
    /** Called with each piece after the state machine has it. True: the node must not go on. */
    readonly onApplied: (run: EntryRun) => boolean;
  }) {
    this.#clock = options.clock;
    this.#stateMachine = options.stateMachine;
    this.#turnMs = options.turnMs;
    this.#queue = new ApplyQueue(options.sliceBytes);
    this.#onApplied = options.onApplied;
  }

  /** The last entry that the state machine has. */
  get index(): LogIndex {
    return this.#index;
  }

  get term(): Term {
    return this.#term;
  }

  get isIdle(): boolean {
    return this.#queue.isEmpty;
  }

  push(runs: readonly EntryRun[]): void {
    this.#queue.push(runs);
  }

  /** What waits is not applied any more. */
  clear(): void {
    this.#queue.clear();
  }

  /** The state machine was put into the state at this point. */
  restoredAt(index: LogIndex, term: Term): void {
    this.#index = index;
    this.#term = term;
  }

  /** True if it applied anything. */
  run(node: RaftNode): boolean {
    if (this.#queue.isEmpty) return false;
    const startedMs = this.#clock.nowMs();
    let nowMs = startedMs;
    do {
      const run = this.#queue.take();
      if (run === undefined) break;
      this.#stateMachine.apply(run);
      this.#index = run.lastIndex;
      this.#term = run.term;
      if (this.#onApplied(run)) return true;
      nowMs = this.#clock.nowMs();
    } while (nowMs - startedMs < this.#turnMs);
    node.step({ type: 'applied', lastIndex: this.#index }, nowMs);
    return true;
  }
}
