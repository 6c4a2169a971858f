/**
 * What client and server say to each other: protocol version 1 (docs/protocol.md).
 *
 * A WebSocket frame is a list of messages; a message is a list that begins with its name. The same lists travel
 * as JSON text (`lockd.v1.json`) or as MessagePack (`lockd.v1.msgpack`). Numbers are unsigned integers below 2^53;
 * durations are milliseconds; absent is `null`. Trailing elements that a receiver does not know are ignored.
 *
 * Two number spaces: `session, seq` name an operation of a session (each `seq` used once, rising by one, replicated
 * and applied at most once); `id` names a request of a connection (never replicated).
 * A request for a lock is named for its whole life, as waiter and as grant, by its handle: the `seq` of its acquire.
 */
import type { ErrorCode, Outcome } from './error-codes.ts';

export const PROTOCOL_VERSION = 1;
export const SUBPROTOCOL_JSON = 'lockd.v1.json';
export const SUBPROTOCOL_MSGPACK = 'lockd.v1.msgpack';

export interface Member {
  readonly name: string;
  /** WebSocket address for clients, or null while it is not known. */
  readonly client: string | null;
  readonly role: 'voter' | 'learner';
}

/** First message of a connection, alone in its frame. */
export interface Hello {
  readonly version: number;
  /** Name and version of the client software, for people. */
  readonly client: string;
  /** Bearer credential, where the server asks for one. */
  readonly credentials?: string | null;
  /** Refuse (LOCKD_PROTOCOL) unless this is the cluster. Learnt from an earlier welcome. */
  readonly clusterId?: string | null;
  /** Sessions to go on with: attached through the log, each answered by `attached` or `error` under `id` 0. */
  readonly sessions?: readonly (readonly [session: number, nonce: string, epoch: number])[] | null;
  /** Do not attach here unless this node leads or knows no leader: the welcome names who does. */
  readonly onlyLeader?: boolean | null;
}

export interface Welcome {
  readonly version: number;
  readonly clusterId: string;
  readonly node: string;
  /** Who leads, as far as this node knows. */
  readonly leader: { readonly name: string; readonly client: string | null } | null;
  /** This node is the leader and serves. */
  readonly isLeader: boolean;
  readonly members: readonly Member[];
  /** This node's applied index: goes into `open` as `openedAfter`. */
  readonly index: number;
  /** The sessions of the hello are being attached here. */
  readonly attaching: boolean;
  readonly limits: { readonly maxFrameBytes: number; readonly maxNameBytes: number; readonly window: number };
}

