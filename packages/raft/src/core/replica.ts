import type { EntryRun } from './entry-run.ts';
import type { LogIndex } from './ids.ts';
import type { AppendRequest, Heartbeat, SnapshotRequest } from './message.ts';
import type { NodeState } from './node-state.ts';

/** What a follower does with its leader's messages (§5.3, §7). All are of the current term. */

/** AppendEntries: takes what follows a shared point, or refuses with a hint where such a point may be. */
export function receiveAppend(state: NodeState, message: AppendRequest): void {
  if (!isWellFormed(message)) return;
  const { log } = state;
  // The leader has everything committed (§5.4), so a point at or below the commit index is shared even where this log
  // no longer has it: neither a late append nor a compacted one is a conflict (rows 16, 19).
  const isShared =
    message.previousIndex <= state.commitIndex || log.hasPoint(message.previousIndex, message.previousTerm);
  if (!isShared) {
    refuse(state, message);
    return;
  }
  const runs = after(message.runs, state.commitIndex);
  const conflict = log.findConflict(runs);
  if (conflict !== undefined) {
    // Only a real conflict truncates: an append that ends early says nothing about what follows it (§5.3, row 16).
    for (const run of after(runs, (conflict - 1) as LogIndex)) state.append(run);
  }
  const lastOfMessage = message.runs.at(-1)?.lastIndex ?? message.previousIndex;
  const matchIndex = lastOfMessage > state.commitIndex ? lastOfMessage : state.commitIndex;
  // Not beyond what this message verified: what this log has after it may be another leader's (row 18).
  state.commitTo(min(message.commitIndex, lastOfMessage));
  state.sendWhenDurable({
    type: 'append-response',
    from: state.id,
    to: message.from,
    term: state.term,
    success: true,
    matchIndex,
    hintIndex: matchIndex,
    hintTerm: log.lastTerm,
  });
}

/** The round counts as confirmed: at this moment the node has not left the leader's term. */
export function receiveHeartbeat(state: NodeState, message: Heartbeat): void {
  const { lastIndex } = state.log;
  if (message.commitIndex > lastIndex) {
    // Within a term only this leader changes this log, and it never takes back what it has: so the disk did (row 24).
    state.forgot({ leader: message.from, acknowledgedIndex: message.commitIndex, lastIndex });
    return;
  }
  state.commitTo(message.commitIndex);
  state.send({ type: 'heartbeat-response', from: state.id, to: message.from, term: state.term, round: message.round });
}

/** The content of a snapshot is here. It replaces the log only where the log lacks its end. */
export function receiveSnapshot(state: NodeState, message: SnapshotRequest): void {
  const { metadata } = message;
  // One at a time; the leader tries again.
  if (state.lane.isInstalling) return;
  if (metadata.index > state.commitIndex) {
    // A shared point: everything up to it is equal, and committed, for snapshots hold only that.
    if (state.log.hasPoint(metadata.index, metadata.term)) state.commitTo(metadata.index);
    else state.acceptSnapshot(metadata);
  }
  const matchIndex = state.commitIndex;
  state.sendWhenDurable({
    type: 'append-response',
    from: state.id,
    to: message.from,
    term: state.term,
    success: true,
    matchIndex,
    hintIndex: matchIndex,
    hintTerm: state.log.lastTerm,
  });
}

/**
 * A refusal names the last point that may be shared: not after the refused one, of a term not after its term,
 * and not before the commit index, up to which everything is shared.
 */
function refuse(state: NodeState, message: AppendRequest): void {
  const { log, commitIndex } = state;
  const point = log.lastPointWithin(message.previousIndex, message.previousTerm);
  const hintIndex = point.index > commitIndex ? point.index : commitIndex;
  state.send({
    type: 'append-response',
    from: state.id,
    to: message.from,
    term: state.term,
    success: false,
    matchIndex: message.previousIndex,
    hintIndex,
    hintTerm: log.termAt(hintIndex) ?? point.term,
  });
}

/** The part of `runs` after `index`. */
function after(runs: readonly EntryRun[], index: LogIndex): readonly EntryRun[] {
  const first = runs[0];
  if (first === undefined || first.firstIndex > index) return runs;
  const rest: EntryRun[] = [];
  for (const run of runs) {
    if (run.firstIndex > index) rest.push(run);
    else if (run.lastIndex > index) rest.push(run.slice((index + 1) as LogIndex, run.lastIndex));
  }
  return rest;
}

/** Entries follow each other and `previousIndex`, in terms that do not fall and are not after the sender's. */
function isWellFormed(message: AppendRequest): boolean {
  let index = message.previousIndex as number;
  let term = message.previousTerm as number;
  for (const run of message.runs) {
    if (run.firstIndex !== index + 1 || run.term < term) return false;
    index = run.lastIndex;
    term = run.term;
  }
  return term <= message.term;
}

function min(left: LogIndex, right: LogIndex): LogIndex {
  return left < right ? left : right;
}
