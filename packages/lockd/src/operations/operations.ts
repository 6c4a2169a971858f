import type { AdminAnswer } from '@lockd/client/protocol';
import type { NodeId } from '@lockd/raft';
import type { Clock } from '../clock.ts';
import type { AppPayload } from '../peers/app-payload.ts';
import { AddMember, PromoteMember, RemoveMember } from './change-members.ts';
import { OPERATION_LIMITS } from './limits.ts';
import { listMembers } from './list-members.ts';
import { ASK_LEADER, type Cluster, type Operation, type OperationArguments, refused, type Step } from './operation.ts';
import { TransferLeader } from './transfer-leader.ts';

export interface OperationsDependencies {
  readonly clock: Clock;
  readonly cluster: Cluster;
  /** False: no link. */
  sendApp(to: NodeId, payload: AppPayload): boolean;
}

type Arguments = Readonly<Record<string, unknown>>;

/** To the node that asked: ask the next leader. */
interface AskAgain {
  readonly askLeader: true;
}

/** A request that came to this node, from a client or from a node that does not lead. */
interface Pending {
  readonly op: string;
  readonly args: Arguments;
  readonly endsMs: number;
  readonly answer: (answer: AdminAnswer | AskAgain) => void;
  /** It may be passed on to the leader: it came from a client. */
  readonly isOwn: boolean;
  operation: Operation | undefined;
  /** Asked of this leader under this number. */
  asked: { readonly leader: NodeId; readonly id: number } | undefined;
  isRepeated: boolean;
}

const NAME = /^[A-Za-z0-9._-]{1,64}$/;
const ADDRESS = /^(?:\[[0-9a-fA-F:.]+\]|[^:\s/[\]]+):\d{1,5}$/;

/**
 * What operators ask for, on any node: done here if this node leads, asked of the leader otherwise. Every operation can be
 * repeated without harm, so a request whose leader is lost goes to the next one.
 */
export class Operations {
  readonly #dependencies: OperationsDependencies;
  #pending: Pending[] = [];
  #nextId = 1;
  #cancelTimer: (() => void) | undefined;

  constructor(dependencies: OperationsDependencies) {
    this.#dependencies = dependencies;
  }

  /** From a client of this node. `answer` is called once. */
  request(op: string, args: Arguments, answer: (answer: AdminAnswer) => void): void {
    this.#add(op, args, (result) => answer(result as AdminAnswer), true);
  }

  onPayload(from: NodeId, payload: Extract<AppPayload, { readonly json: string }>): void {
    let content: unknown;
    try {
      content = JSON.parse(payload.json);
    } catch {
      // Nodes of this version do not send such a thing; without an answer the asking one gives up in its time.
      return;
    }
    if (payload.type === 'admin') {
      const { op, args } = content as { op: string; args: Arguments };
      const reply = (answer: AdminAnswer | AskAgain): void => {
        this.#dependencies.sendApp(from, { type: 'admin-answer', id: payload.id, json: JSON.stringify(answer) });
      };
      this.#add(op, args, reply, false);
    } else {
      const pending = this.#pending.find(({ asked }) => asked?.id === payload.id);
      if (pending === undefined) return;
      const answer = content as AdminAnswer | AskAgain;
      if ('askLeader' in answer) {
        pending.asked = undefined;
        pending.isRepeated = true;
      } else {
        this.#finish(pending, answer);
      }
    }
  }

  /** What was asked of that peer may be lost. */
  onPeerDown(peer: NodeId): void {
    for (const pending of this.#pending) {
      if (pending.asked?.leader !== peer) continue;
      pending.asked = undefined;
      pending.isRepeated = true;
    }
  }

