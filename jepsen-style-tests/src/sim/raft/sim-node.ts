import type { NodeId, RaftStatus, ReadRound, TraceEvent } from '@lockd/raft';
import { type LogStorage, type NodeCondition, type OpenDriver, openDriver, type PeerPayload } from '@lockd/raft/node';
import type { Chance } from '../world/chance.ts';
import type { Endpoint, Network } from '../world/network.ts';
import type { ClockShape, SimulatedProcess } from '../world/process.ts';
import { ListMachine, type ListState } from './list-machine.ts';
import { type Ending, Member, type MemberSurroundings } from './member.ts';
import type { Profile } from './profile.ts';

/** Everything the nodes of one simulation share. */
export interface Surroundings extends MemberSurroundings {
  readonly network: Network<PeerPayload>;
  readonly profile: Profile;
  readonly diskChance: Chance;
  readonly clockChance: Chance;
  readonly nodeChance: Chance;
  /** Whether clients wait for answers. */
  isUnderLoad(): boolean;
  /** Told of every transition after the checker: for faults that lie in wait. */
  onTransition(node: SimNode, event: TraceEvent): void;
}

export interface WriteAnswer {
  readonly type: 'done' | 'replaced' | 'refused';
  readonly index: number;
  readonly leader: NodeId | undefined;
}

export type ReadAnswer =
  | { readonly type: 'done'; readonly state: ListState }
  | { readonly type: 'refused'; readonly leader: NodeId | undefined };

/** A data directory as it was at one of its starts. */
export interface DirectoryCopy {
  readonly instanceId: string;
  readonly incarnation: number;
  putBack(): void;
}

/** A member of a cluster that is Raft alone. */
export class SimNode extends Member {
  readonly #peers: readonly NodeId[];
  readonly #around: Surroundings;
  readonly #clockChance: Chance;
  readonly #nodeChance: Chance;
  #driver: OpenDriver | undefined;
  #endpoint: Endpoint<PeerPayload> | undefined;
  #machine: ListMachine | undefined;
  #status: RaftStatus | undefined;
  #writes = new Map<number, { readonly term: number; readonly answer: (answer: WriteAnswer) => void }>();
  #reads: { readonly round: ReadRound; readonly answer: (answer: ReadAnswer) => void }[] = [];
  #condition: NodeCondition | undefined;
  /** Directories that this process has let in, and the latest start of each. */
  readonly #seen = new Map<string, number>();
  #copy: DirectoryCopy | undefined;

  /** `founders`: the first members of the cluster. */
  constructor(id: NodeId, founders: readonly NodeId[], around: Surroundings) {
    const nodeChance = around.nodeChance.split(id);
    super(id, founders, around, { disk: around.diskChance.split(id), node: nodeChance });
    this.#peers = founders;
    this.#around = around;
    this.#clockChance = around.clockChance.split(id);
    this.#nodeChance = nodeChance;
  }

  get driver(): OpenDriver | undefined {
    return this.#driver;
  }

  get machine(): ListMachine | undefined {
    return this.#machine;
  }

  get requestsUnderWay(): number {
    return this.#writes.size + this.#reads.length;
  }

  override wipe(): void {
    this.#copy = undefined;
    super.wipe();
  }

  /** Undefined where none was made of this disk. */
  get copy(): DirectoryCopy | undefined {
    return this.#copy;
  }

  /** Keeps a copy of the directory as it is on disk now. */
  copyDirectory(): void {
    const identity = this.#driver?.identity();
    if (identity === undefined) return;
    this.say('has its directory copied');
    this.#copy = { ...identity, putBack: this.disk.backUp() };
  }

  /** Puts the copy in the directory's place. The process must have ended. */
  rollBack(): void {
    this.say('comes back with an older copy of its directory');
    this.#copy?.putBack();
    this.#copy = undefined;
  }

