import { type Configuration, type NodeId, type RaftStatus, type ReadRound, type TraceEvent } from '@lockd/raft';
import {
  type LogStorage,
  LogStore,
  type NodeCondition,
  type OpenDriver,
  openDriver,
  type PeerPayload,
  StorageError,
} from '@lockd/raft/node';
import { DurableLog, SimulatedDisk } from '@lockd/raft/testing';
import type { Chance } from '../world/chance.ts';
import type { Counters } from '../world/counters.ts';
import type { Endpoint, Network } from '../world/network.ts';
import { SimulatedProcess } from '../world/process.ts';
import { diskOf } from '../world/process-disk.ts';
import type { Trace } from '../world/trace.ts';
import type { World } from '../world/world.ts';
import type { RaftChecker } from './checker.ts';
import { ListMachine, type ListState } from './list-machine.ts';
import type { Profile } from './profile.ts';

/** Everything the nodes of one simulation share. */
export interface Surroundings {
  readonly world: World;
  readonly trace: Trace;
  readonly counters: Counters;
  readonly network: Network<PeerPayload>;
  readonly checker: RaftChecker;
  readonly profile: Profile;
  readonly diskChance: Chance;
  readonly clockChance: Chance;
  readonly nodeChance: Chance;
  /** Every configuration that may count: the committed one, and those in any log after it. */
  configurations(): readonly Configuration[];
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

/** One member: its machine with a disk that outlives its processes, and the process that runs there now, if any. */
export class SimNode {
  readonly id: NodeId;
  readonly #peers: readonly NodeId[];
  /** Started as one that is to be admitted, not as a founder. */
  #isJoining: boolean;
  readonly #around: Surroundings;
  readonly #diskChance: Chance;
  readonly #clockChance: Chance;
  readonly #nodeChance: Chance;
  disk: SimulatedDisk;
  durable: DurableLog;
  /** Syncs take so much longer. */
  diskFactor = 1;
  #process: SimulatedProcess | undefined;
  #driver: OpenDriver | undefined;
  #endpoint: Endpoint<PeerPayload> | undefined;
  #machine: ListMachine | undefined;
  #status: RaftStatus | undefined;
  #writes = new Map<number, { readonly term: number; readonly answer: (answer: WriteAnswer) => void }>();
  #reads: { readonly round: ReadRound; readonly answer: (answer: ReadAnswer) => void }[] = [];
  #starts = 0;
  #lastIndexBefore = 0;
  #isStopping = false;
  #condition: NodeCondition | undefined;
  /** Called when a process ends by itself; the operator decides when it starts again. */
  onExit: (node: SimNode, why: string) => void = () => undefined;
  /** Called when a process has ended, whatever ended it. */
  onEnd: (node: SimNode) => void = () => undefined;
  /** Directories that this process has let in, and the latest start of each. */
  readonly #seen = new Map<string, number>();
  #copy: DirectoryCopy | undefined;

  /** `founders`: the first members of the cluster. */
  constructor(id: NodeId, founders: readonly NodeId[], around: Surroundings) {
    this.id = id;
    this.#peers = founders;
    this.#isJoining = !founders.includes(id);
    this.#around = around;
    this.#diskChance = around.diskChance.split(id);
    this.#clockChance = around.clockChance.split(id);
    this.#nodeChance = around.nodeChance.split(id);
    this.disk = this.#newDisk();
    this.durable = this.#watchDisk();
  }

  get isUp(): boolean {
    return this.#process !== undefined;
  }

  get process(): SimulatedProcess | undefined {
    return this.#process;
  }

  get driver(): OpenDriver | undefined {
    return this.#driver;
  }

  get machine(): ListMachine | undefined {
    return this.#machine;
  }

