import type { Configuration } from '../core/configuration.ts';
import type { LogIndex, NodeId } from '../core/ids.ts';
import { nodeId } from '../core/ids.ts';
import { configurationOf, NO_MEMBERS } from '../core/membership.ts';
import type { Message } from '../core/message.ts';
import type { RaftOptions } from '../core/options.ts';
import type { TraceEvent } from '../core/trace.ts';
import { bootstrappedDisk, CoreMember, type DurableState, emptyDisk, type StoredSnapshot } from './core-member.ts';
import { SafetyChecker } from './safety-checker.ts';
import { seededRandom } from './seeded-random.ts';
import { describeMessage } from './transcript.ts';

export interface CoreClusterOptions {
  readonly seed?: number;
  /** The configuration to start with, where it is not simply all of `names` as voters. */
  readonly configuration?: Configuration;
  /** Overrides of the options below. */
  readonly raft?: Partial<Omit<RaftOptions, 'id' | 'random' | 'trace'>>;
  /** Disks of members that do not start from the bootstrap configuration. */
  readonly disks?: Readonly<Record<string, DurableState>>;
}

/** The defaults of the product, but for the id and chance. */
export const DEFAULT_RAFT_OPTIONS: Omit<RaftOptions, 'id' | 'random'> = {
  electionTimeoutMs: 500,
  heartbeatMs: 100,
  maxInflightMessages: 8,
  maxInflightBytes: 1 << 20,
  maxAppendBytes: 256 << 10,
  maxUncommittedBytes: 16 << 20,
  termStartPayload: () => new Uint8Array(0),
};

/**
 * Members of the core, a network without delays, and a clock that the test moves: for scenarios that a person
 * can follow. Messages, writes and applies happen at once unless the test holds them. Safety is checked throughout.
 */
export class CoreCluster {
  nowMs = 0;
  /** A message for which this is true is lost. */
  lose: (message: Message) => boolean = () => false;
  /** A message for which this is true waits in `held` until `release`. */
  hold: (message: Message) => boolean = () => false;
  /** Whose writes and applies the test completes by hand. */
  readonly slowDisks: Set<string> = new Set<string>();
  readonly slowApplies: Set<string> = new Set<string>();
  held: Message[] = [];
  /** Every message that was sent and not lost, in order. */
  readonly delivered: Message[] = [];
  readonly trace: TraceEvent[] = [];
  readonly checker: SafetyChecker;
  readonly #members = new Map<string, CoreMember>();
  readonly #cut = new Set<string>();
  readonly #options: CoreClusterOptions;
  readonly #contents = new Map<string, StoredSnapshot>();

