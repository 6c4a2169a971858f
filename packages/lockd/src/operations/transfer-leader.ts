import type { AdminAnswer } from '@lockd/client/protocol';
import type { NodeId } from '@lockd/raft';
import { ASK_LEADER, type Cluster, isReachable, type Operation, refused, roleOf, type Step } from './operation.ts';

/** To one voter, or to the one that has most of the log. */
export class TransferLeader implements Operation {
  readonly #cluster: Cluster;
  readonly #to: NodeId | undefined;
  #startedMs: number | undefined;

  constructor(cluster: Cluster, to: NodeId | undefined) {
    this.#cluster = cluster;
    this.#to = to;
  }

  step(): Step {
    const cluster = this.#cluster;
    const { role, isReady, leader, transferringTo } = cluster.status();
    if (this.#startedMs === undefined) {
      if (role !== 'leader' || !isReady) return ASK_LEADER;
      const refusal = this.#check();
      if (refusal !== undefined) return refusal;
      this.#startedMs = cluster.nowMs();
      cluster.transferLeadership(this.#to);
      return undefined;
    }
    if (role !== 'leader') {
      return leader === undefined ? undefined : { ok: true, leader, from: cluster.self };
    }
    if (transferringTo === undefined && cluster.nowMs() - this.#startedMs > cluster.electionTimeoutMs) {
      return refused(
        'transfer-failed',
        `${this.#to ?? 'nobody'} did not take over in time: ${cluster.self} goes on leading`,
      );
    }
    return undefined;
  }

  late(): AdminAnswer {
    return refused('unknown', 'nobody is known to lead yet: look again with lockd status');
  }

  #check(): AdminAnswer | undefined {
    const cluster = this.#cluster;
    const status = cluster.status();
    const to = this.#to;
    if (to === cluster.self) return { ok: true, leader: to, from: to, already: true };
    if (to !== undefined) {
      const role = roleOf(status, to);
      const voters = status.configuration.voters.join(', ');
      if (role === undefined) return refused('unknown-member', `${to} is not a member: the voters are ${voters}`);
      if (role === 'learner')
        return refused('not-a-voter', `${to} is a learner: promote it first (lockd member promote ${to})`);
      if (!isReachable(cluster, to)) return refused('not-connected', `${to} is not connected to the leader`);
    } else if (!status.configuration.voters.some((voter) => voter !== cluster.self && isReachable(cluster, voter))) {
      return refused('nobody-else', 'no other voter is there to lead');
    }
    return undefined;
  }
}
