import type { PlantedBug } from './planted-bug.ts';
import { SERVICE_BUGS } from './service-bugs.ts';

const RAFT_NODE = 'raft/dist/core/raft-node';
const NODE_STATE = 'raft/dist/core/node-state';
const ELECTION = 'raft/dist/core/election';
const LEADER = 'raft/dist/core/roles/leader';
const REPLICA = 'raft/dist/core/replica';
const READ_INDEX = 'raft/dist/core/read-index';
const LOG_STORE = 'raft/dist/node/log-store';
const BLOCK_LIST = 'raft/dist/node/block-list';

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    name: 'vote-before-durable',
    row: 1,
    what: 'a vote is answered before it is on disk',
    edits: [
      {
        module: RAFT_NODE,
        find: "state.sendWhenDurable({ type: 'vote-response', from: id, to, term, preVote, granted: true });",
        replace: "state.send({ type: 'vote-response', from: id, to, term, preVote, granted: true });",
      },
    ],
    seed: 1,
  },
  {
    name: 'own-vote-forgotten',
    row: 2,
    what: 'a candidate does not store its own vote',
    edits: [
      {
        module: NODE_STATE,
        find: 'return { term: this.#term, votedFor: this.#votedFor, commitIndex: this.#commitIndex };',
        replace:
          'return { term: this.#term, votedFor: this.#votedFor === this.id ? undefined : this.#votedFor, commitIndex: this.#commitIndex };',
      },
    ],
    seed: 1,
  },
  {
    name: 'vote-reset-on-step-down',
    row: 3,
    what: 'stepping down within a term clears the vote',
    edits: [
      { module: RAFT_NODE, find: 'if (term > state.term) state.enterTerm(term);', replace: 'state.enterTerm(term);' },
      { module: NODE_STATE, find: 'invariant(term > this.#term, `term ${term} after ${this.#term}`);', replace: '' },
    ],
    seed: 1,
  },
  {
    name: 'duplicate-vote-counted',
    row: 4,
    what: 'the same vote counts as often as it arrives',
    edits: [
      {
        module: ELECTION,
        find: 'if (!this.#votes.has(voter))',
        replace: 'if (granted) this.count = (this.count ?? 0) + 1;\n if (!this.#votes.has(voter))',
      },
      {
        module: ELECTION,
        find: 'return quorumVote(configuration, (node) => this.#votes.get(node));',
        replace:
          "return (this.count ?? 0) * 2 > configuration.voters.length ? 'won' : quorumVote(configuration, (node) => this.#votes.get(node));",
      },
    ],
    seed: 43,
  },
  {
    name: 'earlier-term-counted',
    row: 15,
    what: 'entries of earlier terms commit by counting replicas (figure 8)',
    edits: [
      {
        module: LEADER,
        find: 'if (index <= commitIndex || log.termAt(index) !== term)',
        replace: 'if (index <= commitIndex)',
      },
    ],
    seed: 1,
  },
  {
    name: 'late-append-truncates',
    row: 16,
    what: 'an old append drops newer entries that were acknowledged',
    edits: [
      {
        module: REPLICA,
        find: 'const conflict = log.findConflict(runs);',
        replace: 'const conflict = runs[0]?.firstIndex;',
      },
    ],
    seed: 1,
  },
  {
    name: 'conflict-keeps-tail',
    row: 17,
    what: 'a conflict is replaced, and what follows it stays',
    edits: [
      {
        module: NODE_STATE,
        find: 'this.log.truncateFrom(run.firstIndex); } this.log.append(run);',
        replace: `const tail = run.lastIndex < this.log.lastIndex ? this.log.runsBetween(run.lastIndex + 1, this.log.lastIndex) : [];
            this.log.truncateFrom(run.firstIndex);
            this.log.append(run);
            for (const rest of tail) this.log.append(rest);
        } else this.log.append(run);`,
      },
    ],
    seed: 3,
  },
  {
    name: 'commit-beyond-verified',
    row: 18,
    what: 'a heartbeat or an append commits what it has not verified',
    edits: [
      {
        module: 'raft/dist/core/replication',
        find: 'const known = progress.match < commitIndex ? progress.match : commitIndex;',
        replace: 'const known = commitIndex;',
      },
      {
        module: REPLICA,
        find: 'if (message.commitIndex > lastIndex) {',
        replace: 'state.commitTo(min(message.commitIndex, lastIndex)); if (message.commitIndex < 0) {',
      },
      {
        module: REPLICA,
        find: 'state.commitTo(message.commitIndex); state.send',
        replace: 'state.send',
      },
      {
        module: REPLICA,
        find: 'state.commitTo(min(message.commitIndex, lastOfMessage));',
        replace: 'state.commitTo(min(message.commitIndex, log.lastIndex));',
      },
    ],
    seed: 1,
  },
  {
    name: 'purged-point-is-conflict',
    row: 19,
    what: 'an append before the compacted part counts as a conflict, and the log is dropped',
    edits: [
      {
        module: REPLICA,
        find: 'const isShared = message.previousIndex <= state.commitIndex || log.hasPoint(message.previousIndex, message.previousTerm);',
        replace: `const isShared = log.hasPoint(message.previousIndex, message.previousTerm);
    if (!isShared && message.previousIndex < log.baseIndex) log.truncateFrom(log.baseIndex + 1);`,
      },
    ],
    seed: 10,
  },
  {
    name: 'commit-without-quorum',
    row: 20,
    what: 'half of the voters commit an entry',
    edits: [
      {
        module: 'raft/dist/core/quorum',
        find: 'return sorted[count - (Math.floor(count / 2) + 1)];',
        replace: 'return sorted[count - Math.max(1, Math.floor(count / 2))];',
      },
    ],
    seed: 1,
  },
  {
    name: 'late-write-acknowledges',
    row: 22,
    what: 'the end of a write counts for entries that have replaced what it wrote',
    edits: [
      {
        module: 'raft/dist/core/log',
        find: 'if (index > this.#stableIndex && index < this.#unwrittenFrom && this.hasPoint(index, term))',
        replace: 'if (index > this.#stableIndex && index <= this.#lastIndex)',
      },
      {
        module: 'raft/dist/core/write-lane',
        find: 'if (message.term === term) send(message);',
        replace: 'send(message);',
      },
    ],
    seed: 7,
  },
  {
    name: 'term-written-after-log',
    row: 23,
    what: 'term and vote are written after the entries, and nobody waits for them',
    edits: [
      {
        module: LOG_STORE,
        find: "operations.push({ type: 'put', key: KEYS.hardState, value: encodeHardState(duty.hardState) });",
        replace:
          "setLater = () => database.batch([{ type: 'put', key: KEYS.hardState, value: encodeHardState(duty.hardState) }], { sync: true });",
      },
      {
        module: LOG_STORE,
        find: 'const [first] = duty.runs;',
        replace: 'let setLater; const [first] = duty.runs;',
      },
      {
        module: LOG_STORE,
        find: 'if (operations.length === 0) return; await database.batch(operations, { sync: true });',
        replace: 'if (operations.length > 0) await database.batch(operations, { sync: true }); setLater?.();',
      },
    ],
    seed: 1,
  },
  {
    name: 'superseded-members-kept',
    row: 26,
    what: 'an installed snapshot does not bring its configuration',
    edits: [
      {
        module: NODE_STATE,
        find: 'this.#setConfiguration(metadata.configuration);',
        replace: 'if (this.#configuration.voters.length === 0) this.#setConfiguration(metadata.configuration);',
      },
    ],
    seed: 39,
  },
  {
    name: 'snapshot-named-before-durable',
    row: 29,
    what: 'the log names a snapshot whose file is not durable yet',
    edits: [
      {
        module: LOG_STORE,
        find: 'await this.#file.commit(); await this.#name(this.#byteLength, this.#hash.value(), options.replaceLog);',
        replace:
          'await this.#name(this.#byteLength, this.#hash.value(), options.replaceLog); await this.#file.commit();',
      },
    ],
    seed: 26,
  },
  {
    name: 'read-before-first-commit',
    row: 31,
    what: 'a new leader answers reads before it has committed an entry of its term',
    edits: [
      {
        module: READ_INDEX,
        find: 'this.#index = commitIndex > termStartIndex ? commitIndex : termStartIndex;',
        replace: 'this.#index = commitIndex;',
      },
      {
        module: LEADER,
        find: 'return this.#state.commitIndex >= this.#termStartIndex ? this.#state.reads.take() : undefined;',
        replace: 'return this.#state.reads.take();',
      },
      {
        module: 'raft/dist/node/driver',
        find: 'if (!status.isReady) return; let confirmed;',
        replace: 'let confirmed;',
      },
    ],
    seed: 3,
  },
  {
    name: 'acknowledged-before-sync',
    row: 39,
    what: 'a write is acknowledged before it is synced',
    edits: [
      {
        module: LOG_STORE,
        find: 'await database.batch(operations, { sync: true }); const { lastIndex, lastTerm } = list;',
        replace: 'await database.batch(operations, { sync: false }); const { lastIndex, lastTerm } = list;',
      },
    ],
    seed: 1,
  },
  {
    name: 'bit-rot-unnoticed',
    row: 42,
    what: 'checksums of blocks are not looked at',
    edits: [
      {
        module: 'raft/dist/node/block-codec',
        find: 'if (!equalBytes(digest, bytes.subarray(body.length)))',
        replace: 'if (bytes.length < 0)',
      },
      {
        module: BLOCK_LIST,
        find: 'if (block.previousTerm !== previous.run.term || !equalBytes(block.previousDigest, previous.digest))',
        replace: 'if (block.previousTerm !== previous.run.term)',
      },
    ],
    seed: 5,
  },
  {
    name: 'blocks-left-above-truncation',
    row: undefined,
    what: 'a block that replaces others leaves their keys above it',
    edits: [
      {
        module: BLOCK_LIST,
        find: "if (dropped > first.firstIndex) operations.push({ type: 'del', key: blockKey(dropped) });",
        replace: '',
      },
    ],
    seed: 3,
  },
  {
    name: 'older-copy-unnoticed',
    row: 24,
    what: 'a data directory that was rolled back to an older copy is let in',
    edits: [
      {
        module: 'raft/dist/node/peer-identities',
        find: 'if (seen !== undefined && seen.incarnation > incarnation)',
        replace: 'if (incarnation < 0)',
      },
      {
        module: 'raft/dist/node/peer-identities',
        find: 'if (seen !== undefined && isOfAnotherCopy(seen, identity))',
        replace: 'if (incarnation < 0)',
      },
    ],
    seed: 112,
  },
  {
    name: 'emptied-directory-takes-part',
    row: 27,
    what: 'a member whose disk was emptied founds and votes under its old name',
    edits: [
      {
        module: 'raft/dist/node/peer-identities',
        find: 'if (registered !== undefined && registered !== instanceId && !mayBeLater)',
        replace: 'if (incarnation < 0)',
      },
      {
        module: 'raft/dist/node/peer-identities',
        find: 'if (registered === undefined && known !== undefined &&',
        replace: 'if (incarnation < 0 && known !== undefined &&',
      },
      {
        module: 'raft/dist/node/join',
        find: 'if (refusing !== undefined)',
        replace: 'if (refusing !== undefined && this.#initialCluster.length === 0)',
      },
      { module: 'raft/dist/node/join', find: 'if (used !== undefined)', replace: 'if (nowMs < 0)' },
      {
        module: 'raft/dist/node/join',
        find: 'if (isMajority && isSettled)',
        replace: 'if (isSettled)',
      },
    ],
    seed: 11,
  },
  {
    name: 'snapshot-beside-its-state',
    row: 30,
    what: 'entries are applied between the naming of a snapshot and the reading of its state',
    edits: [
      {
        module: 'raft/dist/node/snapshots',
        find: 'const metadata = { index: applied.index, term: applied.term, configuration: status.configuration };',
        replace:
          'const metadata = { index: applied.index - 1, term: applied.term, configuration: status.configuration };',
      },
    ],
    seed: 1,
  },
  {
    name: 'failed-sync-ignored',
    row: 40,
    what: 'a sync that failed is taken for one that did its work',
    edits: [
      {
        module: LOG_STORE,
        find: 'await database.batch(operations, { sync: true }); const { lastIndex, lastTerm } = list;',
        replace:
          'await database.batch(operations, { sync: true }).catch(() => undefined); const { lastIndex, lastTerm } = list;',
      },
    ],
    seed: 1,
  },
  ...SERVICE_BUGS,
];