  get condition(): NodeCondition | 'down' | 'starting' {
    if (this.#process === undefined) return 'down';
    return this.#driver?.condition() ?? 'starting';
  }

  /** Undefined while it does not run. */
  get status(): RaftStatus | undefined {
    return this.#driver?.status();
  }

  get isLeader(): boolean {
    return this.#driver?.condition() === 'serving' && this.#driver.status().role === 'leader';
  }

  get requestsUnderWay(): number {
    return this.#writes.size + this.#reads.length;
  }

  start(): void {
    if (this.#process !== undefined) return;
    const { world, profile, trace } = this.#around;
    const clockChance = this.#clockChance;
    this.#starts += 1;
    const process = new SimulatedProcess(this.id, world, {
      originMs: clockChance.below(1_000_000),
      ratePpm: clockChance.between(-profile.driftPpm, profile.driftPpm),
    });
    this.#process = process;
    this.#isStopping = false;
    trace.event(world.nowUs, this.id, 'starts', undefined, this.#starts);
    const storage = new LogStore(diskOf(process, this.disk.mount(), world), process.clock, {
      newInstanceId: () => `${this.id}-${this.#nodeChance.below(1_000_000_000)}`,
      maxBlockBytes: profile.maxBlockBytes,
    });
    process.arrive(() => this.#open(process, storage));
  }

  /** The process is gone; what it wrote stays in the operating system's cache. */
  kill(): void {
    const process = this.#end('closed');
    if (process === undefined) return;
    this.#say('is killed');
    this.disk.kill();
  }

  /** The machine is gone dark: what was not synced may be lost. */
  losePower(): void {
    this.#end('dark');
    const before = this.durable.lastIndex;
    this.#say('loses power');
    this.disk.losePower();
    if (this.durable.lastIndex < this.#lastIndexBefore)
      this.#around.counters.add('unsynced entries lost with the power');
    if (this.durable.lastIndex > before) this.#around.counters.add('unsynced entries survived a loss of power');
  }

  /** SIGTERM. */
  stop(): void {
    const process = this.#process;
    const driver = this.#driver;
    if (process === undefined || driver === undefined || this.#isStopping) return;
    this.#isStopping = true;
    this.#say('is told to stop');
    process.arrive(() => {
      this.#around.world.touch();
      driver.stop().then(
        () => {
          if (this.#process !== process) return;
          this.#end('goodbye');
          this.#say('has stopped');
          this.disk.kill();
          this.onExit(this, 'stopped');
        },
        (error: unknown) => {
          if (this.#process !== process) return;
          if (!(error instanceof StorageError)) this.#around.world.fail(error);
          // What it still had to write could not be written: it ends like any process that exits.
          this.#exit(`cannot stop cleanly: ${String(error)}`);
        },
      );
    });
  }

  /** Another, empty disk, as an operator would replace it: the next start is told whom to join. The process must have ended. */
  replace(): void {
    this.#isJoining = true;
    this.wipe();
  }

  /** Another, empty disk. The process must have ended. */
  wipe(): void {
    this.#say('comes back with an empty disk');
    this.#copy = undefined;
    this.disk = this.#newDisk();
    this.durable = this.#watchDisk();
  }

  /** Undefined where none was made of this disk. */
  get copy(): DirectoryCopy | undefined {
    return this.#copy;
  }

  /** Keeps a copy of the directory as it is on disk now. */
  copyDirectory(): void {
    const identity = this.#driver?.identity();
    if (identity === undefined) return;
    this.#say('has its directory copied');
    this.#copy = { ...identity, putBack: this.disk.backUp() };
  }

  /** Puts the copy in the directory's place. The process must have ended. */
  rollBack(): void {
    this.#say('comes back with an older copy of its directory');
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

  // ------------------------------------------------------------------------------------------------

  #open(process: SimulatedProcess, storage: LogStorage): void {
    const { world, profile, network, counters } = this.#around;
    const nodeChance = this.#nodeChance;
    const machine = new ListMachine(
      (index, term, entry, chain) => this.#guarded(() => this.#onApplied(index, term, entry, chain)),
      (state) => this.#guarded(() => this.#onRestored(state)),
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
    world.touch();
    openDriver(
      {
        id: this.id,
        initialCluster: this.#isJoining ? [] : this.#peers,
        seeds: this.#isJoining ? this.#peers : [],
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
            if (this.#process === process) this.#guarded(() => this.#onTransition(event));
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
    ).then(
      (driver) => {
        if (this.#process !== process) return;
        this.#driver = driver;
        network.attach(endpoint);
      },
      (error: unknown) => {
        if (this.#process !== process) return;
        if (!(error instanceof StorageError)) world.fail(error);
        counters.add('start failed');
        this.#exit(`cannot start: ${String(error)}`);
      },
    );
  }

  /** What the checker finds ends the run, also where the code under test would catch it. */
  #guarded(look: () => void): void {
    try {
      look();
    } catch (error) {
      this.#around.world.fail(error);
    }
  }

  #onTransition(event: TraceEvent): void {
    const { world, trace, checker, counters } = this.#around;
    const before = this.#lastIndexBefore;
    this.#lastIndexBefore = event.state.lastIndex;
    const { state } = event;
    const nowUs = world.nowUs;
    switch (event.type) {
      case 'send':
      case 'receive': {
        const { message } = event;
        trace.event(
          nowUs,
          this.id,
          event.type === 'send' ? 'sends' : 'receives',
          () => inWords(message, event.type === 'send'),
          message.term,
          message.type.length,
          event.type === 'send' ? 0 : 1,
        );
        break;
      }
      case 'role':
        trace.event(
          nowUs,
          this.id,
          'becomes',
          () => `${state.role} in term ${state.term}`,
          state.term,
          state.role.length,
        );
        counters.add(`became ${state.role}`);
        break;
      case 'append':
        if (event.from <= before) counters.add('uncommitted suffix truncated');
        trace.event(
          nowUs,
          this.id,
          'appends',
          () =>
            `entries ${event.from} to ${state.lastIndex} of term ${event.entryTerm}${event.from <= before ? `, in place of those up to ${before}` : ''}`,
          event.from,
          state.lastIndex,
          event.entryTerm,
        );
        break;
      case 'commit':
        trace.event(nowUs, this.id, 'commits', () => `up to ${state.commitIndex}`, state.commitIndex, state.term);
        break;
      case 'durable':
        trace.event(nowUs, this.id, 'has on disk', () => `write ${event.write}`, event.write);
        break;
      case 'configuration':
        if (state.configuration.outgoing.length > 0) counters.add('joint configuration took effect');
        trace.event(nowUs, this.id, 'works with', () => configurationInWords(state.configuration), state.appliedIndex);
        break;
      case 'snapshot':
        counters.add('snapshot installed');
        if (this.#around.isUnderLoad()) counters.add('snapshot installed under load');
        trace.event(
          nowUs,
          this.id,
          'takes a snapshot',
          () => `at ${state.lastIndex} in place of its log`,
          state.lastIndex,
        );
        break;
      case 'start':
        if (state.lastIndex < before) counters.add('torn tail trimmed');
        trace.event(
          nowUs,
          this.id,
          'recovers',
          () => `term ${state.term}, log up to ${state.lastIndex}, committed ${state.commitIndex}`,
          state.term,
          state.lastIndex,
          state.commitIndex,
        );
        break;
    }
    checker.observe(event);
    this.#around.onTransition(this, event);
  }

  #onApplied(index: number, term: number, entry: Uint8Array, chain: number): void {
    const { checker } = this.#around;
    checker.applied(this.id, this.#applied, index, term, entry, chain);
    this.#applied = index;
    const waiting = this.#writes.get(index);
    if (waiting === undefined) return;
    this.#writes.delete(index);
    waiting.answer({ type: waiting.term === term ? 'done' : 'replaced', index, leader: undefined });
  }

  #applied = 0;

  #onRestored(state: ListState): void {
    this.#around.checker.restored(this.id, state);
    this.#applied = state.index;
    // What waited there has been decided without telling this node how.
    for (const [index, waiting] of this.#writes) {
      if (index > state.index) continue;
      this.#writes.delete(index);
      this.#around.counters.add('waiting write overtaken by a snapshot');
      void waiting;
    }
  }

  #onReadsConfirmed(process: SimulatedProcess, round: ReadRound): void {
    if (this.#process !== process) return;
    const state = this.#machine?.state;
    if (state === undefined) return;
    const served = this.#reads.filter((read) => read.round <= round);
    this.#reads = this.#reads.filter((read) => read.round > round);
    for (const read of served) read.answer({ type: 'done', state });
  }

  #onStatusChanged(process: SimulatedProcess, status: RaftStatus): void {
    if (this.#process !== process) return;
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
    if (this.#process !== process) return;
    const { world, trace, counters, checker } = this.#around;
    trace.event(
      world.nowUs,
      this.id,
      'is',
      () => `${condition}${reason === undefined ? '' : `: ${reason}`}`,
      condition.length,
    );
    if (this.#condition === 'removed' && condition === 'serving') counters.add('told removed, and led again');
    this.#condition = condition;
    if (condition === 'damaged') {
      counters.add('damaged node refused');
      if (/rolled back/.test(reason ?? '')) counters.add('rolled-back directory refused');
      checker.refused(this.id, reason ?? '');
    } else if (condition === 'disk-full') counters.add('node left a full disk');
    // `stopped` after an error of the device; a stop that was asked for ends by itself.
    if (condition === 'stopped' && !this.#isStopping)
      world.in(0, () => this.#process === process && this.#exit(reason ?? ''));
  }

  #exit(why: string): void {
    this.#end('closed');
    this.#say('exits', why);
    this.disk.kill();
    this.onExit(this, why);
  }

  #end(how: 'closed' | 'goodbye' | 'dark'): SimulatedProcess | undefined {
    const process = this.#process;
    if (process === undefined) return undefined;
    const status = this.#driver?.status();
    const { counters, network } = this.#around;
    if (status !== undefined && status.configuration.outgoing.length > 0 && how !== 'goodbye')
      counters.add('crash inside a joint configuration');
    if (status?.transferringTo !== undefined && how !== 'goodbye') counters.add('transfer lost midway');
    if (this.#reads.length > 0 && how !== 'goodbye') counters.add('leader change with reads under way');
    process.die();
    if (this.#endpoint !== undefined) network.detach(this.id, how);
    this.#process = undefined;
    this.#driver = undefined;
    this.#endpoint = undefined;
    this.#machine = undefined;
    this.#status = undefined;
    this.#condition = undefined;
    this.#applied = 0;
    this.#writes = new Map();
    this.#reads = [];
    this.#seen.clear();
    this.onEnd(this);
    return process;
  }

  #say(what: string, details?: string): void {
    this.#around.trace.event(
      this.#around.world.nowUs,
      this.id,
      what,
      details === undefined ? undefined : () => details,
    );
  }

  #newDisk(): SimulatedDisk {
    const { world, profile } = this.#around;
    const diskChance = this.#diskChance;
    return new SimulatedDisk({
      random: diskChance.below,
      // The disk's clock counts microseconds: a sync takes less than a millisecond.
      clock: {
        nowMs: () => world.nowUs,
        after: (delayUs, callback) => {
          const scheduled = world.in(delayUs, () => {
            callback();
            world.touch();
          });
          return () => scheduled.cancel();
        },
        endOfTurn: (callback) => {
          world.in(0, callback);
        },
      },
      syncDelayMs: () => diskChance.between(profile.syncMinUs, profile.syncMaxUs) * this.diskFactor,
    });
  }

  #watchDisk(): DurableLog {
    const { checker } = this.#around;
    const durable = new DurableLog(this.disk, (run, previousTerm) => {
      this.#guarded(() => checker.durableRun(this.id, run, previousTerm));
    });
    checker.newDirectory(this.id, durable);
    return durable;
  }
}

type Message = Extract<TraceEvent, { type: 'send' }>['message'];

function inWords(message: Message, isSent: boolean): string {
  const peer = isSent ? `to ${message.to}` : `from ${message.from}`;
  const head = `${message.type} ${peer}, term ${message.term}`;
  switch (message.type) {
    case 'vote-request':
      return `${message.preVote ? 'pre-' : ''}${head}: log up to ${message.lastLogIndex} of term ${message.lastLogTerm}${message.transfer ? ', on behalf of the leader' : ''}`;
    case 'vote-response':
      return `${message.preVote ? 'pre-' : ''}${head}: ${message.granted ? 'yes' : 'no'}`;
    case 'append-request': {
      const last = message.runs.at(-1)?.lastIndex;
      const entries = last === undefined ? 'nothing' : `${message.runs[0]?.firstIndex} to ${last}`;
      return `${head}: ${entries} after ${message.previousIndex} of term ${message.previousTerm}, committed ${message.commitIndex}`;
    }
    case 'append-response':
      return message.success
        ? `${head}: has up to ${message.matchIndex}`
        : `${head}: refuses ${message.matchIndex}, try ${message.hintIndex}`;
    case 'heartbeat':
      return `${head}: committed ${message.commitIndex}, round ${message.round}`;
    case 'heartbeat-response':
      return `${head}: round ${message.round}`;
    case 'timeout-now':
      return head;
    case 'snapshot-request':
      return `${head}: snapshot at ${message.metadata.index}`;
  }
}

function configurationInWords({ voters, outgoing, learners }: RaftStatus['configuration']): string {
  const parts = [`voters ${voters.join(' ')}`];
  if (outgoing.length > 0) parts.push(`and the old ones ${outgoing.join(' ')}`);
  if (learners.length > 0) parts.push(`learners ${learners.join(' ')}`);
  return parts.join(', ');
}
