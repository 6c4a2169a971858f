import type { EntryRun, LogIndex, NodeId, TraceEvent } from '@lockd/raft';
import type { LogStorage, NodeCondition, OpenDriver } from '@lockd/raft/node';
import { decodeCommand, type LockTable, NodeService, OP, type ServiceEnvironment, silentLogger } from 'lockd/service';
import { type Ending, Member, type MemberSurroundings } from '../raft/member.ts';
import type { Chance } from '../world/chance.ts';
import type { ClockShape, SimulatedProcess } from '../world/process.ts';
import type { Internet, Party } from './internet.ts';
import { ObservedMachine } from './observed-machine.ts';
import type { ServiceProfile } from './profile.ts';
import type { Truth } from './truth.ts';

type LogFields = Parameters<ServiceEnvironment['log']['error']>[1];

/** What the nodes of one simulation share. */
export interface NodeSurroundings extends MemberSurroundings {
  readonly internet: Internet;
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

function addressesOf(ids: readonly string[]): ReadonlyMap<string, string> {
  return new Map(ids.map((id) => [id, peerAddressOf(id)]));
}

/** A member that is a whole node. */
export class ServiceNode extends Member {
  readonly #founders: readonly NodeId[];
  readonly #clockChance: Chance;
  readonly #nodeChance: Chance;
  readonly #around: NodeSurroundings;
  readonly #ratePpm: number;
  /** Entries that end sessions, by index: the term of each. */
  readonly #storedEnds = new Map<number, number>();
  #service: NodeService | undefined;

  /** `founders`: the first members of the cluster. */
  constructor(id: NodeId, founders: readonly NodeId[], around: NodeSurroundings) {
    const nodeChance = around.nodeChance.split(id);
    super(id, founders, around, { disk: around.diskChance.split(id), node: nodeChance });
    this.#founders = founders;
    this.#around = around;
    this.#clockChance = around.clockChance.split(id);
    this.#nodeChance = nodeChance;
    const { driftPpm } = around.profile;
    this.#ratePpm = driftPpm === 0 ? 0 : this.#clockChance.between(-driftPpm, driftPpm);
  }

  get service(): NodeService | undefined {
    return this.#service;
  }

  get driver(): OpenDriver | undefined {
    return this.#service?.driver;
  }

  protected override clockShape(): ClockShape {
    return { originMs: this.#clockChance.below(1_000_000), ratePpm: this.#ratePpm };
  }

  protected override starting(): void {
    this.#around.internet.lit(this.id);
  }

  protected override async open(process: SimulatedProcess, storage: LogStorage): Promise<void> {
    const { world, profile, internet } = this.#around;
    const nodeChance = this.#nodeChance;
    const others = this.#founders.filter((id) => id !== this.id);
    const party: Party = { host: this.id, process, usesPromises: false };
    const { clock } = process;
    const service = await NodeService.open(
      {
        name: this.id,
        dataDir: '/simulated',
        initialCluster: addressesOf(this.isJoining ? [] : this.#founders),
        join: this.isJoining ? addressesOf(others) : undefined,
        electionTimeoutMs: profile.electionTimeoutMs,
        heartbeatMs: profile.heartbeatMs,
        snapshotMinBytes: profile.snapshotMinBytes,
      },
      {
        log: {
          ...silentLogger,
          info: (text) => this.#log(process, text),
          warn: (text) => this.#log(process, text),
          error: (text, fields) => this.#complain(process, text, fields),
        },
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
        pid: this.starts,
        onFatal: (reason) => world.in(0, () => this.process === process && this.exit(reason)),
        tuning: {
          minFreeBytes: 1_000,
          // Time stands still in a turn: one chunk in each, so that the state changes while it is read.
          snapshotSliceBytes: 1,
          snapshotRatio: 1,
          keepLogBytes: 0,
          raft: {
            maxAppendBytes: profile.maxAppendBytes,
            trace: (event) => {
              if (this.process === process) this.guarded(() => this.#onTransition(event));
            },
          },
        },
        observe: (machine, table) => this.#observe(machine, table),
      },
    );
    if (this.process !== process) return;
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
  }

  protected override stopRunning(): Promise<void> {
    return this.#service?.stop('SIGTERM') ?? Promise.resolve();
  }

  #observe(machine: ConstructorParameters<typeof ObservedMachine>[0], table: LockTable): ObservedMachine {
    const { checker, truth } = this.#around;
    return new ObservedMachine(machine, table, {
      applies: (index, term, entry, chain) =>
        this.guarded(() => {
          this.applied(index, term, entry, chain);
          truth.applies(index, term, entry);
        }),
      compare: (index, stateHash) => this.guarded(() => truth.compare(this.id, index, stateHash)),
      restored: (index) => {
        const chain = checker.chainAt(index);
        this.restored(index, chain);
        return chain;
      },
    });
  }

  #onTransition(event: TraceEvent): void {
    const { state } = event;
    this.observed(event);
    if (event.type === 'role' && state.role === 'leader') this.#lookForOldEnds(state.commitIndex, state.lastIndex);
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
    if (this.process === process) this.say('says', () => text, text.length);
  }

  /** A node that does not take part says so, and why. */
  #complain(process: SimulatedProcess, text: string, fields: LogFields = {}): void {
    if (this.process !== process) return;
    const { condition, reason } = fields;
    if (typeof condition !== 'string') this.#log(process, text);
    else this.guarded(() => this.conditioned(condition as NodeCondition, String(reason ?? '')));
  }

  protected override ending(): void {
    this.takeCounters();
  }

  protected override ended(process: SimulatedProcess, how: Ending): void {
    const { internet } = this.#around;
    const isDark = how === 'dark';
    internet.ended(process, isDark ? 'dark' : 'closed');
    if (isDark) internet.wentDark(this.id);
    this.#service = undefined;
  }

  protected override stored(run: EntryRun): void {
    for (let index: number = run.firstIndex; index <= run.lastIndex; index += 1) {
      const entry = run.entry(index as LogIndex);
      // The version, then an array of the operation and its fields: looked at only where it may be an end.
      const command = entry[0] === 1 && entry.length < 40 ? decodeCommand(entry, 1) : undefined;
      if (command?.[0] !== OP.endSession) continue;
      this.#storedEnds.set(index, run.term);
      this.#around.onEndStored(this, command[1]);
    }
  }

  /** What the running process has counted: before it ends, and at the end of a run. */
  takeCounters(): void {
    this.#around.counters.add('renewal waiting when its expiry was proposed', this.#service?.heldBackRenewals ?? 0);
  }
}
