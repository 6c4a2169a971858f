import type { EntryRun } from './entry-run.ts';
import type { LogIndex, NodeId } from './ids.ts';
import { membersOf } from './membership.ts';
import type { AppendResponse, HeartbeatResponse } from './message.ts';
import type { NodeState } from './node-state.ts';
import { Progress } from './progress.ts';
import { quorumIndex } from './quorum.ts';
import type { Ready } from './ready.ts';

const NO_RUNS: readonly EntryRun[] = [];
/** A member that lacks entries and takes none for so many election time-outs is not counted as heard, whatever it answers. */
const STALL_TIMEOUTS = 10;

/** How a leader brings the other members' logs to its own: one `Progress` each, sent to once a turn. */
export class Replication {
  readonly #state: NodeState;
  /** Everybody else who gets the log, in the order of their ids. */
  #peers = new Map<NodeId, Progress>();
  #snapshots: Ready['sendSnapshots'][number][] = [];

  constructor(state: NodeState) {
    this.#state = state;
    this.followConfiguration();
  }

  get(peer: NodeId): Progress | undefined {
    return this.#peers.get(peer);
  }

  /** Who gets the log changed: new members are probed from the end of the log back. */
  followConfiguration(): void {
    const { id, configuration, log, nowMs, options } = this.#state;
    const peers = new Map<NodeId, Progress>();
    for (const member of membersOf(configuration)) {
      if (member === id) continue;
      const known = this.#peers.get(member);
      peers.set(
        member,
        known ??
          new Progress((log.lastIndex + 1) as LogIndex, nowMs, options.maxInflightMessages, options.maxInflightBytes),
      );
    }
    this.#peers = peers;
  }

