import type { ConfigurationChange } from '../../src/core/configuration.ts';
import { type NodeId, nodeId } from '../../src/core/ids.ts';
import { configurationOf, NO_MEMBERS } from '../../src/core/membership.ts';
import type { Message } from '../../src/core/message.ts';
import type { Random } from '../../src/core/options.ts';
import type { PersistDuty } from '../../src/core/ready.ts';
import type { TraceEvent } from '../../src/core/trace.ts';
import { DEFAULT_RAFT_OPTIONS } from '../../src/testing/core-cluster.ts';
import { bootstrappedDisk, CoreMember, emptyDisk, type StoredSnapshot } from '../../src/testing/core-member.ts';
import { SafetyChecker, SafetyViolation } from '../../src/testing/safety-checker.ts';
import { seededRandom } from '../../src/testing/seeded-random.ts';
import { describeMessage } from '../../src/testing/transcript.ts';

/** A fault that Raft does not tolerate, planted around the unchanged core: the run must then fail. */
export interface Sabotage {
  /** The node hears that this write is durable although it is not. */
  readonly acknowledgesEarly?: (write: PersistDuty, member: CoreMember) => boolean;
  /** What is stored in place of the write. */
  readonly stores?: (write: PersistDuty, member: CoreMember) => PersistDuty;
  /** What arrives in place of the message. */
  readonly delivers?: (message: Message, cluster: RandomCluster) => readonly Message[];
  /** Called before the message is stepped: may tamper with the member. */
  readonly beforeStep?: (message: Message, member: CoreMember, cluster: RandomCluster) => void;
  /** Reads are served at the commit index of whoever believes to lead. */
  readonly servesReadsAtOnce?: boolean;
}

export interface RandomClusterOptions {
  readonly seed: number;
  readonly sabotage?: Sabotage;
  readonly changesMembers?: boolean;
}

/** A run has some 10,000. Far more means that something answers itself for ever. */
const MAX_STEPS = 300_000;

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

/**
 * A cluster under random faults: delays, losses, duplicates, crashes that lose what was not synced, partitions,
 * snapshots, transfers, changes of members. Everything follows from the seed. `run` throws a `SafetyViolation` where
 * Raft's promises are broken, also where the cluster does not recover once it is healed.
 */