  /** Whether the process that runs here has let in a start of this directory after the one with this number. */
  hasSeenAfter(instanceId: string, incarnation: number): boolean {
    return (this.#seen.get(instanceId) ?? 0) > incarnation;
  }

  write(bytes: Uint8Array, answer: (answer: WriteAnswer) => void): void {
    const driver = this.#driver;
    const result = driver?.propose(bytes, 0, Uint32Array.of(bytes.length));
    if (result?.type !== 'accepted') answer({ type: 'refused', index: 0, leader: result?.leader });
    else {
      // Another one may still wait there, from a term in which this node led before.
      this.#writes.get(result.firstIndex)?.answer({ type: 'replaced', index: 0, leader: undefined });
      this.#writes.set(result.firstIndex, { term: result.term, answer });
    }
  }

  read(answer: (answer: ReadAnswer) => void): void {
    const result = this.#driver?.requestRead();
    if (result?.type !== 'round') answer({ type: 'refused', leader: result?.leader });
    else this.#reads.push({ round: result.round, answer });
  }

  protected override clockShape(): ClockShape {
    const { driftPpm } = this.#around.profile;
    return {
      originMs: this.#clockChance.below(1_000_000),
      ratePpm: this.#clockChance.between(-driftPpm, driftPpm),
    };
  }

  protected override async open(process: SimulatedProcess, storage: LogStorage): Promise<void> {
    const { profile, network } = this.#around;
    const nodeChance = this.#nodeChance;
    const machine = new ListMachine(
      (index, term, entry, chain) => this.guarded(() => this.#onApplied(index, term, entry, chain)),
      (state) => this.#onRestored(state),
    );
    this.#machine = machine;
    const endpoint: Endpoint<PeerPayload> = {
      name: this.id,
      process,
      hello: () => this.#driver?.identity(),
      judge: (peer, hello) => {
        const verdict = this.#driver?.handler.onPeerIdentity(peer as NodeId, hello as never);
        if (verdict === undefined) return undefined;
        if (!verdict.accept) return verdict;
        const { instanceId, incarnation } = hello as { readonly instanceId: string; readonly incarnation: number };
        this.#seen.set(instanceId, incarnation);
        return undefined;
      },
      refused: (peer, code, reason) => this.#driver?.handler.onRefused(peer as NodeId, code, reason),
      receive: (from, payload) => {
        const handler = this.#driver?.handler;
        if (payload.kind === 'raft') handler?.onMessage(payload.message);
        else if (payload.kind === 'snapshot') handler?.onSnapshot(from as NodeId, payload.transfer);
        else handler?.onProbe(from as NodeId, payload.probe);
      },
      unreachable: (peer) => this.#driver?.handler.onUnreachable(peer as NodeId),
      linkClosed: (peer) => this.#driver?.handler.onLinkClosed(peer as NodeId),
    };
    this.#endpoint = endpoint;
    const driver = await openDriver(
      {
        id: this.id,
        initialCluster: this.isJoining ? [] : this.#peers,
        seeds: this.isJoining ? this.#peers : [],
        newClusterId: () => `cluster-${nodeChance.below(1_000_000_000)}`,
        minFreeBytes: 1_000,
        snapshotMinBytes: profile.snapshotMinBytes,
        // Time stands still in a turn: one chunk in each, so that the state changes while it is read.
        snapshotSliceBytes: 1,
        snapshotRatio: profile.snapshotRatio,
        keepLogBytes: 0,
        applySliceBytes: profile.applySliceBytes,
        raft: {
          electionTimeoutMs: profile.electionTimeoutMs,
          heartbeatMs: profile.heartbeatMs,
          maxInflightMessages: profile.maxInflightMessages,
          maxAppendBytes: profile.maxAppendBytes,
          trace: (event) => {
            if (this.process === process) this.guarded(() => this.#onTransition(event));
          },
        },
      },
      {
        storage,
        stateMachine: machine,
        clock: process.clock,
        random: nodeChance.below,
        transport: {
          send: (message) => network.send(endpoint, message.to, { kind: 'raft', message }),
          sendSnapshot: (to, transfer) => network.send(endpoint, to, { kind: 'snapshot', transfer }),
          sendProbe: (to, probe) => network.send(endpoint, to, { kind: 'probe', probe }),
        },
        events: {
          onReadsConfirmed: (round) => this.#onReadsConfirmed(process, round),
          onStatusChanged: (status) => this.#onStatusChanged(process, status),
          onConditionChanged: (condition, reason) => this.#onConditionChanged(process, condition, reason),
          onTurnEnd: () => undefined,
        },
      },
    );
    if (this.process !== process) return;
    this.#driver = driver;
    network.attach(endpoint);
  }

  protected override stopRunning(): Promise<void> {
    return this.#driver?.stop() ?? Promise.resolve();
  }

  #onTransition(event: TraceEvent): void {
    if (event.type === 'snapshot' && this.#around.isUnderLoad())
      this.#around.counters.add('snapshot installed under load');
    this.observed(event);
    this.#around.onTransition(this, event);
  }

  #onApplied(index: number, term: number, entry: Uint8Array, chain: number): void {
    this.applied(index, term, entry, chain);
    const waiting = this.#writes.get(index);
    if (waiting === undefined) return;
    this.#writes.delete(index);
    waiting.answer({ type: waiting.term === term ? 'done' : 'replaced', index, leader: undefined });
  }

  #onRestored({ index: atIndex, chain }: ListState): void {
    this.restored(atIndex, chain);
    // What waited there has been decided without telling this node how.
    for (const [index, waiting] of this.#writes) {
      if (index > atIndex) continue;
      this.#writes.delete(index);
      this.#around.counters.add('waiting write overtaken by a snapshot');
      void waiting;
    }
  }

  #onReadsConfirmed(process: SimulatedProcess, round: ReadRound): void {
    if (this.process !== process) return;
    const state = this.#machine?.state;
    if (state === undefined) return;
    const served = this.#reads.filter((read) => read.round <= round);
    this.#reads = this.#reads.filter((read) => read.round > round);
    for (const read of served) read.answer({ type: 'done', state });
  }

