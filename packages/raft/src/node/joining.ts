import type { NodeId } from '../core/ids.ts';
import { InvariantViolation } from '../core/invariant.ts';
import type { RaftStatus } from '../core/options.ts';
import { bootstrapHash, Join, type JoinDecision } from './join.ts';
import type { Registry } from './registry.ts';
import type { JoinPhase, JoinProbe, PeerIdentity, Transport } from './transport.ts';

/** An empty node asks the others this often. */
const JOIN_INTERVAL_MS = 100;

/** What a node says about itself when it asks or answers. */
export interface JoinStanding {
  readonly identity: PeerIdentity | undefined;
  readonly isEmpty: boolean;
  /** Undefined while no node runs. */
  readonly status: RaftStatus | undefined;
}

/** The talk between nodes about who is new: an empty node asks, everybody answers. */
export class Joining {
  readonly #options: {
    readonly id: NodeId;
    readonly initialCluster: readonly NodeId[];
    readonly seeds: readonly NodeId[];
  };
  readonly #patienceMs: number;
  readonly #transport: Transport;
  readonly #registry: Registry;
  #join: Join | undefined;
  #lastAskedMs = Number.NEGATIVE_INFINITY;

  constructor(
    options: { readonly id: NodeId; readonly initialCluster: readonly NodeId[]; readonly seeds: readonly NodeId[] },
    patienceMs: number,
    transport: Transport,
    registry: Registry,
  ) {
    this.#options = options;
    this.#patienceMs = patienceMs;
    this.#transport = transport;
    this.#registry = registry;
  }

  get isUnderWay(): boolean {
    return this.#join !== undefined;
  }

  begin(nowMs: number): void {
    const { id, initialCluster } = this.#options;
    this.#join = new Join({ id, initialCluster, patienceMs: this.#patienceMs, nowMs });
  }

  end(): void {
    this.#join = undefined;
  }

  decide(nowMs: number): JoinDecision | undefined {
    return this.#join?.decide(nowMs);
  }

  heard(from: NodeId, probe: JoinProbe, nowMs: number): void {
    this.#join?.heard(from, probe, nowMs);
  }

  disowned(by: NodeId, nowMs: number): void {
    this.#join?.disowned(by, nowMs);
  }

  isDisowned(nowMs: number): boolean {
    return this.#join?.isDisowned(nowMs) ?? false;
  }

  /** The next `askAround` asks, however long ago the last one was. */
  askSoon(): void {
    this.#lastAskedMs = Number.NEGATIVE_INFINITY;
  }

  /** True where it was time to ask again. `known` are peers that have come by themselves. */
  askAround(known: Iterable<NodeId>, standing: JoinStanding, nowMs: number): boolean {
    if (this.#join === undefined || nowMs - this.#lastAskedMs < JOIN_INTERVAL_MS) return false;
    this.#lastAskedMs = nowMs;
    const { id, initialCluster, seeds } = this.#options;
    // Also those who came by themselves: the leader may be none of those this node was started with.
    for (const node of new Set([...initialCluster, ...seeds, ...known])) {
      if (node !== id) this.#transport.sendProbe(node, this.#probe('join-request', 'undecided', standing));
    }
    return true;
  }

  answer(to: NodeId, identity: PeerIdentity, standing: JoinStanding): void {
    this.#transport.sendProbe(to, this.#probe('join-answer', this.#verdictOn(to, identity, standing), standing));
  }

  #probe(type: JoinProbe['type'], verdict: JoinProbe['verdict'], standing: JoinStanding): JoinProbe {
    const { identity } = standing;
    if (identity === undefined) throw new InvariantViolation('a probe before recovery');
    const phase = phaseOf(standing);
    return { type, identity, phase, bootstrapHash: bootstrapHash(this.#options.initialCluster), verdict };
  }

  #verdictOn(peer: NodeId, identity: PeerIdentity, { status }: JoinStanding): JoinProbe['verdict'] {
    const registered = this.#registry.instanceOf(peer);
    if (registered !== undefined && registered !== identity.instanceId) return 'another-instance';
    return registered !== undefined && status?.role === 'leader' && status.isReady ? 'admitted' : 'undecided';
  }
}

function phaseOf({ isEmpty, status }: JoinStanding): JoinPhase {
  if (status === undefined) return isEmpty ? 'empty' : 'used';
  const { term, lastIndex, votedFor } = status;
  return lastIndex <= 1 && term <= 1 && votedFor === undefined ? 'fresh' : 'used';
}