  stop(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    for (const pending of [...this.#pending])
      this.#finish(pending, refused('stopping', 'this node is stopping: ask another one'));
  }

  #add(op: string, args: Arguments, answer: (answer: AdminAnswer | AskAgain) => void, isOwn: boolean): void {
    if (this.#pending.length >= OPERATION_LIMITS.maxPending) {
      answer(refused('busy', `${OPERATION_LIMITS.maxPending} operations are under way on this node: try again`));
      return;
    }
    const { clock, cluster } = this.#dependencies;
    if (!cluster.takesPart()) {
      answer(refused('no-leader', `${cluster.self} does not take part (see lockd status): ask another node`));
      return;
    }
    if (op === 'make-snapshot') {
      cluster.makeSnapshot();
      answer({ ok: true, name: cluster.self, appliedIndex: cluster.status().appliedIndex });
      return;
    }
    const endsMs = clock.nowMs() + OPERATION_LIMITS.timeoutMs;
    const isRepeated = args['repeated'] === true;
    this.#pending.push({ op, args, endsMs, answer, isOwn, operation: undefined, asked: undefined, isRepeated });
    this.#step();
  }

  #step(): void {
    for (const pending of [...this.#pending]) this.#stepOne(pending);
    if (this.#pending.length === 0 || this.#cancelTimer !== undefined) return;
    this.#cancelTimer = this.#dependencies.clock.after(OPERATION_LIMITS.stepMs, () => {
      this.#cancelTimer = undefined;
      this.#step();
    });
  }

  #stepOne(pending: Pending): void {
    const { clock, cluster } = this.#dependencies;
    if (pending.asked === undefined) {
      const step = this.#stepHere(pending);
      if (step !== undefined && step !== ASK_LEADER) {
        this.#finish(pending, step);
        return;
      }
      if (step === ASK_LEADER) {
        pending.isRepeated ||= pending.operation !== undefined;
        pending.operation = undefined;
        if (!pending.isOwn) {
          this.#finish(pending, { askLeader: true });
          return;
        }
        this.#askLeader(pending);
      }
    }
    if (clock.nowMs() < pending.endsMs) return;
    const { leader } = cluster.status();
    this.#finish(
      pending,
      pending.operation?.late() ??
        (leader === undefined
          ? refused('no-leader', 'nobody leads: see lockd status')
          : refused('unknown', `${leader} did not answer in time: look with lockd member list what came of it`)),
    );
  }

  #stepHere(pending: Pending): Step {
    const { cluster } = this.#dependencies;
    const { role, isReady } = cluster.status();
    if (pending.operation === undefined) {
      if (role !== 'leader' || !isReady) return ASK_LEADER;
      const begun = begin(cluster, pending.op, pending.args, pending.isRepeated);
      if ('ok' in begun) return begun;
      pending.operation = begun;
    }
    return pending.operation.step();
  }

  #askLeader(pending: Pending): void {
    const { leader } = this.#dependencies.cluster.status();
    if (leader === undefined || leader === this.#dependencies.cluster.self) return;
    const id = this.#nextId++;
    const args = pending.isRepeated ? { ...pending.args, repeated: true } : pending.args;
    const json = JSON.stringify({ op: pending.op, args });
    if (this.#dependencies.sendApp(leader, { type: 'admin', id, json })) pending.asked = { leader, id };
  }

  #finish(pending: Pending, answer: AdminAnswer | AskAgain): void {
    this.#pending = this.#pending.filter((other) => other !== pending);
    pending.answer(answer);
  }
}

/** The operation, or why there is none. */
function begin(cluster: Cluster, op: string, given: Arguments, isRepeated: boolean): Operation | AdminAnswer {
  const args: OperationArguments = {
    name: text(given['name']),
    peer: text(given['peer']),
    client: text(given['client']),
    force: given['force'] === true,
    isRepeated,
  };
  const { name, peer } = args;
  if (name !== undefined && !NAME.test(name))
    return refused('invalid', `${JSON.stringify(name)}: a name has up to 64 letters, digits, ".", "_" and "-"`);
  if (peer !== undefined && !ADDRESS.test(peer))
    return refused('invalid', `${JSON.stringify(peer)}: give HOST:PORT, such as 127.0.0.1:7201`);
  if (op === 'member-list') return listMembers(cluster);
  if (op === 'transfer-leader') return new TransferLeader(cluster, name as NodeId | undefined);
  const Change = { 'member-add': AddMember, 'member-promote': PromoteMember, 'member-remove': RemoveMember }[op];
  if (Change === undefined) return refused('unknown-operation', `this node knows no operation ${JSON.stringify(op)}`);
  if (name === undefined) return refused('invalid', 'say which member');
  return new Change(cluster, name as NodeId, args);
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
