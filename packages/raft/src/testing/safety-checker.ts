import { type LogIndex, logIndex, type NodeId } from '../core/ids.ts';
import { isVoter } from '../core/membership.ts';
import { quorumVote } from '../core/quorum.ts';
import type { TraceEvent, TraceState } from '../core/trace.ts';
import type { CoreMember, StoredEntry } from './core-member.ts';

/** A promise of Raft (figure 3) was broken. */
export class SafetyViolation extends Error {
  override readonly name = 'SafetyViolation';
}

interface Committed extends StoredEntry {
  readonly inTerm: number;
}

/**
 * Watches a whole cluster for what must never happen (figure 3): two leaders in a term, logs that share a point and
 * differ before it, a leader without a committed entry, different entries applied at an index, a commit that no
 * quorum has on disk, a vote or an acknowledged term taken back.
 */
export class SafetyChecker {
  readonly #memberOf: (id: string) => CoreMember | undefined;
  readonly #leaders = new Map<number, NodeId>();
  /** Every entry ever seen: its bytes and the term before it are a function of index and term. */
  readonly #entries = new Map<string, { readonly bytes: Uint8Array; readonly previousTerm: number }>();
  readonly #committed: (Committed | undefined)[] = [];
  readonly #votes = new Map<string, NodeId>();
  readonly #pending: TraceEvent[] = [];
  /** How far a member's committed entries were compared, since it started. */
  readonly #checkedTo = new Map<NodeId, number>();

  constructor(memberOf: (id: string) => CoreMember | undefined) {
    this.#memberOf = memberOf;
  }

  get committedCount(): number {
    return this.#committed.length;
  }

  /** Give it every trace event. It looks at logs at once, and throws `SafetyViolation`. */
  observe(event: TraceEvent): void {
    const { state } = event;
    const member = this.#memberOf(state.node);
    // While a member is being constructed it cannot be looked at yet.
    if (member === undefined || event.type === 'start' || !member.isUp) return;
    if (event.type === 'role' && state.role === 'leader') this.#becameLeader(member, state.term);
    else if (event.type === 'append') this.#appended(member, event.from, state.lastIndex);
    else if (event.type === 'commit') this.#pending.push(event);
    else if (
      event.type === 'send' &&
      event.message.type === 'vote-response' &&
      event.message.granted &&
      !event.message.preVote
    ) {
      this.#voted(state.node, event.message.term, event.message.to);
    } else if (event.type === 'send' && event.message.type === 'vote-request' && !event.message.preVote) {
      this.#voted(state.node, event.message.term, state.node);
    }
  }

  /** Looks at what was committed and applied since the last call. */
  check(): void {
    for (const event of this.#pending.splice(0)) {
      const member = this.#memberOf(event.state.node);
      if (member?.isUp === true) this.#reachedCommit(member, event);
    }
  }

  /** Forgets nothing: what was seen from a member before it crashed must hold after it. */
  crashed(member: CoreMember): void {
    this.#checkedTo.delete(member.id);
    for (let index = this.#pending.length - 1; index >= 0; index -= 1)
      if (this.#pending[index]?.state.node === member.id) this.#pending.splice(index, 1);
  }

  /** Everything applied anywhere is the committed sequence. */
  checkApplied(member: CoreMember): void {
    for (let index = 1; index <= member.applied.length; index += 1)
      this.#same(
        index,
        member.applied[index - 1],
        this.#committed[index],
        `${member.id} applied another entry at ${index}`,
      );
  }

  #becameLeader(member: CoreMember, term: number): void {
    const other = this.#leaders.get(term);
    if (other !== undefined && other !== member.id)
      throw new SafetyViolation(`election safety: ${other} and ${member.id} lead in term ${term}`);
    this.#leaders.set(term, member.id);
    const { baseIndex } = member.node;
    for (let index = baseIndex + 1; index < this.#committed.length; index += 1) {
      const entry = this.#committed[index];
      if (entry !== undefined && entry.inTerm < term && member.node.termAt(logIndex(index)) !== entry.term) {
        throw new SafetyViolation(
          `leader completeness: ${member.id} leads term ${term} without entry ${index} of term ${entry.term}, committed in term ${entry.inTerm}`,
        );
      }
    }
  }

  #appended(member: CoreMember, from: LogIndex, to: LogIndex): void {
    let previousTerm = member.node.termAt(logIndex(from - 1));
    for (const run of member.node.entriesBetween(from, to)) {
      for (let index = run.firstIndex; index <= run.lastIndex; index = (index + 1) as LogIndex) {
        const key = `${index}/${run.term}`;
        const known = this.#entries.get(key);
        if (known === undefined) this.#entries.set(key, { bytes: run.entry(index), previousTerm: previousTerm ?? -1 });
        else if (!sameBytes(known.bytes, run.entry(index)) || known.previousTerm !== previousTerm) {
          throw new SafetyViolation(
            `log matching: ${member.id} has another entry ${index} of term ${run.term}, or another one before it`,
          );
        }
        previousTerm = run.term;
      }
    }
  }

  #voted(voter: NodeId, term: number, candidate: NodeId): void {
    const key = `${voter} ${term}`;
    const other = this.#votes.get(key);
    if (other !== undefined && other !== candidate)
      throw new SafetyViolation(`one vote a term: ${voter} voted for ${other} and ${candidate} in term ${term}`);
    this.#votes.set(key, candidate);
  }

  #reachedCommit(member: CoreMember, event: TraceEvent): void {
    const { commitIndex, term } = event.state;
    const first = Math.max(member.node.baseIndex, this.#checkedTo.get(member.id) ?? 0) + 1;
    this.#checkedTo.set(member.id, commitIndex);
    for (let index = first; index <= commitIndex; index += 1) {
      const known = this.#committed[index];
      const entryTerm = member.node.termAt(logIndex(index));
      if (entryTerm === undefined) continue;
      if (known === undefined) {
        const run = member.node.entriesBetween(logIndex(index), logIndex(index))[0];
        if (run === undefined) continue;
        this.#committed[index] = { term: entryTerm, bytes: run.entry(logIndex(index)), inTerm: term };
        this.#onQuorum(event.state, index, entryTerm);
      } else if (known.term !== entryTerm) {
        throw new SafetyViolation(
          `state machine safety: ${member.id} committed entry ${index} of term ${entryTerm}, but it was of term ${known.term}`,
        );
      }
    }
  }

  /** Judged on disks, and by the configuration that the leader counted with. */
  #onQuorum({ configuration, role, node: leader }: TraceState, index: number, entryTerm: number): void {
    if (role !== 'leader' || !isVoter(configuration, leader)) return;
    const result = quorumVote(configuration, (node) => {
      const other = this.#memberOf(node);
      return other !== undefined && other.durableEntry(index)?.term === entryTerm;
    });
    if (result !== 'won')
      throw new SafetyViolation(
        `durable commit: ${leader} committed entry ${index} of term ${entryTerm} without a quorum of disks`,
      );
  }

  #same(index: number, left: StoredEntry | undefined, right: StoredEntry | undefined, message: string): void {
    if (left === undefined || right === undefined || index === 0) return;
    if (left.term !== right.term || !sameBytes(left.bytes, right.bytes))
      throw new SafetyViolation(`state machine safety: ${message}`);
  }
}

function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, position) => byte === right[position]);
}
