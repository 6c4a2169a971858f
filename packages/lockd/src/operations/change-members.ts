import type { AdminAnswer } from '@lockd/client/protocol';
import type { ConfigurationChange, NodeId } from '@lockd/raft';
import { OPERATION_LIMITS } from './limits.ts';
import {
  ASK_LEADER,
  type Cluster,
  isReachable,
  membersIn,
  type Operation,
  type OperationArguments,
  progressShare,
  refused,
  roleOf,
  type Step,
} from './operation.ts';

/** `add`, `promote` and `remove`: one change of the configuration each, proposed once and waited for. */
abstract class MemberChange implements Operation {
  protected readonly cluster: Cluster;
  protected readonly node: NodeId;
  protected readonly args: OperationArguments;
  /** The change is in the log: from now on its outcome is what the configuration says. */
  protected isProposed = false;
  #whyNot: string | undefined;

  constructor(cluster: Cluster, node: NodeId, args: OperationArguments) {
    this.cluster = cluster;
    this.node = node;
    this.args = args;
  }

  step(): Step {
    const { role, isReady, transferringTo } = this.cluster.status();
    if (role !== 'leader' || !isReady) return ASK_LEADER;
    if (this.isProposed) return this.isDone() ? this.done(false) : undefined;
    if (transferringTo !== undefined) return undefined;
    const early = this.check();
    if (early !== undefined) return early;
    const change = this.change();
    if (change === undefined) return undefined;
    const result = this.cluster.proposeConfiguration([change]);
    if (result.type === 'accepted') {
      this.isProposed = true;
      this.proposed();
    } else if (result.reason === 'not-leader') {
      return ASK_LEADER;
    } else if (result.reason === 'invalid') {
      return refused('invalid', `this change leads to no valid configuration`);
    } else {
      this.#whyNot = result.reason;
    }
    return undefined;
  }

  late(): AdminAnswer {
    if (this.isProposed) {
      return refused(
        'unknown',
        `the change is in the log but was not committed within ${OPERATION_LIMITS.timeoutMs / 1000} s: look again with lockd member list`,
      );
    }
    return refused(
      this.#whyNot ?? 'busy',
      this.#whyNot === 'change-pending'
        ? 'another change of the members is under way: try again when it is done (lockd member list)'
        : `the leader could not take the change (${this.#whyNot ?? 'busy'}): try again`,
    );
  }

  /** An answer without a change: it stands already, or is refused. */
  protected abstract check(): AdminAnswer | undefined;
  /** Undefined: not yet. */
  protected abstract change(): ConfigurationChange | undefined;
  protected abstract isDone(): boolean;
  protected abstract done(already: boolean): AdminAnswer;
  /** Right behind the change. */
  protected proposed(): void {}
}

