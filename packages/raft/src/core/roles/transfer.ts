import type { NodeId } from '../ids.ts';
import { votersOf } from '../membership.ts';
import type { NodeState } from '../node-state.ts';
import type { Replication } from '../replication.ts';

/**
 * Handing leadership over (thesis §3.10): proposals stop, the target catches up and is told to campaign at once. A
 * transfer that has not succeeded after an election time-out is given up, and the leader goes on (row 38).
 */
export class Transfer {
  readonly #state: NodeState;
  readonly #replication: Replication;
  #target: NodeId | undefined;
  #deadlineMs = Infinity;
  #isTold = false;

  constructor(state: NodeState, replication: Replication) {
    this.#state = state;
    this.#replication = replication;
  }

  get target(): NodeId | undefined {
    return this.#target;
  }

  get deadlineMs(): number {
    return this.#deadlineMs;
  }

  /** To `to`, or to the voter that has most. Nothing happens where that is this node or no voter. */
  start(to: NodeId | undefined): void {
    const { id, configuration, nowMs, options } = this.#state;
    const target = to ?? this.#mostAdvanced();
    if (target === undefined || target === id || target === this.#target || !votersOf(configuration).includes(target))
      return;
    this.#target = target;
    this.#isTold = false;
    this.#deadlineMs = nowMs + options.electionTimeoutMs;
    this.advance();
  }

  /** Tells the target to campaign, once, when it has the whole log. */
  advance(): void {
    if (this.#target === undefined || this.#isTold) return;
    const { id, term, log } = this.#state;
    if (this.#replication.get(this.#target)?.match !== log.lastIndex) return;
    this.#isTold = true;
    this.#state.send({ type: 'timeout-now', from: id, to: this.#target, term });
  }

  tick(): void {
    if (this.#state.nowMs >= this.#deadlineMs) this.#abort();
  }

  abortTo(peer: NodeId): void {
    if (peer === this.#target) this.#abort();
  }

  configurationApplied(): void {
    if (this.#target !== undefined && !votersOf(this.#state.configuration).includes(this.#target)) this.#abort();
  }

  #abort(): void {
    this.#target = undefined;
    this.#deadlineMs = Infinity;
  }

  /** Among the voters heard within an election time-out, the one that has most; the first by id where several do. */
  #mostAdvanced(): NodeId | undefined {
    const { id, configuration, nowMs, options } = this.#state;
    let best: NodeId | undefined;
    let bestMatch = -1;
    for (const voter of votersOf(configuration)) {
      const progress = voter === id ? undefined : this.#replication.get(voter);
      if (
        progress === undefined ||
        nowMs - progress.lastHeardMs >= options.electionTimeoutMs ||
        progress.match <= bestMatch
      )
        continue;
      best = voter;
      bestMatch = progress.match;
    }
    return best;
  }
}