  #onStatusChanged(process: SimulatedProcess, status: RaftStatus): void {
    if (this.process !== process) return;
    const before = this.#status;
    this.#status = status;
    const { counters, network } = this.#around;
    const endpoint = this.#endpoint;
    // Who has a leader keeps no links to strangers.
    if (endpoint !== undefined && status.leader !== undefined && status.leader !== before?.leader)
      process.arrive(() => network.review(endpoint));
    if (before?.role === 'leader' && (status.role !== 'leader' || status.term !== before.term)) {
      if (this.#reads.length > 0) counters.add('leader change with reads under way');
      if (this.#writes.size > 0) counters.add('leader change with writes under way');
      const reads = this.#reads;
      this.#reads = [];
      for (const read of reads) read.answer({ type: 'refused', leader: status.leader });
    }
    if (before?.transferringTo !== undefined && status.transferringTo === undefined) {
      const isOver = status.role !== 'leader';
      counters.add(isOver ? 'transfer handed over' : 'transfer lost midway');
    }
  }

  #onConditionChanged(process: SimulatedProcess, condition: NodeCondition, reason: string | undefined): void {
    if (this.process !== process) return;
    if (this.#condition === 'removed' && condition === 'serving')
      this.#around.counters.add('told removed, and led again');
    this.#condition = condition;
    this.conditioned(condition, reason ?? '');
    // `stopped` after an error of the device; a stop that was asked for ends by itself.
    if (condition === 'stopped' && !this.isStopping)
      this.#around.world.in(0, () => this.process === process && this.exit(reason ?? ''));
  }

  protected override ending(how: Ending): void {
    if (how !== 'goodbye' && this.#reads.length > 0) this.#around.counters.add('leader change with reads under way');
  }

  protected override ended(_process: SimulatedProcess, how: Ending): void {
    if (this.#endpoint !== undefined) this.#around.network.detach(this.id, how);
    this.#driver = undefined;
    this.#endpoint = undefined;
    this.#machine = undefined;
    this.#status = undefined;
    this.#condition = undefined;
    this.#writes = new Map();
    this.#reads = [];
    this.#seen.clear();
  }
}
