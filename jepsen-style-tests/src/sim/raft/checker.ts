import {
  type Configuration,
  decodeConfiguration,
  ENTRY_KIND,
  type EntryRun,
  type LogIndex,
  type Message,
  type NodeId,
  quorumVote,
  sameVoters,
  type TraceEvent,
  type TraceState,
} from '@lockd/raft';
import type { DurableLog } from '@lockd/raft/testing';
import { Violation } from '../world/violation.ts';
import { fingerprint } from './list-machine.ts';

/** What is known of one node. `directory` outlives processes; a wiped node has a new one. */
interface Watched {
  readonly name: NodeId;
  durable: DurableLog;
  directory: number;
  process: number;
  /** After the last event of the running process; undefined before its first. */
  state: TraceState | undefined;
  /** Terms of the log in memory, by index; 0 where the log does not keep the entry. */
  terms: number[];
  /** What this directory has acknowledged to a leader: the term of each entry. */
  acknowledged: number[];
  /** What directories under this name had acknowledged that were lost on purpose: leaders may still count on it. */
  lost: readonly (readonly number[])[];
  /** The latest term, and the vote in it, that this directory has let others know. */
  promisedTerm: number;
  promisedVote: NodeId | undefined;
  /** What it holds was spoilt on purpose: it may refuse, it may not forget without saying so. */
  isSpoilt: boolean;
  /** It is an older copy of what it was, and everybody who might answer knows: it may promise nothing. */
  isRolledBack: boolean;
}

interface CommittedEntry {
  readonly term: number;
  /** The term of the leader that committed it first. */
  readonly inTerm: number;
}

const TERMS_MAX = 65_536;

/**
 * What must hold of a Raft cluster at every moment (figure 3 and what an implementation adds to it), judged from the
 * nodes' traces, from what is on their disks, and from what their state machines are given.
 */
export class RaftChecker {
  readonly #nodes = new Map<string, Watched>();
  readonly #leaders = new Map<number, string>();
  readonly #votes = new Map<string, NodeId>();
  /** By index and term: what the entry is, and the term of the entry before it. */
  readonly #entries = new Map<number, { readonly print: number; readonly previousTerm: number }>();
  readonly #committed: (CommittedEntry | undefined)[] = [];
  readonly #chains: number[] = [];
  /** Committed configurations in the order of their indexes, once some node has applied them. */
  readonly #configurations: { readonly index: number; readonly configuration: Configuration }[] = [];

  readonly #storedConfigurations = new Map<
    number,
    { readonly index: number; readonly term: number; readonly configuration: Configuration }
  >();

  /** The last entry known to be committed. */
  get committedIndex(): number {
    return Math.max(0, this.#committed.length - 1);
  }

  committedTerm(index: number): number | undefined {
    return this.#committed[index]?.term;
  }

  /** The running number of everything applied up to `index`. */
  chainAt(index: number): number | undefined {
    return index === 0 ? 0 : this.#chains[index];
  }

  get configuration(): Configuration | undefined {
    return this.#configurations.at(-1)?.configuration;
  }

  /**
   * Every configuration that may count: the last one applied anywhere, the one before it until it is confirmed (a node
   * that starts again believes the last only where a later entry proves it), and those on any disk that may come after it.
   */
  possibleConfigurations(): readonly Configuration[] {
    const last = this.#configurations.at(-1);
    const previous = this.#configurations.at(-2);
    const isConfirmed =
      last === undefined || previous === undefined || sameVoters(last.configuration, previous.configuration);
    const open = [...this.#storedConfigurations.values()].filter(({ index, term }) => {
      if (last !== undefined && index <= last.index) return false;
      const committed = this.#committed[index];
      return committed === undefined || committed.term === term;
    });
    return [...(isConfirmed ? [] : [previous]), ...(last === undefined ? [] : [last]), ...open].map(
      ({ configuration }) => configuration,
    );
  }

  /** Every cluster begins with the same entry, committed by definition. */
  founded(): void {
    this.#committed[1] = { term: 1, inTerm: 1 };
  }

