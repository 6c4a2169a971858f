import type { WorldName } from '../simulation.ts';
import type { Edit } from './edit.ts';

/** A mistake that others have made, put into the shipped code at load time: the simulator must find it. */
export interface PlantedBug {
  readonly name: string;
  /** Row of the fault catalogue in docs/raft.md, where it is one. */
  readonly row: number | undefined;
  readonly what: string;
  readonly edits: readonly Edit[];
  /** The world that shows it. Default: raft. */
  readonly world?: WorldName;
  /** A seed that shows it. */
  readonly seed: number;
}