  /** The index that a quorum has durable. The leader's own log counts only as far as it is durable (thesis §10.2.1). */
  quorumMatch(): LogIndex {
    return quorumIndex(this.#state.configuration, this.#matchOf) as LogIndex;
  }

  /** The newest round that a quorum has confirmed. */
  quorumRound(): number {
    return quorumIndex(this.#state.configuration, this.#roundOf);
  }

  /**
   * The latest time by which a quorum has been heard that can still commit: a member whose disk is stuck answers heartbeats,
   * and takes no entries.
   */
  quorumHeardMs(): number {
    return quorumIndex(this.#state.configuration, this.#heardOf);
  }

  readonly #matchOf = (node: NodeId): number =>
    node === this.#state.id ? this.#state.log.stableIndex : (this.#peers.get(node)?.match ?? 0);
  readonly #roundOf = (node: NodeId): number =>
    node === this.#state.id ? this.#state.reads.newest : (this.#peers.get(node)?.confirmedRound ?? 0);
  readonly #heardOf = (node: NodeId): number => {
    const { id, nowMs, log, options } = this.#state;
    if (node === id) return nowMs;
    const progress = this.#peers.get(node);
    if (progress === undefined) return 0;
    if (progress.match >= log.lastIndex) progress.lastGainMs = nowMs;
    const isStalled = nowMs - progress.lastGainMs >= STALL_TIMEOUTS * options.electionTimeoutMs;
    return isStalled ? Math.min(progress.lastGainMs, progress.lastHeardMs) : progress.lastHeardMs;
  };

  /** True where the member's match advanced. */
  receiveAppendResponse(message: AppendResponse): boolean {
    const { log, nowMs } = this.#state;
    const progress = this.#peers.get(message.from);
    if (progress === undefined) return false;
    progress.lastHeardMs = nowMs;
    if (!message.success) {
      // The leader skips the terms the follower cannot have, as the follower did with its hint (§5.3).
      const hint = log.lastPointWithin(message.hintIndex, message.hintTerm);
      progress.refuse(message.matchIndex, hint.index);
      return false;
    }
    // Nothing this leader sent can match beyond its end.
    if (message.matchIndex > log.lastIndex) return false;
    const isNew = progress.acknowledge(message.matchIndex);
    progress.lastAskedMs = nowMs;
    if (isNew) progress.lastGainMs = nowMs;
    if (progress.state === 'replicate') progress.window.freeUpTo(message.matchIndex);
    else if (progress.state === 'probe') {
      // An old acknowledgement does not answer the probe that is out.
      if (isNew || message.matchIndex === progress.next - 1) progress.replicate();
    } else if (progress.match >= log.baseIndex) progress.replicate();
    return isNew;
  }

  receiveHeartbeatResponse(message: HeartbeatResponse): void {
    const { reads, nowMs, log, options } = this.#state;
    const progress = this.#peers.get(message.from);
    if (progress === undefined) return;
    progress.lastHeardMs = nowMs;
    if (message.round > progress.confirmedRound && message.round <= reads.newest)
      progress.confirmedRound = message.round;
    if (progress.state === 'probe') {
      progress.isPaused = false;
      progress.wantsEmptyAppend = true;
    } else if (
      progress.state === 'replicate' &&
      progress.match < log.lastIndex &&
      nowMs - progress.lastAskedMs >= options.heartbeatMs
    ) {
      // It is alive and has not acknowledged for a while: an append at the end of what was sent is refused if any was lost.
      progress.lastAskedMs = nowMs;
      progress.wantsEmptyAppend = true;
    }
  }

  unreachable(peer: NodeId): void {
    const progress = this.#peers.get(peer);
    if (progress?.state === 'replicate') progress.probe();
  }

  /** The peer has taken another part of the snapshot. */
  snapshotAdvanced(peer: NodeId): void {
    const progress = this.#peers.get(peer);
    if (progress !== undefined) progress.lastGainMs = this.#state.nowMs;
  }

  /** The driver finished or gave up: go on after the snapshot, or try another one. Not before the peer is heard from. */
  snapshotSent(peer: NodeId, ok: boolean): void {
    const progress = this.#peers.get(peer);
    if (progress === undefined || progress.state !== 'snapshot') return;
    if (ok) progress.lastGainMs = this.#state.nowMs;
    else progress.pendingSnapshot = 0 as LogIndex;
    progress.probe();
    progress.isPaused = true;
  }

  /** Tells every member that keeps up what has been committed since the last append to it. */
  tellCommit(): void {
    const { commitIndex } = this.#state;
    for (const progress of this.#peers.values()) {
      if (progress.state !== 'replicate' || progress.toldCommit >= commitIndex) continue;
      progress.wantsEmptyAppend = true;
      // Also where nothing can be sent, for what is needed is compacted away: else it would be due again at once.
      progress.toldCommit = commitIndex;
    }
  }

  /** As `tellCommit`, for the members at which somebody waits for it. Entries that are due carry it without an append of its own. */
  tellAwaitedCommit(): void {
    const { commitIndex } = this.#state;
    for (const progress of this.#peers.values()) {
      const { state, toldCommit, awaitedIndex } = progress;
      if (state === 'replicate' && toldCommit < commitIndex && toldCommit < awaitedIndex)
        progress.wantsEmptyAppend = true;
    }
  }

  /** Whether some member that keeps up does not know the commit index. */
  get hasUntoldCommit(): boolean {
    for (const progress of this.#peers.values()) {
      if (progress.state === 'replicate' && progress.toldCommit < this.#state.commitIndex) return true;
    }
    return false;
  }

  heartbeat(): void {
    const { id, term, commitIndex, reads } = this.#state;
    for (const [to, progress] of this.#peers) {
      // Only what this member is known to have: what else it has may differ (row 18).
      const known = progress.match < commitIndex ? progress.match : commitIndex;
      this.#state.send({ type: 'heartbeat', from: id, to, term, commitIndex: known, round: reads.newest });
    }
  }

  /** Sends every member what is due and fits its window. */
  send(): void {
    for (const [to, progress] of this.#peers) this.#sendTo(to, progress);
  }

  takeSnapshots(): Ready['sendSnapshots'] {
    const snapshots = this.#snapshots;
    if (snapshots.length > 0) this.#snapshots = [];
    return snapshots;
  }

  #sendTo(to: NodeId, progress: Progress): void {
    const { log, options } = this.#state;
    // Ends: each turn moves `next`, fills the window, pauses the probe or clears the wish for an empty append.
    for (;;) {
      if (progress.state === 'snapshot' || (progress.state === 'probe' && progress.isPaused)) return;
      const hasEntries = progress.next <= log.lastIndex && !progress.isBlocked;
      if (!hasEntries && !progress.wantsEmptyAppend) return;
      const previousIndex = (progress.next - 1) as LogIndex;
      const previousTerm = log.termAt(previousIndex);
      if (previousTerm === undefined) {
        this.#needSnapshot(to, progress);
        return;
      }
      const room = Math.min(options.maxAppendBytes, progress.window.bytesLeft);
      const runs = hasEntries ? log.runsUpToBytes(progress.next, room) : NO_RUNS;
      const { id, term, commitIndex } = this.#state;
      this.#state.send({ type: 'append-request', from: id, to, term, previousIndex, previousTerm, runs, commitIndex });
      progress.wantsEmptyAppend = false;
      progress.toldCommit = commitIndex;
      if (progress.state === 'probe') progress.isPaused = true;
      else noteSent(progress, runs);
    }
  }

  #needSnapshot(to: NodeId, progress: Progress): void {
    const { nowMs, options, log } = this.#state;
    progress.wantsEmptyAppend = false;
    // Nobody there to take it: wait for a sign of life.
    if (nowMs - progress.lastHeardMs >= options.electionTimeoutMs) return;
    progress.snapshot(log.baseIndex);
    this.#snapshots.push({ to, atLeast: log.baseIndex });
  }
}

function noteSent(progress: Progress, runs: readonly EntryRun[]): void {
  const last = runs.at(-1);
  if (last === undefined) return;
  let bytes = 0;
  for (const run of runs) bytes += run.byteLength;
  progress.window.add(last.lastIndex, bytes);
  progress.next = (last.lastIndex + 1) as LogIndex;
}