export interface OpenOptions {
  /** Cannot be resumed: after its connection closes it ends at its deadline. */
  readonly connectionBound?: boolean;
  /** Ends at once when its connection closes (outside promises 6 and 7). Implies `connectionBound`. */
  readonly releaseOnDisconnect?: boolean;
  /** Strings for people: host, pid, name. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Beyond the plain exclusive lock. */
export interface AcquireOptions {
  readonly mode?: 'exclusive' | 'shared';
  /** A permit of a semaphore with this many slots. */
  readonly permits?: number;
  readonly maxHoldMs?: number;
  readonly minHoldMs?: number;
  readonly lockDelayMs?: number;
  readonly metadata?: Readonly<Record<string, string>>;
  /** Re-entry: handles of this session, one of which already holds the name and shall be shared. */
  readonly reenter?: readonly number[];
  /** Handles the caller already holds: what deadlock detection knows. */
  readonly holding?: readonly number[];
  readonly steal?: boolean;
  /** Completion key of `once`: answered with `done` where a completion record stands. */
  readonly onceKey?: string;
}

/** Client to server. */
export type ClientMessage =
  | readonly ['hello', Hello]
  | readonly ['open', id: number, nonce: string, ttlMs: number, openedAfter: number, options: OpenOptions | null]
  | readonly ['attach', id: number, session: number, nonce: string, epoch: number]
  | readonly ['renew', session: number, stamp: number]
  | readonly ['goodbye']
  | readonly [
      'acquire',
      session: number,
      seq: number,
      acked: number,
      name: string,
      waitMs: number,
      leaseMs: number | null,
      options: AcquireOptions | null,
    ]
  | readonly [
      'acquire-all',
      session: number,
      seq: number,
      acked: number,
      names: readonly string[],
      waitMs: number,
      leaseMs: number | null,
      options: AcquireOptions | null,
    ]
  | readonly ['release', session: number, seq: number, acked: number, handle: number]
  | readonly ['cancel', session: number, seq: number, acked: number, handle: number]
  | readonly ['extend', session: number, seq: number, acked: number, handle: number, leaseMs: number]
  | readonly ['downgrade', session: number, seq: number, acked: number, handle: number]
  | readonly ['upgrade', session: number, seq: number, acked: number, handle: number]
  | readonly ['set-limit', session: number, seq: number, acked: number, name: string, limit: number]
  | readonly ['complete', session: number, seq: number, acked: number, handle: number, onceKey: string, keepMs: number]
  | readonly ['close', session: number, seq: number, acked: number]
  | readonly ['ask', session: number, handles: readonly number[]]
  | readonly ['inspect', id: number, name: string]
  | readonly ['list', id: number, prefix: string, limit: number, after: string | null]
  | readonly ['status', id: number]
  /** For operators: see docs/protocol.md. Answered by `result` with an {@link AdminAnswer}. */
  | readonly ['admin', id: number, op: string, args: Readonly<Record<string, unknown>>];

/** Why a waiting request or a grant is over without its owner's release. */
export type EndReason =
  | 'wait-timeout'
  | 'cancelled'
  | 'lease-expired'
  | 'max-hold'
  | 'session-ended'
  | 'stolen'
  | 'forced'
  | 'revoked'
  | 'deadlock'
  | 'unknown';

export interface GrantDetail {
  /** A permit's slot, 1 to limit. */
  readonly slot?: number;
  /** Own lease in milliseconds. */
  readonly leaseMs?: number;
  /** Highest seq of this session that the log held when the grant was made: an own lease, or `maxHoldMs`, counts from its sending. */
  readonly after?: number;
  /** Re-entry: the handle that really holds, and how often. */
  readonly shares?: number;
  readonly holdCount?: number;
}

/** What stands in an answer for people: who has it. */
export interface HolderInfo {
  readonly session: number;
  readonly handle: number;
  readonly token: number;
  readonly mode: 'exclusive' | 'shared' | 'permit';
  readonly metadata?: Readonly<Record<string, string>>;
}

export interface ErrorDetail {
  readonly holder?: HolderInfo;
  readonly because?: 'holder' | 'waiter' | 'delay' | 'break' | 'minHold';
  readonly retryAfterMs?: number;
  readonly cycle?: readonly string[];
  readonly limit?: number;
}

/** Server to client. */
export type ServerMessage =
  | readonly ['welcome', Welcome]
  | readonly ['opened', id: number, session: number, ttlMs: number]
  | readonly ['attached', id: number, session: number, epoch: number, ttlMs: number]
  /** Answer to `renew`: this leader was confirmed after the renewal with this stamp had arrived. */
  | readonly ['renewed', session: number, stamp: number]
  /** The operation took effect. */
  | readonly ['ok', session: number, seq: number, value: unknown]
  /** Answer to an acquire, and a push when a waiter's turn comes. */
  | readonly ['granted', session: number, handle: number, token: number, detail: GrantDetail | null]
  /** Answer to an acquire that queues; position 1 is next. */
  | readonly ['waiting', session: number, handle: number, position: number]
  /** A waiting request or a grant is over, not by its owner's release. */
  | readonly ['ended', session: number, handle: number, reason: EndReason]
  /** Answer to `ask`, in the order asked. */
  | readonly ['requests', session: number, states: readonly RequestState[]]
  | readonly ['session-ended', session: number, reason: string]
  /** Requests of this session that have no answer may be lost: attach with the next epoch and send them again, in order. */
  | readonly ['reattach', session: number]
  /** Who leads has changed; null while unknown. */
  | readonly ['leader', { readonly name: string; readonly client: string | null } | null]
  | readonly ['members', readonly Member[]]
  /** Answer to a request of the connection. */
  | readonly ['result', id: number, value: unknown]
  /**
   * `session` 0: `number` is the id of a request of the connection (0: the connection itself, which is then closed).
   * Else `number` is the seq of an operation (0: the attach of that session that the hello asked for).
   */
  | readonly [
      'error',
      session: number,
      number: number,
      code: ErrorCode,
      message: string,
      outcome: Outcome,
      retryable: boolean,
      detail: ErrorDetail | null,
    ]
  /** This node is stopping: go elsewhere at once. */
  | readonly ['goodbye', reason: string];

export type RequestState =
  | readonly [handle: number, state: 'granted', token: number, detail: GrantDetail | null]
  | readonly [handle: number, state: 'waiting', position: number]
  | readonly [handle: number, state: 'ended', reason: EndReason];

/** Value of `inspect`, and one row of `list`. */
export interface NameInfo {
  readonly name: string;
  readonly kind: 'lock' | 'semaphore';
  readonly limit: number | null;
  readonly holders: readonly HolderInfo[];
  readonly waiters: readonly {
    readonly session: number;
    readonly handle: number;
    readonly mode: 'exclusive' | 'shared' | 'permit';
    readonly position: number;
  }[];
  /** How many there are, where only the first are shown. */
  readonly holderCount?: number;
  readonly waiterCount?: number;
  /** Log index of the state shown. */
  readonly index: number;
}

/** Value of `status`: one node's view of itself and of the members. */
export interface NodeStatus {
  readonly name: string;
  readonly pid: number;
  readonly clusterId: string | null;
  readonly role: 'leader' | 'follower' | 'candidate' | 'learner' | 'joining' | 'damaged' | 'disk-full' | 'removed';
  readonly reason: string | null;
  readonly leader: string | null;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly lastIndex: number;
  readonly members: readonly Member[];
  readonly sessions: number;
  readonly held: number;
  readonly waiting: number;
}

/** Value of `admin`: what was done, or why nothing was. More fields according to the operation. */
export type AdminAnswer =
  | { readonly ok: true; readonly [field: string]: unknown }
  | {
      readonly ok: false;
      /** For programs. */
      readonly reason: string;
      /** For people: what is wrong and what to do next. */
      readonly message: string;
      readonly [field: string]: unknown;
    };