/** As a learner: it gets the log and has no vote. */
export class AddMember extends MemberChange {
  protected check(): AdminAnswer | undefined {
    const { cluster, node, args } = this;
    const status = cluster.status();
    const role = roleOf(status, node);
    if (role !== undefined) {
      const given = cluster.addressOf(node);
      if (args.peer !== undefined && args.peer !== given?.peer) {
        if (!this.#proposeAddress()) return undefined;
      }
      return this.done(true);
    }
    if (args.peer === undefined) {
      return refused('no-address', `say where the other nodes reach ${node}: --peer HOST:PORT`);
    }
    for (const member of membersIn(status)) {
      if (cluster.peerAddressOf(member) === args.peer)
        return refused('address-taken', `${args.peer} is the address of ${member}: each node needs one of its own`);
    }
    return undefined;
  }

  protected change(): ConfigurationChange {
    return { type: 'add-learner', node: this.node };
  }

  protected override proposed(): void {
    this.#proposeAddress();
  }

  protected isDone(): boolean {
    const { cluster, node } = this;
    if (roleOf(cluster.status(), node) === undefined) return false;
    if (cluster.addressOf(node)?.peer === this.args.peer) return true;
    // The log had no room for it just then.
    this.#proposeAddress();
    return false;
  }

  protected done(already: boolean): AdminAnswer {
    const role = roleOf(this.cluster.status(), this.node);
    return { ok: true, name: this.node, role, already, peer: this.args.peer ?? null };
  }

  #lastProposedMs = Number.NEGATIVE_INFINITY;

  #proposeAddress(): boolean {
    const { cluster, node, args } = this;
    if (cluster.nowMs() - this.#lastProposedMs < cluster.electionTimeoutMs) return true;
    const address = { peer: args.peer, client: args.client, isGiven: true };
    const isAccepted = cluster.proposeAddress(node, address).type === 'accepted';
    if (isAccepted) this.#lastProposedMs = cluster.nowMs();
    return isAccepted;
  }
}

/** A learner that has the log gets a vote. */
export class PromoteMember extends MemberChange {
  protected check(): AdminAnswer | undefined {
    const { cluster, node } = this;
    const role = roleOf(cluster.status(), node);
    if (role === undefined) return unknownMember(cluster, node);
    if (role === 'voter') return this.done(true);
    const progress = progressShare(cluster, node);
    if (cluster.instanceOf(node) === undefined || !isReachable(cluster, node)) {
      return refused('not-connected', `${node} is not connected to the leader: start it, and promote it then`, {
        progress,
      });
    }
    const { lastIndex } = cluster.status();
    const member = cluster.progressOf(node);
    const lag = lastIndex - (member?.matchIndex ?? 0);
    if (member?.state !== 'replicate' || lag > OPERATION_LIMITS.promoteLagEntries) {
      return refused(
        'not-caught-up',
        `${node} has ${Math.floor(progress * 100)} % of the log and lacks ${lag} entries: wait until it has caught up (lockd member promote ${node} --wait)`,
        { progress, lag },
      );
    }
    return undefined;
  }

  protected change(): ConfigurationChange {
    return { type: 'add-voter', node: this.node };
  }

  protected isDone(): boolean {
    const { cluster, node } = this;
    return cluster.status().configuration.voters.includes(node) && cluster.isConfigurationConfirmed();
  }

  protected done(already: boolean): AdminAnswer {
    return { ok: true, name: this.node, role: 'voter', already };
  }
}

/** A leader hands its office over first: the next one removes it, without an election time-out in between. */
export class RemoveMember extends MemberChange {
  #transferStartedMs: number | undefined;

  protected check(): AdminAnswer | undefined {
    const { cluster, node, args } = this;
    const status = cluster.status();
    const role = roleOf(status, node);
    if (role === undefined) return args.isRepeated ? this.done(true) : unknownMember(cluster, node);
    if (role === 'learner') return undefined;
    const remaining = status.configuration.voters.filter((voter) => voter !== node);
    if (remaining.length === 0) {
      return refused('last-voter', `${node} is the only voter: a cluster without one cannot decide anything`);
    }
    const reachable = remaining.filter((voter) => isReachable(cluster, voter));
    if (reachable.length * 2 <= remaining.length && !args.force) {
      const missing = remaining.filter((voter) => !reachable.includes(voter));
      return refused(
        'quorum-at-risk',
        `without ${node} only ${reachable.length} of ${remaining.length} voters would be there (${missing.join(', ')} cannot be reached), which is no majority: bring them back first, or say --force`,
        { missing },
      );
    }
    return undefined;
  }

  protected change(): ConfigurationChange | undefined {
    const { cluster, node } = this;
    if (node !== cluster.self) return { type: 'remove', node };
    const nowMs = cluster.nowMs();
    this.#transferStartedMs ??= nowMs;
    // A transfer that does not come about within its time is no reason to stay: it leaves as the thesis has it.
    if (nowMs - this.#transferStartedMs > 2 * cluster.electionTimeoutMs) return { type: 'remove', node };
    cluster.transferLeadership(undefined);
    return undefined;
  }

  protected isDone(): boolean {
    return roleOf(this.cluster.status(), this.node) === undefined && this.cluster.isConfigurationConfirmed();
  }

  protected done(already: boolean): AdminAnswer {
    return { ok: true, name: this.node, role: null, already };
  }
}

function unknownMember(cluster: Cluster, node: NodeId): AdminAnswer {
  const members = membersIn(cluster.status()).join(', ');
  return refused('unknown-member', `${node} is not a member: the members are ${members}`);
}
