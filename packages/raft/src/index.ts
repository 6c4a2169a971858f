/** `@lockd/raft`: the core, without input and output. The driver is in `./node`, tools for tests in `./testing`. */
export type { Configuration, ConfigurationChange } from './core/configuration.ts';
export { configurationEntry, decodeConfiguration, encodeConfiguration } from './core/configuration-codec.ts';
export { ENTRY_KIND, type EntryKind, EntryRun, joinRuns, runOf } from './core/entry-run.ts';
export {
  type LogIndex,
  logIndex,
  type NodeId,
  nodeId,
  type ReadRound,
  type Term,
  term,
  ZERO_INDEX,
  ZERO_TERM,
} from './core/ids.ts';
export type { Input } from './core/input.ts';
export { assertNever, InvariantViolation, invariant } from './core/invariant.ts';
export {
  type ChangeResult,
  changeConfiguration,
  configurationOf,
  enterJoint,
  isJoint,
  isMember,
  isVoter,
  leaveJoint,
  membersOf,
  NO_MEMBERS,
  sameVoters,
  votersOf,
} from './core/membership.ts';
export type {
  AppendRequest,
  AppendResponse,
  Heartbeat,
  HeartbeatResponse,
  Message,
  SnapshotMetadata,
  SnapshotRequest,
  TimeoutNow,
  VoteRequest,
  VoteResponse,
} from './core/message.ts';
export type { NodeFacts, Role } from './core/node-facts.ts';
export type {
  InitialState,
  MemberProgress,
  ProposeResult,
  RaftOptions,
  RaftStatus,
  Random,
  Refusal,
} from './core/options.ts';
export { majorityIndex, majorityVote, quorumIndex, quorumVote, type VoteResult } from './core/quorum.ts';
export { RaftNode } from './core/raft-node.ts';
export type { ForgottenLog, HardState, PersistDuty, Ready } from './core/ready.ts';
export type { TraceEvent, TraceState, Transition } from './core/trace.ts';
