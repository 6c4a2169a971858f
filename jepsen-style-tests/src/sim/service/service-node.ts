import { type NodeId, type RaftStatus, type TraceEvent } from '@lockd/raft';
import { LogStore, type NodeCondition, StorageError } from '@lockd/raft/node';
import { DurableLog, describeMessage, SimulatedDisk } from '@lockd/raft/testing';
import { decodeCommand, type LockTable, NodeService, OP, silentLogger } from 'lockd/service';
import type { RaftChecker } from '../raft/checker.ts';
import type { Chance } from '../world/chance.ts';
import type { Counters } from '../world/counters.ts';
import { SimulatedProcess } from '../world/process.ts';
import { diskOf } from '../world/process-disk.ts';
import type { Trace } from '../world/trace.ts';
import type { World } from '../world/world.ts';
import type { Internet, Party } from './internet.ts';
import { ObservedMachine } from './observed-machine.ts';
import type { ServiceProfile } from './profile.ts';
import type { Truth } from './truth.ts';

/** What the nodes of one simulation share. */
export interface NodeSurroundings {
  readonly world: World;
  readonly trace: Trace;
  readonly counters: Counters;
  readonly internet: Internet;
  readonly checker: RaftChecker;
  readonly truth: Truth;
  readonly profile: ServiceProfile;
  readonly diskChance: Chance;
  readonly clockChance: Chance;
  readonly nodeChance: Chance;
  /** Told of every transition after the checker: for faults that lie in wait. */
  onTransition(node: ServiceNode, event: TraceEvent): void;
  /** An end that a leader has decided has become durable somewhere, and is not known to be committed. */
  onEndStored(node: ServiceNode, session: number): void;
  /** It has become leader, and ends that its predecessor decided wait in its log for its first entry. */
  onOldEnds(node: ServiceNode): void;
}

export function clientUrlOf(id: string): string {
  return `ws://${id}`;
}

export function peerAddressOf(id: string): string {
  return `${id}:7201`;
}

/** One member: its machine with a disk that outlives its processes, and the whole node that runs there now, if any. */
export class ServiceNode {
  readonly id: NodeId;
  readonly #members: readonly NodeId[];
  readonly #around: NodeSurroundings;
  readonly #ratePpm: number;
  readonly disk: SimulatedDisk;
  readonly durable: DurableLog;
  /** Entries that end sessions, by index: the term of each. */
  readonly #storedEnds = new Map<number, number>();
  #process: SimulatedProcess | undefined;
  #service: NodeService | undefined;
  #applied = 0;
  #starts = 0;
  #isStopping = false;
  /** Called when a process ends by itself; the operator decides when it starts again. */
  onExit: (node: ServiceNode, why: string) => void = () => undefined;

  constructor(id: NodeId, members: readonly NodeId[], around: NodeSurroundings) {
    this.id = id;
    this.#members = members;
    this.#around = around;
    const { driftPpm } = around.profile;
    this.#ratePpm = driftPpm === 0 ? 0 : around.clockChance.between(-driftPpm, driftPpm);
    this.disk = this.#newDisk();
    this.durable = this.#watchDisk();
  }

  get isUp(): boolean {
    return this.#process !== undefined;
  }

  get process(): SimulatedProcess | undefined {
    return this.#process;
  }

  get service(): NodeService | undefined {
    return this.#service;
  }

  get status(): RaftStatus | undefined {
    return this.#service?.driver.status();
  }

