import type { PlantedBug } from '../planted-bug.ts';

const RAFT_NODE = 'raft/dist/core/raft-node';
const NODE_STATE = 'raft/dist/core/node-state';
const ELECTION = 'raft/dist/core/election';

/** Votes and leaders. */
export const ELECTIONS_BUGS: readonly PlantedBug[] = [
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
    shownBy: { world: 'raft', seed: 1 },
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
    shownBy: { world: 'raft', seed: 1 },
  },
  {
    name: 'vote-reset-on-step-down',
    row: 3,
    what: 'stepping down within a term clears the vote',
    edits: [
      { module: RAFT_NODE, find: 'if (term > state.term) state.enterTerm(term);', replace: 'state.enterTerm(term);' },
      { module: NODE_STATE, find: 'invariant(term > this.#term, `term ${term} after ${this.#term}`);', replace: '' },
    ],
    shownBy: { world: 'raft', seed: 1 },
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
    shownBy: { world: 'raft', seed: 57 },
  },
];
