import type { OpenDriver } from '@lockd/raft/node';
import type { Gateway } from '../gateway/gateway.ts';
import { type Metric, renderMetrics } from '../gateway/http.ts';
import type { LeaseManager } from '../leases/lease-manager.ts';
import type { LockTable } from '../lock-table/lock-table.ts';
import type { PeerTransport } from '../peers/peer-transport.ts';
import type { NodeSink } from './node-sink.ts';

/** What counts for itself. */
interface MeasuredParts {
  readonly table: LockTable;
  readonly leases: LeaseManager;
  readonly sink: NodeSink;
}

/** The page at /metrics. Counters count since the process started. */
export function nodeMetrics(
  driver: OpenDriver,
  gateway: Gateway,
  peers: PeerTransport,
  { table, leases, sink }: MeasuredParts,
): string {
  const status = driver.status();
  const { sessions, names, held, waiting, completions } = table.counters();
  const gauge = (name: string, help: string, value: number): Metric => ({
    name: `lockd_${name}`,
    type: 'gauge',
    help,
    value,
  });
  const counter = (name: string, help: string, value: number): Metric => ({
    name: `lockd_${name}_total`,
    type: 'counter',
    help,
    value,
  });
  return renderMetrics([
    gauge('raft_is_leader', '1 while this node leads.', status.role === 'leader' ? 1 : 0),
    gauge('raft_is_serving', '1 while this node takes part.', driver.condition() === 'serving' ? 1 : 0),
    gauge('raft_term', 'Current term.', status.term),
    gauge('raft_commit_index', 'Last committed entry this node knows of.', status.commitIndex),
    gauge('raft_applied_index', 'Last entry applied to the lock table.', status.appliedIndex),
    gauge('raft_last_index', 'Last entry of the log.', status.lastIndex),
    gauge('raft_stable_index', 'Last entry that is durable on this node.', status.stableIndex),
    gauge('sessions', 'Live sessions.', sessions),
    gauge('names', 'Names on which something stands.', names),
    gauge('held', 'Grants that stand.', held),
    gauge('waiting', 'Requests that wait.', waiting),
    gauge('completions', 'Completion records of once.', completions),
    gauge('connections', 'Client connections of this node.', gateway.counters.connections),
    counter('grants', 'Grants told by the lock table, repeated answers included.', sink.grants),
    counter('frames_received', 'Frames received from clients.', gateway.counters.framesReceived),
    counter('frames_sent', 'Frames sent to clients.', gateway.counters.framesSent),
    counter('requests', 'Messages received from clients.', gateway.counters.requests),
    counter('refused_overloaded', 'Acquires refused because of load.', gateway.counters.refusedOverloaded),
    counter('reattaches', 'Sessions told to attach again.', gateway.sessions.reattachesPushed),
    counter('peer_frames_sent', 'Frames sent to other nodes.', peers.counters.framesSent),
    counter('peer_bytes_sent', 'Bytes of the frames sent to other nodes.', peers.counters.bytesSent),
    counter('log_writes', 'Synced writes of the log.', driver.writeCounters.writes),
    counter('log_entries', 'Entries in those writes.', driver.writeCounters.entries),
    counter('log_entry_bytes', 'Bytes of those entries.', driver.writeCounters.entryBytes),
    counter('snapshots_made', 'Snapshots this node made of its own state.', driver.snapshotCounters.made),
    counter('snapshots_restored', 'Snapshots read at the start or received.', driver.snapshotCounters.restored),
    gauge('snapshot_bytes', 'Size of the last one made.', driver.snapshotCounters.lastBytes),
    gauge('snapshot_milliseconds', 'How long the last one took.', driver.snapshotCounters.lastMs),
    gauge(
      'snapshot_slice_max_milliseconds',
      'Longest piece of work at a time for one.',
      driver.snapshotCounters.longestSliceMs,
    ),
    gauge(
      'snapshot_restore_slice_max_milliseconds',
      'The same, of a restoration.',
      driver.snapshotCounters.longestRestoreSliceMs,
    ),
    counter('commands_proposed', 'Commands this node proposed as leader.', gateway.route.proposedCount),
    counter('commands_forwarded', 'Commands this node forwarded to the leader.', gateway.route.forwardedCount),
    counter('renewals_acknowledged', 'Renewals acknowledged as leader.', leases.counters.acknowledgedRenewals),
    counter(
      'renewals_held_back',
      'Renewals that waited for the fate of a proposed end.',
      leases.counters.heldBackRenewals,
    ),
    counter('ends_proposed', 'Ends proposed by this leader.', leases.counters.proposedEnds),
    counter(
      'lease_extension_milliseconds',
      'Put off because this leader could not listen.',
      leases.counters.extendedMs,
    ),
  ]);
}
