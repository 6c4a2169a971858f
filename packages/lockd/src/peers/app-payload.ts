/**
 * What the gateways of two nodes say to each other over the peer link, beside Raft. A payload may be lost with its
 * link and is never sent again by a node: the client that misses an answer asks again.
 */
export type AppPayload =
  /** Encoded commands (kind byte included) of one turn, in order, for the leader to propose. Nothing comes back but `forward-refused`. */
  | {
      readonly type: 'forward';
      readonly batch: number;
      readonly start: number;
      readonly ends: Uint32Array;
      readonly bytes: Uint8Array;
    }
  /** Nothing of this batch was proposed. */
  | { readonly type: 'forward-refused'; readonly batch: number; readonly reason: string }
  /** Session, stamp, session, stamp, … */
  | { readonly type: 'renew'; readonly renewals: readonly number[] }
  | { readonly type: 'renewed'; readonly renewals: readonly number[] }
  /** From which index on may a read that begins now be answered? */
  | { readonly type: 'read-index'; readonly id: number }
  /** `index` undefined: the asked node does not lead, ask again. */
  | { readonly type: 'read-answer'; readonly id: number; readonly index: number | undefined }
  /** An operator's request for the leader, and its answer, as JSON text (../operations). */
  | { readonly type: 'admin'; readonly id: number; readonly json: string }
  | { readonly type: 'admin-answer'; readonly id: number; readonly json: string };
