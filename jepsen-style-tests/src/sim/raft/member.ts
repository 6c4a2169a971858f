import type { EntryRun, NodeId, RaftStatus, TraceEvent } from '@lockd/raft';
import { type LogStorage, LogStore, type NodeCondition, type OpenDriver, StorageError } from '@lockd/raft/node';
import { DurableLog, type SimulatedDisk } from '@lockd/raft/testing';
import type { Chance } from '../world/chance.ts';
import type { Counters } from '../world/counters.ts';
import { type ClockShape, SimulatedProcess } from '../world/process.ts';
import { diskOf } from '../world/process-disk.ts';
import { newDisk } from '../world/simulated-disk.ts';
import type { Trace } from '../world/trace.ts';
import type { World } from '../world/world.ts';
import type { RaftChecker } from './checker.ts';
import { tellTransition } from './transitions.ts';

/** What the members of one simulation share. */
export interface MemberSurroundings {
  readonly world: World;
  readonly trace: Trace;
  readonly counters: Counters;
  readonly checker: RaftChecker;
  readonly profile: { readonly syncMinUs: number; readonly syncMaxUs: number; readonly maxBlockBytes: number };
}

/** What a member draws from. */
export interface MemberChances {
  readonly disk: Chance;
  readonly node: Chance;
}

/** How a process ends: its machine tells the peers, it took its leave, or nobody is told. */
export type Ending = 'closed' | 'goodbye' | 'dark';

/** One member: its machine with a disk that outlives its processes, and the process that runs there now, if any. */
export abstract class Member {
  readonly id: NodeId;
  readonly #around: MemberSurroundings;
  readonly #chances: MemberChances;
  disk: SimulatedDisk;
  durable: DurableLog;
  /** Syncs take so much longer. */
  diskFactor = 1;
  #process: SimulatedProcess | undefined;
  #starts = 0;
  #isStopping = false;
  /** Started as one that is to be admitted, not as a founder. */
  #isJoining: boolean;
  #applied = 0;
  /** Of the log in memory, after the last thing that its core has reported. */
  #lastIndexBefore = 0;
  /** Called when a process ends by itself; the operator decides when it starts again. */
  onExit: (why: string) => void = () => undefined;
  /** Called when a process has ended, whatever ended it. */
  onEnd: () => void = () => undefined;

  /** `founders`: the first members of the cluster. */
  constructor(id: NodeId, founders: readonly NodeId[], around: MemberSurroundings, chances: MemberChances) {
    this.id = id;
    this.#isJoining = !founders.includes(id);
    this.#around = around;
    this.#chances = chances;
    this.disk = this.#newDisk();
    this.durable = this.#watchDisk();
  }

  /** Undefined while it does not run, or is only about to. */
  abstract get driver(): OpenDriver | undefined;

  get isUp(): boolean {
    return this.#process !== undefined;
  }

  get process(): SimulatedProcess | undefined {
    return this.#process;
  }

