import type { AdminAnswer } from '@lockd/client/protocol';
import { type Cluster, isReachable, membersIn, progressShare, roleOf } from './operation.ts';

/** The leader's view of every member. */
export function listMembers(cluster: Cluster): AdminAnswer {
  const status = cluster.status();
  const members = membersIn(status).map((name) => ({
    name,
    role: roleOf(status, name),
    isLeader: name === cluster.self,
    reachable: isReachable(cluster, name),
    peer: cluster.peerAddressOf(name) ?? null,
    client: cluster.clientAddressOf(name) ?? null,
    instance: cluster.instanceOf(name) ?? null,
    /** How much of the log it has, from 0 to 1, and how many entries it lacks. */
    progress: progressShare(cluster, name),
    lag: name === cluster.self ? 0 : status.lastIndex - (cluster.progressOf(name)?.matchIndex ?? 0),
  }));
  const isChanging = status.configuration.outgoing.length > 0 || !cluster.isConfigurationConfirmed();
  return { ok: true, leader: cluster.self, term: status.term, lastIndex: status.lastIndex, isChanging, members };
}