  constructor(names: readonly string[], options: CoreClusterOptions = {}) {
    this.#options = options;
    this.checker = new SafetyChecker((id) => this.#members.get(id));
    const configuration = options.configuration ?? configurationOf(names.map(nodeId));
    for (const name of names) this.#add(name, options.disks?.[name] ?? bootstrappedDisk(configuration));
  }

  member(name: string): CoreMember {
    const member = this.#members.get(name);
    if (member === undefined) throw new Error(`no member ${name}`);
    return member;
  }

  /** What was delivered since the last call, in a few words each. */
  transcript(): string[] {
    return this.delivered.splice(0).map(describeMessage);
  }

  get members(): readonly CoreMember[] {
    return [...this.#members.values()];
  }

  /** The one leader of the highest term, if any. */
  get leader(): CoreMember | undefined {
    let best: CoreMember | undefined;
    for (const member of this.#members.values()) {
      if (!member.isUp || member.node.status().role !== 'leader') continue;
      if (best === undefined || member.node.status().term > best.node.status().term) best = member;
    }
    return best;
  }

  /** A machine without a log, which knows no configuration. */
  addEmpty(name: string): CoreMember {
    return this.#add(name, emptyDisk(NO_MEMBERS));
  }

  /** Elects this member, and lets it commit its first entry. */
  elect(name: string): void {
    this.run();
    this.member(name).step({ type: 'campaign' }, this.nowMs);
    this.run();
    const { role } = this.member(name).node.status();
    if (role !== 'leader') throw new Error(`${name} is ${role}, not leader`);
    this.advance(DEFAULT_RAFT_OPTIONS.heartbeatMs);
  }

  propose(name: string, ...texts: readonly string[]): void {
    const result = this.member(name).propose(texts, this.nowMs);
    if (result.type === 'refused') throw new Error(`${name} refused: ${result.reason}`);
    this.run();
  }

  /** Cuts the links from `from` to `to`, one way. */
  cut(from: string, to: string): void {
    this.#cut.add(`${from} ${to}`);
  }

  /** Nobody in one group hears anybody of another. */
  partition(...groups: readonly (readonly string[])[]): void {
    this.heal();
    for (const group of groups) {
      for (const other of groups) {
        if (group === other) continue;
        for (const from of group) for (const to of other) this.cut(from, to);
      }
    }
  }

  /** Everybody else neither hears it nor is heard by it. */
  isolate(name: string): void {
    for (const other of this.#members.keys()) {
      this.cut(name, other);
      this.cut(other, name);
    }
  }

  heal(): void {
    this.#cut.clear();
  }

  crash(name: string, isWriteKept = false): void {
    this.member(name).crash(isWriteKept);
    this.checker.crashed(this.member(name));
  }

  restart(name: string): void {
    this.member(name).start(this.nowMs);
    this.run();
  }

  /** Everything that can happen without time passing. */
  run(): void {
    for (let isAny = true; isAny; ) {
      isAny = false;
      for (const member of this.#members.values()) if (this.#work(member)) isAny = true;
    }
    this.checker.check();
  }

  /** Lets time pass, a deadline at a time. */
  advance(byMs: number): void {
    const untilMs = this.nowMs + byMs;
    for (;;) {
      this.run();
      let nextMs = Infinity;
      for (const member of this.#members.values())
        if (member.isUp) nextMs = Math.min(nextMs, member.node.nextDeadlineMs());
      if (nextMs > untilMs) break;
      this.nowMs = Math.max(this.nowMs, nextMs);
      for (const member of this.#members.values())
        if (member.isUp && member.node.nextDeadlineMs() <= this.nowMs) member.step({ type: 'tick' }, this.nowMs);
    }
    this.nowMs = untilMs;
  }

  /** Delivers held messages, in order, that `which` is true for; all by default. */
  release(which: (message: Message) => boolean = () => true): void {
    const released = this.held.filter(which);
    this.held = this.held.filter((message) => !which(message));
    for (const message of released) this.deliver(message);
    this.run();
  }

  /** Gives a message to its receiver, if that is up, whatever stands between them. */
  deliver(message: Message): void {
    const member = this.#members.get(message.to);
    if (member === undefined || !member.isUp) return;
    this.delivered.push(message);
    if (message.type === 'snapshot-request') member.receivedSnapshot = this.#contents.get(contentKey(message.metadata));
    member.step({ type: 'receive', message }, this.nowMs);
  }

  #add(name: string, disk: DurableState): CoreMember {
    const { seed = 1, raft } = this.#options;
    const random = seededRandom(seed * 1000 + this.#members.size);
    const trace = (event: TraceEvent): void => {
      this.trace.push(event);
      this.checker.observe(event);
    };
    const member = new CoreMember(
      { ...DEFAULT_RAFT_OPTIONS, ...raft, id: nodeId(name), random, trace },
      disk,
      this.nowMs,
    );
    this.#members.set(name, member);
    return member;
  }

  #work(member: CoreMember): boolean {
    if (!member.isUp) return false;
    let isAny = member.pull();
    if (!this.slowDisks.has(member.id)) {
      if (member.completeWrite(this.nowMs)) isAny = true;
      if (member.completeInstall(this.nowMs)) isAny = true;
    }
    if (!this.slowApplies.has(member.id) && member.completeApply(this.nowMs)) isAny = true;
    for (const { to } of member.snapshotsToSend.splice(0)) this.#sendSnapshot(member, to);
    for (const message of member.outbox.splice(0)) this.#send(message);
    return isAny;
  }

  #send(message: Message): void {
    if (this.#cut.has(`${message.from} ${message.to}`) || this.lose(message)) return;
    if (this.hold(message)) this.held.push(message);
    else this.deliver(message);
  }

  #sendSnapshot(member: CoreMember, to: NodeId): void {
    const { snapshot } = member.disk;
    this.#contents.set(contentKey(snapshot.metadata), snapshot);
    const term = member.node.status().term;
    this.#send({ type: 'snapshot-request', from: member.id, to, term, metadata: snapshot.metadata });
    member.step({ type: 'snapshot-sent', peer: to, index: snapshot.metadata.index, ok: true }, this.nowMs);
  }
}

function contentKey({ index, term }: { readonly index: LogIndex; readonly term: number }): string {
  return `${index}/${term}`;
}
