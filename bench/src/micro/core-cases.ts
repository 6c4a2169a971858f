import {
  ENTRY_KIND,
  type EntryRun,
  type LogIndex,
  type Message,
  type NodeId,
  nodeId,
  RaftNode,
  type Random,
  runOf,
  term,
  ZERO_INDEX,
  ZERO_TERM,
} from '@lockd/raft';
import type { MicroCase } from './harness.ts';

const ENTRY_BYTES = 64;
/** The log is cut after so many turns, so that a long run measures turns and not its own memory. */
const COMPACT_EVERY_TURNS = 500;

/**
 * Whole turns of a three-node group without IO: propose, replicate, make durable, commit, apply on all three. The
 * figure is the core's work of leader and both followers together.
 */
export function coreCases(): readonly MicroCase[] {
  return [1, 64].map((entriesPerTurn) => ({
    name: `raft core: replicate and commit on 3 nodes, ${entriesPerTurn} ${entriesPerTurn === 1 ? 'entry' : 'entries'} a turn, per entry`,
    prepare() {
      const group = new CoreGroup();
      group.elect();
      let turns = 0;
      return {
        run(operations) {
          let done = 0;
          for (; done < operations; done += entriesPerTurn) {
            group.commit(entriesPerTurn);
            if (++turns % COMPACT_EVERY_TURNS === 0) group.compact();
          }
          return done;
        },
      };
    },
  }));
}

class CoreGroup {
  readonly #nodes: ReadonlyMap<NodeId, RaftNode>;
  readonly #leader: RaftNode;
  #nowMs = 0;

  constructor() {
    const ids = ['n1', 'n2', 'n3'].map(nodeId);
    const configuration = { voters: ids, outgoing: [], learners: [], learnersNext: [], autoLeave: false };
    this.#nodes = new Map(
      ids.map((id, index) => [
        id,
        new RaftNode(
          {
            id,
            electionTimeoutMs: 500,
            heartbeatMs: 100,
            random: seededRandom(index + 1),
            maxInflightMessages: 8,
            maxInflightBytes: 1024 * 1024,
            maxAppendBytes: 256 * 1024,
            maxUncommittedBytes: 16 * 1024 * 1024,
            termStartPayload: () => new Uint8Array(1),
          },
          {
            hardState: { term: ZERO_TERM, votedFor: undefined, commitIndex: ZERO_INDEX },
            runs: [],
            snapshotIndex: ZERO_INDEX,
            snapshotTerm: ZERO_TERM,
            configuration,
            appliedIndex: ZERO_INDEX,
          },
          0,
        ),
      ]),
    );
    this.#leader = this.#nodes.get(nodeId('n1')) as RaftNode;
  }

  elect(): void {
    this.#nowMs += 10_000;
    this.#leader.step({ type: 'campaign' }, this.#nowMs);
    this.#pump();
    if (!this.#leader.status().isReady) throw new Error('raft core: no leader');
  }

  /** Throws unless the entries are committed and applied on all nodes, as far as those have heard. */
  commit(count: number): void {
    const run = commandRun(count);
    const result = this.#leader.propose(run.bytes, run.start, run.ends, this.#nowMs);
    if (result.type !== 'accepted') throw new Error(`raft core: proposal ${result.reason}`);
    this.#pump();
    const last = result.firstIndex + count - 1;
    if (this.#leader.status().appliedIndex < last) throw new Error('raft core: not committed');
  }

  compact(): void {
    for (const node of this.#nodes.values()) {
      const { appliedIndex, configuration } = node.status();
      const metadata = { index: appliedIndex, term: node.termAt(appliedIndex) ?? term(1), configuration };
      // A tail stays, so that a follower one message behind needs no snapshot.
      const compactTo = Math.max(0, appliedIndex - 1000) as LogIndex;
      node.step({ type: 'snapshot-created', metadata, compactTo }, this.#nowMs);
    }
  }

  /** Does all duties of all nodes until none is left: every write and apply is answered at once. */
  #pump(): void {
    for (let isBusy = true; isBusy; ) {
      isBusy = false;
      for (const node of this.#nodes.values()) {
        for (let ready = node.takeReady(); ready !== undefined; ready = node.takeReady()) {
          isBusy = true;
          for (const message of ready.messages) this.#deliver(message);
          const { persist, committed } = ready;
          if (persist !== undefined) {
            const { write, lastIndex } = persist;
            node.step({ type: 'persisted', write, term: persist.term, lastIndex }, this.#nowMs);
          }
          const last = committed.at(-1);
          if (last !== undefined) node.step({ type: 'applied', lastIndex: last.lastIndex }, this.#nowMs);
        }
      }
    }
  }

  #deliver(message: Message): void {
    this.#nodes.get(message.to)?.step({ type: 'receive', message }, this.#nowMs);
  }
}

function commandRun(count: number): EntryRun {
  const entry = new Uint8Array(ENTRY_BYTES);
  entry[0] = ENTRY_KIND.command;
  return runOf(
    1,
    term(1),
    Array.from({ length: count }, () => entry),
  );
}

/** xorshift32: any even spread will do, the same every time. */
function seededRandom(seed: number): Random {
  let state = seed;
  return (bound) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % bound;
  };
}
