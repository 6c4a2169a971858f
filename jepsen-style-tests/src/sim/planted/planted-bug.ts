import type { WorldName } from '../simulation.ts';
import type { Edit } from './edit.ts';

/** A mistake that others have made, put into the shipped code at load time: the simulator must find it. */
export interface PlantedBug {
  readonly name: string;
  /** Row of the fault catalogue in docs/raft.md, where it is one. */
  readonly row?: number;
  readonly what: string;
  readonly edits: readonly Edit[];
  readonly shownBy: Showing;
}

/** A run that shows a bug; where the code has moved on, one of the next seeds does. */
export interface Showing {
  readonly world: WorldName;
  readonly seed: number;
  /** Kinds of faults that are drawn. Default: those that the seed picks. */
  readonly faults?: readonly string[];
}
