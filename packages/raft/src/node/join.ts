import type { NodeId } from '../core/ids.ts';
import { digestOf } from './digest.ts';
import type { JoinPhase, JoinProbe } from './transport.ts';

/** Identifies a bootstrap configuration; the order of the list does not matter. */
export function bootstrapHash(initialCluster: readonly NodeId[]): string | undefined {
  if (initialCluster.length === 0) return undefined;
  return Buffer.from(digestOf(Buffer.from(JSON.stringify([...initialCluster].sort())))).toString('hex');
}

export type JoinDecision =
  | { readonly type: 'wait'; readonly reason: string }
  /** Found the cluster: write the bootstrap configuration. */
  | { readonly type: 'bootstrap' }
  /** The cluster exists and its leader has registered this directory. */
  | { readonly type: 'admitted' };

/** How long an answer counts, in milliseconds. */
const ANSWER_VALID_MS = 2000;
const DISOWNED_VALID_MS = 6000;

interface Answer {
  readonly phase: JoinPhase;
  readonly bootstrapHash: string | undefined;
  readonly verdict: JoinProbe['verdict'];
  readonly atMs: number;
}

/**
 * What an empty node may do. It cannot know whether it never held anything or has lost it, so it neither votes nor
 * acknowledges until
 * - a majority of the initial members, itself included, say that they hold nothing either (or nothing but the same
 *   bootstrap configuration), and nobody who answers holds more, having given everybody time to answer; or
 * - a leader has registered its data directory in the log.
 */
export class Join {
  readonly #id: NodeId;
  readonly #initialCluster: readonly NodeId[];
  readonly #hash: string | undefined;
  readonly #patienceMs: number;
  readonly #startedMs: number;
  readonly #answers = new Map<NodeId, Answer>();

  constructor(options: {
    readonly id: NodeId;
    readonly initialCluster: readonly NodeId[];
    /** Without an answer from everybody, a decision to found the cluster waits this long. Milliseconds. */
    readonly patienceMs: number;
    readonly nowMs: number;
  }) {
    this.#id = options.id;
    this.#initialCluster = options.initialCluster;
    this.#hash = bootstrapHash(options.initialCluster);
    this.#patienceMs = options.patienceMs;
    this.#startedMs = options.nowMs;
  }

  /** A request says as much about its sender as an answer. */
  heard(from: NodeId, probe: JoinProbe, nowMs: number): void {
    this.#answers.set(from, {
      phase: probe.phase,
      bootstrapHash: probe.bootstrapHash,
      verdict: probe.verdict,
      atMs: nowMs,
    });
  }

  /** A peer closes its link to this node, for it knows another data directory under this name. */
  disowned(by: NodeId, nowMs: number): void {
    // It is not asked again as often as the others are.
    const atMs = nowMs + DISOWNED_VALID_MS - ANSWER_VALID_MS;
    this.#answers.set(by, { phase: 'used', bootstrapHash: this.#hash, verdict: 'another-instance', atMs });
  }

  /** Somebody knows another data directory under this node's name. */
  isDisowned(nowMs: number): boolean {
    return [...this.#answers.values()].some(
      ({ verdict, atMs }) => verdict === 'another-instance' && nowMs - atMs <= ANSWER_VALID_MS,
    );
  }

  decide(nowMs: number): JoinDecision {
    const others = this.#initialCluster.filter((node) => node !== this.#id);
    let without = 0;
    let heardFrom = 0;
    let otherCluster: NodeId | undefined;
    let used: NodeId | undefined;
    let refusing: NodeId | undefined;
    for (const [node, answer] of this.#answers) {
      if (nowMs - answer.atMs > ANSWER_VALID_MS) continue;
      if (answer.verdict === 'admitted') return { type: 'admitted' };
      if (answer.verdict === 'another-instance') refusing = node;
      if (!others.includes(node)) continue;
      heardFrom += 1;
      if (answer.bootstrapHash !== this.#hash) otherCluster = node;
      else if (answer.phase === 'used') used = node;
      else without += 1;
    }
    if (refusing !== undefined) {
      return {
        type: 'wait',
        reason: `${refusing} knows another data directory under the name ${this.#id}: the member has to be replaced`,
      };
    }
    if (this.#initialCluster.length === 0) return { type: 'wait', reason: 'waiting for a leader to admit this node' };
    if (!this.#initialCluster.includes(this.#id))
      return { type: 'wait', reason: 'not one of the initial members: waiting for a leader to admit this node' };
    if (used !== undefined)
      return { type: 'wait', reason: `${used} holds data: waiting for a leader to admit this node` };
    if (otherCluster !== undefined)
      return { type: 'wait', reason: `${otherCluster} was started with another initial cluster` };
    const isMajority = (without + 1) * 2 > this.#initialCluster.length;
    const isSettled = heardFrom === others.length || nowMs - this.#startedMs >= this.#patienceMs;
    if (isMajority && isSettled) return { type: 'bootstrap' };
    return {
      type: 'wait',
      reason: 'waiting for a majority of the initial members to say that they hold nothing either',
    };
  }
}