export class RandomCluster {
  nowMs = 0;
  readonly checker: SafetyChecker;
  readonly members: CoreMember[] = [];
  readonly lastEvents: string[] = [];
  proposed = 0;
  readsServed = 0;
  readonly #names: readonly string[];
  readonly #random: Random;
  readonly #options: RandomClusterOptions;
  readonly #contents = new Map<string, StoredSnapshot>();
  readonly #pendingReads: {
    readonly member: CoreMember;
    readonly term: number;
    readonly round: number;
    readonly atLeast: number;
  }[] = [];
  readonly #writesOut = new Set<string>();
  #events: Event[] = [];
  #order = 0;
  #steps = 0;
  #isFaulty = true;
  #groups = new Map<string, number>();
  #lossPercent = 0;
  #delayMs = 1;
  #writeMs = 1;

  constructor(options: RandomClusterOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.checker = new SafetyChecker((id) => this.members.find((member) => member.id === id));
    this.#names =
      options.changesMembers === true
        ? ['a', 'b', 'c', 'd', 'e']
        : this.#random(2) === 0
          ? ['a', 'b', 'c']
          : ['a', 'b', 'c', 'd', 'e'];
    const voters = options.changesMembers === true ? ['a', 'b', 'c'] : this.#names;
    const configuration = configurationOf(voters.map(nodeId));
    for (const name of this.#names) {
      const disk = voters.includes(name) ? bootstrappedDisk(configuration) : emptyDisk(NO_MEMBERS);
      const small = this.#random(2) === 0;
      const trace = (event: TraceEvent): void => {
        this.#note(event);
        this.checker.observe(event);
      };
      const raft = {
        ...DEFAULT_RAFT_OPTIONS,
        id: nodeId(name),
        random: seededRandom(this.#random(1 << 30)),
        trace,
        maxInflightMessages: small ? 2 : 8,
        maxAppendBytes: small ? 16 : 1_000,
      };
      this.members.push(new CoreMember(raft, disk, 0));
    }
  }

  member(name: string): CoreMember {
    const member = this.members.find((candidate) => candidate.id === name);
    if (member === undefined) throw new Error(`no member ${name}`);
    return member;
  }

  /** A faulty phase, then a healed one in which everything must come right. */
  run(faultyMs: number): void {
    this.#after(this.#random(100), () => this.#fault());
    this.#after(this.#random(50), () => this.#work());
    this.#runUntil(faultyMs);
    this.#heal();
    this.#runUntil(faultyMs + 8_000);
    this.#checkLiveness();
    for (const member of this.members) this.checker.checkApplied(member);
  }

  // ------------------------------------------------------------------------------------------------ events

  #after(delayMs: number, run: () => void): void {
    this.#order += 1;
    this.#events.push({ atMs: this.nowMs + delayMs, order: this.#order, run });
  }

  #runUntil(untilMs: number): void {
    for (;;) {
      for (const member of this.members) this.#collect(member);
      this.checker.check();
      let next: Event | undefined;
      for (const event of this.#events) {
        if (next === undefined || event.atMs < next.atMs || (event.atMs === next.atMs && event.order < next.order))
          next = event;
      }
      let ticking: CoreMember | undefined;
      let tickMs = next?.atMs ?? Infinity;
      for (const member of this.members) {
        if (member.isUp && member.node.nextDeadlineMs() < tickMs) {
          ticking = member;
          tickMs = member.node.nextDeadlineMs();
        }
      }
      if (tickMs > untilMs) break;
      this.#steps += 1;
      if (this.#steps > MAX_STEPS) throw new SafetyViolation(`liveness: ${MAX_STEPS} events by ${this.nowMs} ms`);
      this.nowMs = Math.max(this.nowMs, tickMs);
      if (ticking !== undefined) ticking.step({ type: 'tick' }, this.nowMs);
      else if (next !== undefined) {
        this.#events = this.#events.filter((event) => event !== next);
        next.run();
      }
    }
    this.nowMs = untilMs;
  }

  /** Turns what a member owes into events. */
  #collect(member: CoreMember): void {
    if (!member.isUp) return;
    member.pull();
    if (member.forgotten !== undefined)
      throw new SafetyViolation(`durability: ${member.id} forgot what it acknowledged`);
    this.#collectWrite(member);
    if (member.toApply.length > 0) this.#whileUp(member, this.#random(this.#delayMs), () => this.#apply(member));
    for (const message of member.outbox.splice(0)) this.send(message);
    for (const { to } of member.snapshotsToSend.splice(0)) this.#sendSnapshot(member, to);
    for (const { round, index } of member.reads.splice(0)) this.#serveReads(member, round, index);
  }

  #collectWrite(member: CoreMember): void {
    const { write, install } = member;
    const key = `${member.id} ${write === undefined ? `install ${install?.index}` : write.write}`;
    if ((write === undefined && install === undefined) || this.#writesOut.has(key)) return;
    this.#writesOut.add(key);
    const isEarly = write !== undefined && this.#options.sabotage?.acknowledgesEarly?.(write, member) === true;
    this.#whileUp(member, 1 + this.#random(this.#writeMs), () => {
      this.#writesOut.delete(key);
      if (write === undefined) {
        member.completeInstall(this.nowMs);
        return;
      }
      member.write = this.#options.sabotage?.stores?.(write, member) ?? write;
      member.storeWrite();
      const ack = { type: 'persisted', write: write.write, term: write.term, lastIndex: write.lastIndex } as const;
      if (!isEarly) this.#whileUp(member, this.#random(3), () => member.step(ack, this.nowMs));
    });
    if (isEarly) {
      member.step({ type: 'persisted', write: write.write, term: write.term, lastIndex: write.lastIndex }, this.nowMs);
    }
  }

  #apply(member: CoreMember): void {
    member.completeApply(this.nowMs);
  }

  /** The event is lost with the process. */
  #whileUp(member: CoreMember, delayMs: number, run: () => void): void {
    const node = member.node;
    this.#after(delayMs, () => {
      if (member.isUp && member.node === node) run();
    });
  }

  // ------------------------------------------------------------------------------------------------ network

  send(message: Message): void {
    for (const sent of this.#options.sabotage?.delivers?.(message, this) ?? [message]) {
      const copies = this.#isFaulty && this.#random(100) < 5 ? 2 : 1;
      for (let copy = 0; copy < copies; copy += 1) {
        if (this.#isFaulty && this.#random(100) < this.#lossPercent) continue;
        this.#after(1 + this.#random(this.#delayMs), () => this.#deliver(sent));
      }
    }
  }

  #deliver(message: Message): void {
    const member = this.member(message.to);
    if (!member.isUp || this.#groups.get(message.from) !== this.#groups.get(message.to)) return;
    if (message.type === 'snapshot-request') {
      if (member.install !== undefined) return;
      const content = this.#contents.get(`${message.metadata.index}/${message.metadata.term}`);
      if (content === undefined) return;
      member.receivedSnapshot = content;
    }
    this.#options.sabotage?.beforeStep?.(message, member, this);
    if (member.isUp) member.step({ type: 'receive', message }, this.nowMs);
  }

  #sendSnapshot(member: CoreMember, to: NodeId): void {
    const { metadata } = member.disk.snapshot;
    this.#contents.set(`${metadata.index}/${metadata.term}`, member.disk.snapshot);
    this.send({ type: 'snapshot-request', from: member.id, to, term: member.node.status().term, metadata });
    const ok = this.#random(4) > 0;
    this.#whileUp(member, this.#random(50), () =>
      member.step({ type: 'snapshot-sent', peer: to, index: metadata.index, ok }, this.nowMs),
    );
  }

  // ------------------------------------------------------------------------------------------------ workload

  #work(): void {
    if (!this.#isFaulty) return;
    const member = this.#any();
    if (member.isUp && member.node.status().role === 'leader') {
      const texts: string[] = [];
      for (let count = 1 + this.#random(3); count > 0; count -= 1) texts.push(`${(this.proposed += 1)}`);
      member.propose(texts, this.nowMs);
      this.read(member);
      if (this.#random(40) === 0 && this.#options.changesMembers === true)
        member.node.proposeConfiguration(this.#changes(), this.nowMs);
      if (this.#random(60) === 0) member.step({ type: 'transfer-leadership', to: undefined }, this.nowMs);
    }
    this.#after(this.#random(10), () => this.#work());
  }

  #changes(): ConfigurationChange[] {
    const types = ['add-voter', 'add-voter', 'add-learner', 'remove'] as const;
    return Array.from({ length: 1 + this.#random(3) }, () => ({ type: types[this.#random(4)]!, node: this.#any().id }));
  }

  read(member: CoreMember): void {
    const atLeast = this.checker.committedCount - 1;
    if (this.#options.sabotage?.servesReadsAtOnce === true) {
      this.#checkRead(member, member.node.status().commitIndex, atLeast);
      return;
    }
    const result = member.node.requestRead(this.nowMs);
    if (result.type === 'round')
      this.#pendingReads.push({ member, term: member.node.status().term, round: result.round, atLeast });
  }

  #serveReads(member: CoreMember, round: number, index: number): void {
    const { term } = member.node.status();
    for (let position = this.#pendingReads.length - 1; position >= 0; position -= 1) {
      const read = this.#pendingReads[position]!;
      if (read.member !== member || read.term !== term || read.round > round) continue;
      this.#checkRead(member, index, read.atLeast);
      this.#pendingReads.splice(position, 1);
    }
  }

  #checkRead(member: CoreMember, index: number, atLeast: number): void {
    this.readsServed += 1;
    if (index < atLeast)
      throw new SafetyViolation(
        `linearizable reads: ${member.id} reads at ${index}, but ${atLeast} was committed before`,
      );
  }

  // ------------------------------------------------------------------------------------------------ faults

  #fault(): void {
    if (!this.#isFaulty) return;
    const member = this.#any();
    switch (this.#random(9)) {
      case 0:
      case 1:
        this.#crash(member);
        break;
      case 2:
        for (const name of this.#names) this.#groups.set(name, this.#random(2));
        break;
      case 3:
        this.#groups = new Map([[member.id, 1]]);
        break;
      case 4:
      case 5:
        this.#groups.clear();
        this.#lossPercent = [0, 0, 5, 20][this.#random(4)]!;
        this.#delayMs = [1, 5, 40, 200][this.#random(4)]!;
        this.#writeMs = [1, 5, 60][this.#random(3)]!;
        break;
      case 6:
        if (member.isUp) member.createSnapshot(this.nowMs, this.#random(5));
        break;
      case 7:
        if (member.isUp) member.step({ type: 'link-closed', peer: this.#any().id }, this.nowMs);
        break;
      default:
        if (member.isUp) member.step({ type: this.#random(2) === 0 ? 'campaign' : 'abdicate' }, this.nowMs);
    }
    this.#after(this.#random(400), () => this.#fault());
  }

  #crash(member: CoreMember): void {
    if (!member.isUp) return;
    const isWriteKept = this.#random(2) === 0;
    if (isWriteKept && member.write !== undefined)
      member.write = this.#options.sabotage?.stores?.(member.write, member) ?? member.write;
    this.crash(member, isWriteKept);
    this.#after(this.#random(1_500), () => this.#restart(member));
  }

  crash(member: CoreMember, isWriteKept: boolean): void {
    member.crash(isWriteKept);
    this.checker.crashed(member);
    for (const key of this.#writesOut) if (key.startsWith(`${member.id} `)) this.#writesOut.delete(key);
    for (let position = this.#pendingReads.length - 1; position >= 0; position -= 1) {
      if (this.#pendingReads[position]?.member === member) this.#pendingReads.splice(position, 1);
    }
  }

  #restart(member: CoreMember): void {
    if (!member.isUp) member.start(this.nowMs);
  }

  #heal(): void {
    this.#isFaulty = false;
    this.#groups.clear();
    this.#lossPercent = 0;
    this.#delayMs = 2;
    this.#writeMs = 2;
    for (const member of this.members) this.#restart(member);
  }

  #checkLiveness(): void {
    const leaders = this.members.filter((member) => member.node.status().isReady);
    const leader = leaders[0];
    if (leader === undefined || leaders.length > 1)
      throw new SafetyViolation(`liveness: ${leaders.length} ready leaders after healing`);
    if (leader.propose(['last'], this.nowMs).type === 'refused')
      throw new SafetyViolation('liveness: the leader refuses after healing');
    this.#runUntil(this.nowMs + 1_000);
    const { configuration, commitIndex } = leader.node.status();
    for (const name of [...configuration.voters, ...configuration.outgoing, ...configuration.learners]) {
      const member = this.member(name);
      if (member.node.status().appliedIndex !== commitIndex) {
        throw new SafetyViolation(
          `liveness: ${name} has applied ${member.node.status().appliedIndex} of ${commitIndex} after healing`,
        );
      }
    }
    if (leader.appliedCommands().at(-1) !== 'last')
      throw new SafetyViolation('liveness: the last command did not commit');
  }

  #any(): CoreMember {
    return this.members[this.#random(this.members.length)]!;
  }

  #note(event: TraceEvent): void {
    const { node, role, term, commitIndex, lastIndex } = event.state;
    const message = event.type === 'send' || event.type === 'receive' ? ` ${describeMessage(event.message)}` : '';
    this.lastEvents.push(
      `${this.nowMs} ${node} ${role} t${term} c${commitIndex} l${lastIndex} ${event.type}${message}`,
    );
    if (this.lastEvents.length > 200) this.lastEvents.shift();
  }
}
