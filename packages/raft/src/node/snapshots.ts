import type { EntryRun } from '../core/entry-run.ts';
import type { LogIndex, NodeId, Term } from '../core/ids.ts';
import type { Input } from '../core/input.ts';
import type { SnapshotMetadata } from '../core/message.ts';
import type { RaftStatus } from '../core/options.ts';
import type { SnapshotCounters } from './driver-api.ts';
import type { CompleteDriverOptions } from './driver-defaults.ts';
import type { Epoch } from './epoch.ts';
import type { Registry } from './registry.ts';
import { SnapshotMaker } from './snapshot-maker.ts';
import { restoreSnapshot } from './snapshot-restore.ts';
import { SnapshotSender } from './snapshot-sender.ts';
import type { StateMachine } from './state-machine.ts';
import type { LogStorage } from './storage.ts';
import { toStorageError } from './storage-error.ts';
import type { SnapshotTransfer } from './transport.ts';

/** What snapshots need of the node they belong to. */
export interface SnapshotSurroundings {
  readonly options: CompleteDriverOptions;
  /** Chunks are sent again after this long without an answer. Milliseconds. */
  readonly resendMs: number;
  readonly storage: LogStorage;
  readonly stateMachine: StateMachine;
  readonly registry: Registry;
  readonly epoch: Epoch;
  readonly nowMs: () => number;
  readonly nextTurn: () => Promise<void>;
  readonly wake: () => void;
  readonly input: (input: Input) => void;
  readonly send: (to: NodeId, transfer: SnapshotTransfer) => void;
  /** This node leads, in that term. */
  readonly leadsIn: (term: Term) => boolean;
  readonly storageFailed: (error: Error) => void;
}

/** Of one node: makes snapshots of its own state when they are due, sends them to followers, and restores them. */
export class Snapshots {
  readonly counters: SnapshotCounters = {
    made: 0,
    restored: 0,
    longestSliceMs: 0,
    longestRestoreSliceMs: 0,
    lastMs: 0,
    lastBytes: 0,
  };
  readonly #around: SnapshotSurroundings;
  readonly #sender: SnapshotSender;
  #maker: SnapshotMaker;
  /** Followers that need a snapshot newer than the one there is, or the one being opened for them. */
  readonly #wanted = new Map<NodeId, LogIndex>();
  #isAsked = false;
  #startedMs = 0;

