import type { PlantedBug } from '../planted-bug.ts';

const REPLICA = 'raft/dist/core/replica';

/** What a log takes, keeps and commits. */
export const REPLICATION_BUGS: readonly PlantedBug[] = [
  {
    name: 'earlier-term-counted',
    row: 15,
    what: 'entries of earlier terms commit by counting replicas (figure 8)',
    edits: [
      {
        module: 'raft/dist/core/roles/leader',
        find: 'if (index <= commitIndex || log.termAt(index) !== term)',
        replace: 'if (index <= commitIndex)',
      },
    ],
    shownBy: { world: 'raft', seed: 1 },
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
    shownBy: { world: 'raft', seed: 1 },
  },
  {
    name: 'conflict-keeps-tail',
    row: 17,
    what: 'a conflict is replaced, and what follows it stays',
    edits: [
      {
        module: 'raft/dist/core/node-state',
        find: 'this.log.truncateFrom(run.firstIndex); } this.log.append(run);',
        replace: `const tail = run.lastIndex < this.log.lastIndex ? this.log.runsBetween(run.lastIndex + 1, this.log.lastIndex) : [];
            this.log.truncateFrom(run.firstIndex);
            this.log.append(run);
            for (const rest of tail) this.log.append(rest);
        } else this.log.append(run);`,
      },
    ],
    shownBy: { world: 'raft', seed: 3 },
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
    shownBy: { world: 'raft', seed: 2 },
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
    shownBy: { world: 'raft', seed: 10 },
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
    shownBy: { world: 'raft', seed: 1 },
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
    shownBy: { world: 'raft', seed: 17 },
  },
];