  get condition(): NodeCondition | 'down' | 'starting' {
    if (this.#process === undefined) return 'down';
    return this.#service?.driver.condition() ?? 'starting';
  }

  get isLeader(): boolean {
    return this.condition === 'serving' && this.status?.role === 'leader';
  }

  start(): void {
    if (this.#process !== undefined) return;
    const { world, profile, clockChance, nodeChance, trace, internet } = this.#around;
    this.#starts += 1;
    const process = new SimulatedProcess(this.id, world, {
      originMs: clockChance.below(1_000_000),
      ratePpm: this.#ratePpm,
    });
    this.#process = process;
    this.#isStopping = false;
    internet.lit(this.id);
    trace.event(world.nowUs, this.id, 'starts', undefined, this.#starts);
    const storage = new LogStore(diskOf(process, this.disk.mount(), world), process.clock, {
      newInstanceId: () => `${this.id}-${nodeChance.below(1_000_000_000)}`,
      maxBlockBytes: profile.maxBlockBytes,
    });
    process.arrive(() => this.#open(process, storage));
  }

  /** The process is gone; what it wrote stays in the operating system's cache. */
  kill(): void {
    if (!this.#end('closed')) return;
    this.#say('is killed');
    this.disk.kill();
  }

  /** The machine is gone dark: what was not synced may be lost. */
  losePower(): void {
    if (!this.#end('dark')) return;
    this.#say('loses power');
    this.disk.losePower();
  }

  /** SIGTERM. */
  stop(): void {
    const process = this.#process;
    const service = this.#service;
    if (process === undefined || service === undefined || this.#isStopping) return;
    this.#isStopping = true;
    this.#say('is told to stop');
    process.arrive(() => {
      this.#around.world.touch();
      service.stop('SIGTERM').then(
        () => {
          if (this.#process !== process) return;
          this.#end('closed');
          this.#say('has stopped');
          this.disk.kill();
          this.onExit(this, 'stopped');
        },
        (error: unknown) => this.#around.world.fail(error),
      );
    });
  }

  // ------------------------------------------------------------------------------------------------

  #open(process: SimulatedProcess, storage: LogStore): void {
    const { world, profile, internet, nodeChance, counters } = this.#around;
    const party: Party = { host: this.id, process, usesPromises: false };
    const { clock } = process;
    world.touch();
    NodeService.open(
      {
        name: this.id,
        dataDir: '/simulated',
        initialCluster: new Map(this.#members.map((id) => [id, peerAddressOf(id)])),
        electionTimeoutMs: profile.electionTimeoutMs,
        heartbeatMs: profile.heartbeatMs,
        snapshotMinBytes: profile.snapshotMinBytes,
      },
      {
        log: { ...silentLogger, info: (text) => this.#log(process, text), warn: (text) => this.#log(process, text) },
        clock: {
          nowMs: () => clock.nowMs(),
          after: (delayMs, callback) => clock.after(delayMs, callback),
          endOfTurn: (callback) => clock.endOfTurn(callback),
          wallMs: () => clock.nowMs(),
        },
        random: nodeChance.below,
        storage,
        dialPeer: (address) => internet.dial(party, address.slice(0, address.indexOf(':')), address),
        newClusterId: () => `cluster-${nodeChance.below(1_000_000_000)}`,
        pid: this.#starts,
        onFatal: (reason) => world.in(0, () => this.#process === process && this.#exit(reason)),
        tuning: {
          minFreeBytes: 1_000,
          // Time stands still in a turn: one chunk in each, so that the state changes while it is read.
          snapshotSliceBytes: 1,
          snapshotRatio: 1,
          keepLogBytes: 0,
          raft: {
            maxAppendBytes: profile.maxAppendBytes,
            trace: (event) => {
              if (this.#process === process) this.#guarded(() => this.#onTransition(event));
            },
          },
        },
        observe: (machine, table) => this.#observe(machine, table),
      },
    ).then(
      (service) => {
        if (this.#process !== process) return;
        this.#service = service;
        internet.listen(peerAddressOf(this.id), {
          ...party,
          choose: () => '',
          onSocket: (socket) => service.acceptPeer(socket),
        });
        internet.listen(clientUrlOf(this.id), {
          ...party,
          choose: (offered) => offered[0] ?? '',
          onSocket: (socket) => service.acceptClient(socket, socket.protocol),
        });
        service.start({ client: clientUrlOf(this.id), peer: peerAddressOf(this.id) });
      },
      (error: unknown) => {
        if (this.#process !== process) return;
        if (!(error instanceof StorageError)) world.fail(error);
        counters.add('start failed');
        this.#exit(`cannot start: ${String(error)}`);
      },
    );
  }

  #observe(machine: ConstructorParameters<typeof ObservedMachine>[0], table: LockTable): ObservedMachine {
    const { checker, truth } = this.#around;
    return new ObservedMachine(machine, table, {
      applies: (index, term, entry, chain) =>
        this.#guarded(() => {
          checker.applied(this.id, this.#applied, index, term, entry, chain);
          this.#applied = index;
          truth.applies(index, term, entry);
        }),
      compare: (index, stateHash) => this.#guarded(() => truth.compare(this.id, index, stateHash)),
      restored: (index) => {
        const chain = checker.chainAt(index);
        this.#guarded(() => checker.restored(this.id, { index, chain: chain ?? -1, recent: [] }));
        this.#applied = index;
        return chain;
      },
    });
  }

  /** What is found wrong ends the run, also where the code under test would catch it. */
  #guarded(look: () => void): void {
    try {
      look();
    } catch (error) {
      this.#around.world.fail(error);
    }
  }

  #onTransition(event: TraceEvent): void {
    const { checker, counters } = this.#around;
    const { state } = event;
    switch (event.type) {
      case 'send':
      case 'receive': {
        const { message } = event;
        this.#say(`${event.type}s`, () => describeMessage(message), message.term, message.type.length);
        break;
      }
      case 'role':
        counters.add(`became ${state.role}`);
        this.#say('becomes', () => `${state.role} in term ${state.term}`, state.term, state.role.length);
        if (state.role === 'leader') this.#lookForOldEnds(state.commitIndex, state.lastIndex);
        break;
      case 'append':
        this.#say(
          'appends',
          () => `entries ${event.from} to ${state.lastIndex} of term ${event.entryTerm}`,
          event.from,
        );
        break;
      case 'commit':
        this.#say('commits', () => `up to ${state.commitIndex}`, state.commitIndex, state.term);
        break;
      case 'snapshot':
        counters.add('snapshot installed');
        this.#say('takes a snapshot', () => `at ${state.lastIndex} in place of its log`, state.lastIndex);
        break;
      case 'durable':
      case 'configuration':
        break;
      case 'start':
        this.#say('recovers', () => `term ${state.term}, log up to ${state.lastIndex}`, state.term, state.lastIndex);
        break;
    }
    checker.observe(event);
    this.#around.onTransition(this, event);
  }

  /** The successor of a leader that had decided an end: it must come to nothing. */
  #lookForOldEnds(commitIndex: number, lastIndex: number): void {
    let count = 0;
    for (const [index, term] of this.#storedEnds)
      if (index > commitIndex && index <= lastIndex && this.durable.termAt(index) === term) count += 1;
    if (count === 0) return;
    this.#around.counters.add('new leader with an old expiry in its log', count);
    this.#around.onOldEnds(this);
  }

  #log(process: SimulatedProcess, text: string): void {
    if (this.#process === process) this.#say('says', () => text, text.length);
  }

  #exit(why: string): void {
    this.#end('closed');
    this.#say('exits', () => why);
    this.disk.kill();
    this.onExit(this, why);
  }

  #end(how: 'closed' | 'dark'): boolean {
    const process = this.#process;
    if (process === undefined) return false;
    const { counters, internet } = this.#around;
    counters.add('renewal waiting when its expiry was proposed', this.#service?.heldBackRenewals ?? 0);
    process.die();
    internet.ended(process, how);
    if (how === 'dark') internet.wentDark(this.id);
    this.#process = undefined;
    this.#service = undefined;
    this.#applied = 0;
    return true;
  }

  /** At the end of a run: what the running process has counted. */
  takeCounters(): void {
    this.#around.counters.add('renewal waiting when its expiry was proposed', this.#service?.heldBackRenewals ?? 0);
  }

  #say(what: string, details?: () => string, first = 0, second = 0): void {
    this.#around.trace.event(this.#around.world.nowUs, this.id, what, details, first, second);
  }

  #newDisk(): SimulatedDisk {
    const { world, diskChance, profile } = this.#around;
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
      syncDelayMs: () => diskChance.between(profile.syncMinUs, profile.syncMaxUs),
    });
  }

  #watchDisk(): DurableLog {
    const { checker } = this.#around;
    const durable = new DurableLog(this.disk, (run, previousTerm) => {
      this.#guarded(() => {
        checker.durableRun(this.id, run, previousTerm);
        for (let index: number = run.firstIndex; index <= run.lastIndex; index += 1) {
          const entry = run.entry(index as never);
          // The version, then an array of the operation and its fields: looked at only where it may be an end.
          const command = entry[0] === 1 && entry.length < 40 ? decodeCommand(entry, 1) : undefined;
          if (command?.[0] !== OP.endSession) continue;
          this.#storedEnds.set(index, run.term);
          this.#around.onEndStored(this, command[1]);
        }
      });
    });
    checker.newDirectory(this.id, durable);
    return durable;
  }
}