  /** A directory of its own for the node. */
  newDirectory(name: NodeId, durable: DurableLog): void {
    const known = this.#nodes.get(name);
    this.#nodes.set(name, {
      name,
      durable,
      directory: (known?.directory ?? 0) + 1,
      process: known?.process ?? 0,
      state: undefined,
      terms: [],
      acknowledged: [],
      lost: known === undefined ? [] : [...known.lost, known.acknowledged],
      promisedTerm: 0,
      promisedVote: undefined,
      isSpoilt: false,
      isRolledBack: false,
    });
  }

  spoilt(name: string): void {
    const node = this.#node(name);
    node.isSpoilt = true;
  }

  /** The directory was replaced by an older copy of it. */
  rolledBack(name: NodeId): void {
    this.newDirectory(name, this.#node(name).durable);
    const node = this.#node(name);
    node.isSpoilt = true;
    node.isRolledBack = true;
  }

  newProcess(name: string): void {
    const node = this.#node(name);
    node.process += 1;
    node.state = undefined;
  }

  /** Every block as it becomes durable on any disk. */
  durableRun(name: string, run: EntryRun, termBefore: number): void {
    let previousTerm = termBefore;
    for (let index: number = run.firstIndex; index <= run.lastIndex; index += 1) {
      const entry = run.entry(index as LogIndex);
      const print = fingerprint(entry);
      const key = index * TERMS_MAX + run.term;
      const known = this.#entries.get(key);
      if (known === undefined) {
        this.#entries.set(key, { print, previousTerm });
        const configuration =
          entry[0] === ENTRY_KIND.configuration ? decodeConfiguration(entry.subarray(1)) : undefined;
        if (configuration !== undefined) this.#storedConfigurations.set(key, { index, term: run.term, configuration });
      } else if (known.print !== print || known.previousTerm !== previousTerm)
        throw new Violation(
          'log matching',
          `${name} stores another entry ${index} of term ${run.term}, or another one before it`,
        );
      previousTerm = run.term;
    }
  }

  /** Every transition of every node, at once. */
  observe(event: TraceEvent): void {
    const { state } = event;
    const node = this.#node(state.node);
    // Also where a process begins again by itself, after its disk was full.
    if (event.type === 'start') this.newProcess(node.name);
    this.#monotonic(node, state);
    switch (event.type) {
      case 'start':
        this.#started(node, state);
        break;
      case 'role':
        if (state.role === 'leader') this.#becameLeader(node, state);
        this.#configured(state);
        break;
      case 'append':
        this.#truncated(node, event.from, state);
        node.terms.length = Math.min(node.terms.length, event.from);
        while (node.terms.length < event.from) node.terms.push(0);
        while (node.terms.length <= state.lastIndex) node.terms.push(event.entryTerm);
        break;
      case 'commit':
        this.#advancedCommit(node, node.state?.commitIndex ?? 0, state);
        break;
      case 'snapshot':
        node.terms = [];
        break;
      case 'configuration':
        this.#configured(state);
        break;
      case 'send':
        this.#sent(node, event, state);
        break;
      case 'receive':
      case 'durable':
        break;
    }
    node.state = state;
  }

  /** An entry is given to a state machine. */
  applied(name: string, lastApplied: number, index: number, term: number, entry: Uint8Array, chain: number): void {
    if (index !== lastApplied + 1)
      throw new Violation('state machine safety', `${name} applies entry ${index} after ${lastApplied}`);
    const known = this.#chains[index];
    if (known === undefined) {
      if (this.#committed[index]?.term !== term)
        throw new Violation(
          'state machine safety',
          `${name} applies entry ${index} of term ${term}, which nobody committed`,
        );
      this.#chains[index] = chain;
      if (entry[0] === ENTRY_KIND.configuration) {
        const configuration = decodeConfiguration(entry.subarray(1));
        if (configuration === undefined) throw new Violation('configurations', `entry ${index} does not decode`);
        this.#configurations.push({ index, configuration });
      }
    } else if (known !== chain) {
      throw new Violation(
        'state machine safety',
        `${name} applied another entry at ${index}, or another one before it`,
      );
    }
  }

  /** The state of a machine is that of a snapshot now. `chain`: of everything up to `index`, as the snapshot has it. */
  restored(name: string, index: number, chain: number | undefined): void {
    if (chain === undefined || this.chainAt(index) !== chain)
      throw new Violation('state machine safety', `${name} restored a snapshot at ${index} that nobody's log leads to`);
  }

  /** A node says that its directory is damaged. */
  refused(name: string, reason: string): void {
    if (!this.#node(name).isSpoilt) throw new Violation('durability', `${name} finds its directory damaged: ${reason}`);
  }

  /** The node's log has every committed entry up to `index`. */
  hasAll(name: string, index: number): boolean {
    const { durable } = this.#node(name);
    for (let at = 1; at <= index; at += 1) {
      const entry = this.#committed[at];
      if (entry !== undefined && !durable.hasCommitted(at, entry.term)) return false;
    }
    return true;
  }

  #node(name: string): Watched {
    const node = this.#nodes.get(name);
    if (node === undefined) throw new Error(`nobody watches ${name}`);
    return node;
  }

  #monotonic(node: Watched, state: TraceState): void {
    const before = node.state;
    if (before === undefined) return;
    if (state.term < before.term)
      throw new Violation('monotonic terms', `${node.name} went from term ${before.term} back to ${state.term}`);
    if (state.commitIndex < before.commitIndex)
      throw new Violation(
        'monotonic commit',
        `${node.name} went from commit index ${before.commitIndex} back to ${state.commitIndex}`,
      );
    if (state.lastIndex < state.commitIndex)
      throw new Violation(
        'committed entries stay',
        `${node.name} has a log up to ${state.lastIndex}, and committed up to ${state.commitIndex}`,
      );
    if (state.appliedIndex < before.appliedIndex)
      throw new Violation(
        'monotonic apply',
        `${node.name} went from applied index ${before.appliedIndex} back to ${state.appliedIndex}`,
      );
    if (state.term === before.term && before.votedFor !== undefined && state.votedFor !== before.votedFor)
      throw new Violation(
        'one vote a term',
        `${node.name} took back its vote for ${before.votedFor} in term ${state.term}`,
      );
  }

  /** A leader never takes back what it has appended, so nobody drops an entry of the term it is in (§5.3). */
  #truncated(node: Watched, from: number, state: TraceState): void {
    for (let index = from; index < node.terms.length; index += 1) {
      if (node.terms[index] === state.term)
        throw new Violation(
          'leader append-only',
          `${node.name} drops entry ${index} of term ${state.term}, in which it is`,
        );
    }
  }

  /** What the directory has promised is still there. */
  #started(node: Watched, state: TraceState): void {
    const { durable, name } = node;
    if (state.term < node.promisedTerm)
      throw new Violation(
        'durability',
        `${name} came back in term ${state.term}, having spoken in term ${node.promisedTerm}`,
      );
    if (state.term === node.promisedTerm && node.promisedVote !== undefined && state.votedFor !== node.promisedVote)
      throw new Violation(
        'durability',
        `${name} came back without its vote for ${node.promisedVote} in term ${state.term}`,
      );
    for (const [index, term] of node.acknowledged.entries()) {
      if (
        term !== undefined &&
        term !== 0 &&
        this.#committed[index]?.term === term &&
        !durable.hasCommitted(index, term)
      )
        throw new Violation(
          'durability',
          `${name} came back without entry ${index} of term ${term}, which it had acknowledged`,
        );
    }
    node.terms = [];
    for (let index = 0; index <= state.lastIndex; index += 1) node.terms.push(durable.termAt(index) ?? 0);
    this.#advancedCommit(node, 0, { ...state, role: 'follower' });
  }

  #becameLeader(node: Watched, state: TraceState): void {
    const { term } = state;
    const self = `${node.name}, start ${node.process}`;
    const other = this.#leaders.get(term);
    if (other !== undefined && other !== self)
      throw new Violation('election safety', `${other} and ${self} lead in term ${term}`);
    this.#leaders.set(term, self);
    for (let index = 1; index < this.#committed.length; index += 1) {
      const entry = this.#committed[index];
      if (entry === undefined || entry.inTerm >= term || this.#has(node, index, entry.term)) continue;
      throw new Violation(
        'leader completeness',
        `${node.name} leads term ${term} without entry ${index} of term ${entry.term}, committed in term ${entry.inTerm}`,
      );
    }
  }

  /** In the log in memory, or in the part that a snapshot replaced. */
  #has(node: Watched, index: number, term: number): boolean {
    const own = node.terms[index];
    if (own === undefined) return index <= node.durable.snapshotIndex && node.terms.length === 0;
    return own === term || (own === 0 && index <= node.durable.snapshotIndex);
  }

  #advancedCommit(node: Watched, from: number, state: TraceState): void {
    const lastTerm = node.terms[state.commitIndex] ?? 0;
    if (state.role === 'leader' && lastTerm !== 0 && lastTerm !== state.term)
      throw new Violation(
        'commit',
        `${node.name} commits entry ${state.commitIndex} of term ${lastTerm} by counting, as leader of term ${state.term} (figure 8)`,
      );
    for (let index = from + 1; index <= state.commitIndex; index += 1) {
      const term = node.terms[index];
      const known = this.#committed[index];
      if (term === undefined || term === 0) continue;
      if (known !== undefined) {
        if (known.term !== term)
          throw new Violation(
            'committed entries stay',
            `${node.name} committed entry ${index} of term ${term}, but it was committed with term ${known.term}`,
          );
      } else if (state.role !== 'leader') {
        throw new Violation(
          'commit',
          `${node.name} takes entry ${index} of term ${term} for committed, and no leader has committed it`,
        );
      } else {
        this.#committed[index] = { term, inTerm: state.term };
        this.#onQuorum(node, state.configuration, index, term);
      }
    }
  }

  /** Judged on disks, by the configuration that the leader counts with. */
  #onQuorum(node: Watched, configuration: Configuration, index: number, term: number): void {
    const result = quorumVote(configuration, (name) => {
      const member = this.#nodes.get(name);
      return (
        member !== undefined &&
        (member.durable.hasCommitted(index, term) || member.lost.some((acknowledged) => acknowledged[index] === term))
      );
    });
    if (result !== 'won')
      throw new Violation(
        'durable commit',
        `${node.name} committed entry ${index} of term ${term}, which no quorum has on disk`,
      );
  }

  #configured(state: TraceState): void {
    // Before the first configuration entry is applied the bootstrap configuration holds, which is the same.
    const expected = this.#configurations.findLast(({ index }) => index <= state.appliedIndex)?.configuration;
    if (expected === undefined || state.appliedIndex === 0) return;
    const isSame = JSON.stringify(expected) === JSON.stringify(state.configuration);
    if (!isSame)
      throw new Violation(
        'configurations',
        `${state.node} works with ${JSON.stringify(state.configuration)} at index ${state.appliedIndex}, not with ${JSON.stringify(expected)}`,
      );
  }

  /** Promises are true, and durable, when they are made. */
  #sent(node: Watched, event: Extract<TraceEvent, { type: 'send' }>, state: TraceState): void {
    const { message } = event;
    const { durable, name } = node;
    if (node.isRolledBack && isPromise(message))
      throw new Violation(
        'rolled-back directories',
        `${name}, whose directory was rolled back, takes part in term ${message.term}: ${message.type} to ${message.to}`,
      );
    if (message.type === 'vote-response' && message.granted && !message.preVote)
      this.#voted(node, message.term, message.to);
    else if (message.type === 'vote-request' && !message.preVote) {
      this.#voted(node, message.term, name);
      if (durable.lastIndex < message.lastLogIndex)
        throw new Violation(
          'durable promises',
          `${name} campaigns with a log up to ${message.lastLogIndex}, of which ${durable.lastIndex} is durable`,
        );
    } else if (message.type === 'append-response' && message.success) {
      // What it says of a log that another term's leader may have replaced meanwhile is not known to be true.
      if (message.term !== state.term)
        throw new Violation(
          'durable promises',
          `${name} acknowledges up to ${message.matchIndex} for term ${message.term}, being in term ${state.term}`,
        );
      for (let index: number = message.matchIndex; index > 0; index -= 1) {
        const term = node.terms[index] ?? 0;
        if (term === 0 || node.acknowledged[index] === term) break;
        if (durable.termAt(index) !== term && index > durable.snapshotIndex)
          throw new Violation(
            'durable promises',
            `${name} acknowledges entry ${index} of term ${term}, which is not on its disk`,
          );
        while (node.acknowledged.length < index) node.acknowledged.push(0);
        node.acknowledged[index] = term;
      }
      this.#promise(node, state.term);
    }
  }

  #voted(node: Watched, term: number, candidate: NodeId): void {
    const key = `${node.name} ${node.directory} ${term}`;
    const other = this.#votes.get(key);
    if (other !== undefined && other !== candidate)
      throw new Violation('one vote a term', `${node.name} voted for ${other} and for ${candidate} in term ${term}`);
    this.#votes.set(key, candidate);
    const { hardState } = node.durable;
    const isDurable =
      hardState !== undefined &&
      (hardState.term > term || (hardState.term === term && hardState.votedFor === candidate));
    if (!isDurable)
      throw new Violation(
        'durable promises',
        `${node.name} votes for ${candidate} in term ${term}, which is not on its disk`,
      );
    this.#promise(node, term);
    node.promisedVote = candidate;
  }

  #promise(node: Watched, term: number): void {
    if (term <= node.promisedTerm) return;
    node.promisedTerm = term;
    node.promisedVote = undefined;
  }
}

/** Others rely on it. */
function isPromise(message: Message): boolean {
  switch (message.type) {
    case 'vote-response':
      return message.granted && !message.preVote;
    case 'vote-request':
      return !message.preVote;
    case 'append-response':
      return message.success;
    default:
      return false;
  }
}