  get condition(): NodeCondition | 'down' | 'starting' {
    if (this.#process === undefined) return 'down';
    return this.driver?.condition() ?? 'starting';
  }

  get status(): RaftStatus | undefined {
    return this.driver?.status();
  }

  get isLeader(): boolean {
    return this.condition === 'serving' && this.status?.role === 'leader';
  }

  start(): void {
    if (this.#process !== undefined) return;
    const { world, profile } = this.#around;
    this.#starts += 1;
    const process = new SimulatedProcess(this.id, world, this.clockShape());
    this.#process = process;
    this.#isStopping = false;
    this.starting();
    this.say('starts', undefined, this.#starts);
    const storage = new LogStore(diskOf(process, this.disk.mount(), world), process.clock, {
      newInstanceId: () => `${this.id}-${this.#chances.node.below(1_000_000_000)}`,
      maxBlockBytes: profile.maxBlockBytes,
    });
    process.arrive(() => {
      world.touch();
      this.open(process, storage).catch((error: unknown) => {
        if (this.#process !== process) return;
        if (!(error instanceof StorageError)) world.fail(error);
        this.#around.counters.add('start failed');
        this.exit(`cannot start: ${String(error)}`);
      });
    });
  }

  /** The process is gone; what it wrote stays in the operating system's cache. */
  kill(): void {
    if (!this.#end('closed')) return;
    this.say('is killed');
    this.disk.kill();
  }

  /** The machine is gone dark: what was not synced may be lost. */
  losePower(): void {
    const before = this.durable.lastIndex;
    if (!this.#end('dark')) return;
    this.say('loses power');
    this.disk.losePower();
    const { counters } = this.#around;
    if (this.durable.lastIndex < this.#lastIndexBefore) counters.add('unsynced entries lost with the power');
    if (this.durable.lastIndex > before) counters.add('unsynced entries survived a loss of power');
  }

  /** SIGTERM. */
  stop(): void {
    const process = this.#process;
    if (process === undefined || this.driver === undefined || this.#isStopping) return;
    this.#isStopping = true;
    this.say('is told to stop');
    process.arrive(() => {
      const { world } = this.#around;
      world.touch();
      this.stopRunning().then(
        () => {
          if (this.#process !== process) return;
          this.#end('goodbye');
          this.say('has stopped');
          this.disk.kill();
          this.onExit('stopped');
        },
        (error: unknown) => {
          if (this.#process !== process) return;
          if (!(error instanceof StorageError)) world.fail(error);
          // What it still had to write could not be written: it ends like any process that exits.
          this.exit(`cannot stop cleanly: ${String(error)}`);
        },
      );
    });
  }

  /** Another, empty disk. The process must have ended. */
  wipe(): void {
    this.say('comes back with an empty disk');
    this.disk = this.#newDisk();
    this.durable = this.#watchDisk();
  }

  /** Another, empty disk, as an operator would replace it: the next start is told whom to join. The process must have ended. */
  replace(): void {
    this.#isJoining = true;
    this.wipe();
  }

  // What each kind of member does by itself -------------------------------------------------------------

  protected abstract clockShape(): ClockShape;
  /** Opens what runs here. Rejects where the storage cannot be used. */
  protected abstract open(process: SimulatedProcess, storage: LogStorage): Promise<void>;
  /** Ends in an orderly way what runs here. */
  protected abstract stopRunning(): Promise<void>;
  /** Its process has died: nobody reaches it any more. */
  protected abstract ended(process: SimulatedProcess, how: Ending): void;
  /** Its process is about to run. */
  protected starting(): void {}
  /** Its process is about to die. */
  protected ending(_how: Ending): void {}
  /** Entries have become durable. */
  protected stored(_run: EntryRun): void {}

  // For them --------------------------------------------------------------------------------------------

  protected get isJoining(): boolean {
    return this.#isJoining;
  }

  protected get starts(): number {
    return this.#starts;
  }

  protected get isStopping(): boolean {
    return this.#isStopping;
  }

  protected say(what: string, details?: () => string, first = 0, second = 0, third = 0): void {
    this.#around.trace.event(this.#around.world.nowUs, this.id, what, details, first, second, third);
  }

  /** What is found wrong ends the run, also where the code under test would catch it. */
  protected guarded(look: () => void): void {
    try {
      look();
    } catch (error) {
      this.#around.world.fail(error);
    }
  }

  /** Its core reports something: that is told, counted and judged. */
  protected observed(event: TraceEvent): void {
    const { checker, counters } = this.#around;
    tellTransition(event, this.#lastIndexBefore, (...said) => this.say(...said), counters);
    this.#lastIndexBefore = event.state.lastIndex;
    checker.observe(event);
  }

  /** It has found out whether it can take part, or says why not. */
  protected conditioned(condition: NodeCondition, reason: string): void {
    const { checker, counters } = this.#around;
    this.say('is', () => `${condition}${reason === '' ? '' : `: ${reason}`}`, condition.length);
    if (condition === 'damaged') {
      counters.add('damaged node refused');
      if (/rolled back/.test(reason)) counters.add('rolled-back directory refused');
      checker.refused(this.id, reason);
    } else if (condition === 'disk-full') counters.add('node left a full disk');
  }

  /** Its state machine is given an entry. */
  protected applied(index: number, term: number, entry: Uint8Array, chain: number): void {
    this.#around.checker.applied(this.id, this.#applied, index, term, entry, chain);
    this.#applied = index;
  }

  /** Its state machine is at the index of a snapshot now, or at the beginning. */
  protected restored(index: number, chain: number | undefined): void {
    this.guarded(() => this.#around.checker.restored(this.id, index, chain));
    this.#applied = index;
  }

  /** The process ends by itself. */
  protected exit(why: string): void {
    this.#end('closed');
    this.say('exits', () => why);
    this.disk.kill();
    this.onExit(why);
  }

  // ------------------------------------------------------------------------------------------------------

  #end(how: Ending): boolean {
    const process = this.#process;
    if (process === undefined) return false;
    const { status } = this;
    const { counters } = this.#around;
    if (how !== 'goodbye' && status !== undefined) {
      if (status.configuration.outgoing.length > 0) counters.add('crash inside a joint configuration');
      if (status.transferringTo !== undefined) counters.add('transfer lost midway');
    }
    this.ending(how);
    process.die();
    this.ended(process, how);
    this.#process = undefined;
    this.#applied = 0;
    this.onEnd();
    return true;
  }

  #newDisk(): SimulatedDisk {
    const { world, profile } = this.#around;
    const { disk } = this.#chances;
    return newDisk(world, disk, () => disk.between(profile.syncMinUs, profile.syncMaxUs) * this.diskFactor);
  }

  #watchDisk(): DurableLog {
    const { checker } = this.#around;
    const durable = new DurableLog(this.disk, (run, previousTerm) => {
      this.guarded(() => {
        checker.durableRun(this.id, run, previousTerm);
        this.stored(run);
      });
    });
    checker.newDirectory(this.id, durable);
    return durable;
  }
}

/** For the message of a failure. */
export function inWords(members: readonly Member[]): string {
  return members
    .map(({ id, condition, status }) => {
      const inside =
        status === undefined
          ? ''
          : ` ${status.role} term ${status.term} log ${status.lastIndex} committed ${status.commitIndex}`;
      return `${id} ${condition}${inside}`;
    })
    .join('; ');
}
