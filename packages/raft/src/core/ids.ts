import { invariant } from './invariant.ts';

declare const brand: unique symbol;
type Branded<Base, Name extends string> = Base & { readonly [brand]: Name };

/** Position in the replicated log. The first entry is 1; 0 means "before the first entry". */
export type LogIndex = Branded<number, 'LogIndex'>;

/** Election term. 0 means "before the first election". */
export type Term = Branded<number, 'Term'>;

/**
 * Name of a member, unique in the cluster and never reused for another instance: a replaced machine joins
 * under a new instance id (see `InstanceId`) even if it keeps its name.
 */
export type NodeId = Branded<string, 'NodeId'>;

/** Number of a heartbeat round of one leader. Never reused while the process lives. */
export type ReadRound = Branded<number, 'ReadRound'>;

export const ZERO_INDEX = 0 as LogIndex;
export const ZERO_TERM = 0 as Term;

/** Checked constructor: a safe integer, 0 or larger. Throws `InvariantViolation`. */
export function logIndex(value: number): LogIndex {
  invariant(Number.isSafeInteger(value) && value >= 0, `not a log index: ${value}`);
  return value as LogIndex;
}

/** Checked constructor: a safe integer, 0 or larger. Throws `InvariantViolation`. */
export function term(value: number): Term {
  invariant(Number.isSafeInteger(value) && value >= 0, `not a term: ${value}`);
  return value as Term;
}

/** Checked constructor: a non-empty string of at most 255 characters. Throws `InvariantViolation`. */
export function nodeId(value: string): NodeId {
  invariant(value.length > 0 && value.length <= 255, `not a node id: ${JSON.stringify(value)}`);
  return value as NodeId;
}
