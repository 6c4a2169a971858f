import type { Edit } from '../edit.ts';
import type { PlantedBug } from '../planted-bug.ts';

const READ_INDEX = 'raft/dist/core/read-index';

/** Rounds are confirmed, and reads answered, before the first entry of a leader's term is committed. */
export const READS_BEFORE_TERM_START: readonly Edit[] = [
  {
    module: READ_INDEX,
    find: 'this.#index = commitIndex > termStartIndex ? commitIndex : termStartIndex;',
    replace: 'this.#index = commitIndex;',
  },
  {
    module: 'raft/dist/core/roles/leader',
    find: 'return this.#state.commitIndex >= this.#termStartIndex ? this.#state.reads.take() : undefined;',
    replace: 'return this.#state.reads.take();',
  },
  {
    module: 'raft/dist/node/turn-loop',
    find: 'if (!status.isReady) return; let confirmed;',
    replace: 'let confirmed;',
  },
];

/** Reads without the log. */
export const READS_BUGS: readonly PlantedBug[] = [
  {
    name: 'read-before-first-commit',
    row: 31,
    what: 'a new leader answers reads before it has committed an entry of its term',
    edits: READS_BEFORE_TERM_START,
    shownBy: { world: 'raft', seed: 11 },
  },
  {
    name: 'late-answer-confirms-round',
    row: 32,
    what: 'an answer to an earlier round of reads confirms the one that is under way',
    edits: [
      {
        module: READ_INDEX,
        find: 'if (!this.#isUnderWay || round < this.#started) return;',
        replace: 'if (!this.#isUnderWay) return;',
      },
    ],
    shownBy: { world: 'raft', seed: 2, faults: ['leader wakes up out of reach'] },
  },
];
