import type { PlantedBug } from '../planted-bug.ts';

/** Snapshots, and members that come back with less. */
export const SNAPSHOTS_BUGS: readonly PlantedBug[] = [
  {
    name: 'superseded-members-kept',
    row: 26,
    what: 'an installed snapshot does not bring its configuration',
    edits: [
      {
        module: 'raft/dist/core/node-state',
        find: 'this.#setConfiguration(metadata.configuration);',
        replace: 'if (this.#configuration.voters.length === 0) this.#setConfiguration(metadata.configuration);',
      },
    ],
    shownBy: { world: 'raft', seed: 43 },
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
    shownBy: { world: 'raft', seed: 17, faults: ['wiped directory', 'kill of the leader'] },
  },
  {
    name: 'snapshot-named-before-durable',
    row: 29,
    what: 'the log names a snapshot whose file is not durable yet',
    edits: [
      {
        module: 'raft/dist/node/log-store',
        find: 'await this.#file.commit(); await this.#name(this.#byteLength, this.#hash.value(), options.replaceLog);',
        replace:
          'await this.#name(this.#byteLength, this.#hash.value(), options.replaceLog); await this.#file.commit();',
      },
    ],
    shownBy: { world: 'raft', seed: 40 },
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
    shownBy: { world: 'raft', seed: 1 },
  },
];