  constructor(around: SnapshotSurroundings) {
    this.#around = around;
    this.#maker = this.#newMaker(0);
    this.#sender = new SnapshotSender({
      send: (to, transfer) => around.send(to, transfer),
      onAdvanced: (peer) => around.input({ type: 'snapshot-advanced', peer }),
      onDone: (peer, index, ok) => around.input({ type: 'snapshot-sent', peer, index: index as LogIndex, ok }),
      onReadError: (error) => around.storageFailed(toStorageError(error, 'reading a snapshot')),
      resendMs: around.resendMs,
    });
  }

  /** A snapshot now, whether or not it is due. */
  ask(): void {
    this.#isAsked = true;
  }

  want(to: NodeId, atLeast: LogIndex): void {
    this.#wanted.set(to, atLeast);
  }

  applied(run: EntryRun): void {
    this.#maker.applied(run);
  }

  progress(
    from: NodeId,
    progress: Extract<SnapshotTransfer, { readonly type: 'snapshot-progress' }>,
    nowMs: number,
  ): void {
    this.#sender.progress(from, progress, nowMs);
  }

  /** Call about every heartbeat. */
  tick(nowMs: number): void {
    if (!this.#sender.isIdle) this.#sender.tick(nowMs);
  }

  /** This node does not lead any more: its followers are another one's business. */
  abandonSending(): void {
    this.#sender.cancelAll();
    this.#wanted.clear();
  }

  /** Gives up what is being made. Nothing calls back afterwards. */
  async stop(): Promise<void> {
    await this.#maker.stop();
  }

  /** One slice of the snapshot being made, or the start of one; and those that followers wait for. `applied` is the last entry applied. */
  advance(status: RaftStatus, applied: { readonly index: LogIndex; readonly term: Term }, nowMs: number): void {
    const isWanted = this.#isAsked || [...this.#wanted.values()].some((atLeast) => atLeast > this.#maker.snapshotIndex);
    // What is applied may not be durable here yet; a snapshot must not run ahead of the log on this disk.
    const canStart = applied.index === status.appliedIndex && applied.index <= status.stableIndex;
    if (canStart && !this.#maker.isBusy && this.#maker.isDue(isWanted)) {
      const metadata = { index: applied.index, term: applied.term, configuration: status.configuration };
      this.#isAsked = false;
      this.#startedMs = nowMs;
      const { registry, stateMachine } = this.#around;
      this.#maker.start(metadata, registry.preamble(), stateMachine.beginSnapshot());
    }
    if (this.#maker.isBusy) {
      const sliceStartedMs = this.#around.nowMs();
      this.#maker.slice();
      const tookMs = this.#around.nowMs() - sliceStartedMs;
      if (tookMs > this.counters.longestSliceMs) this.counters.longestSliceMs = tookMs;
    }
    for (const [to, atLeast] of this.#wanted) {
      if (atLeast > this.#maker.snapshotIndex || this.#maker.snapshotIndex === 0) continue;
      this.#wanted.delete(to);
      this.#send(to, status.term, nowMs);
    }
  }

  /** Puts registry and state machine into the state of the stored snapshot, if there is one. Resolves to its size. */
  restore(): Promise<number> {
    const { storage, registry, stateMachine, options, nowMs, nextTurn } = this.#around;
    const turnMs = options.applyTurnMs;
    return restoreSnapshot({ storage, registry, stateMachine, turnMs, nowMs, nextTurn, counters: this.counters });
  }

  /** The state is that of the stored snapshot, if there is one, and nothing after it is applied yet. */
  restored(metadata: SnapshotMetadata | undefined, byteLength: number): void {
    this.#maker = this.#newMaker(byteLength);
    if (metadata !== undefined) this.#maker.restored(metadata);
  }

  #newMaker(lastSnapshotBytes: number): SnapshotMaker {
    const around = this.#around;
    const { snapshotMinBytes, snapshotRatio, snapshotSliceBytes, keepLogBytes } = around.options;
    return new SnapshotMaker({
      storage: around.storage,
      minBytes: snapshotMinBytes,
      ratio: snapshotRatio,
      sliceBytes: snapshotSliceBytes,
      keepLogBytes,
      lastSnapshotBytes,
      nowMs: () => around.nowMs(),
      wake: () => around.wake(),
      onCreated: (metadata, compactTo) => {
        this.counters.made += 1;
        this.counters.lastMs = around.nowMs() - this.#startedMs;
        this.counters.lastBytes = this.#maker.lastSnapshotBytes;
        around.input({ type: 'snapshot-created', metadata, compactTo: compactTo.index });
        this.#compact(compactTo);
      },
      onError: (error) => around.storageFailed(toStorageError(error, 'writing a snapshot')),
    });
  }

  #compact(compactTo: { readonly index: LogIndex; readonly term: Term }): void {
    const { epoch, storage, storageFailed } = this.#around;
    const begun = epoch.current;
    storage.compact(compactTo.index, compactTo.term).catch((error: unknown) => {
      if (begun === epoch.current) storageFailed(toStorageError(error, 'compacting the log'));
    });
  }

  #send(to: NodeId, term: Term, nowMs: number): void {
    const { epoch, storage, storageFailed, leadsIn } = this.#around;
    const begun = epoch.current;
    storage.openSnapshot().then(
      async (source) => {
        if (source === undefined || begun !== epoch.current || !leadsIn(term)) await source?.close();
        else this.#sender.start(to, source, term, nowMs);
      },
      (error: unknown) => {
        if (begun === epoch.current) storageFailed(toStorageError(error, 'opening the snapshot'));
      },
    );
  }
}
