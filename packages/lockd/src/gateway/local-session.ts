import type { CommandOwner } from './command-batch.ts';
import type { Connection } from './connection.ts';

/** Tag of an attach; an operation's tag is its seq. */
export const ATTACH_TAG = 0;

/** What a session's end of a connection needs of the gateway. */
export interface LocalSessionOwner {
  /** The attach will not be answered by the table. */
  onAttachGivenUp(session: LocalSession): void;
  /** See `LockTable.hasAnswer`. */
  hasAnswer(session: number, seq: number): boolean;
  /** The client has to attach again, and then to send again what has no answer. */
  reattach(session: LocalSession): void;
}

/**
 * A session as far as one connection of this node speaks for it, from the request to attach on. Tells what of the
 * client's is on its way, so that the client can be told when that may be lost.
 */
export class LocalSession implements CommandOwner {
  readonly session: number;
  /** Number of this attachment: commands of an older one are refused by the table. */
  readonly epoch: number;
  readonly connection: Connection;
  /** Id under which the attach is answered. */
  readonly attachId: number;
  /** The attach is applied. */
  isAttached = false;
  /** The client was told to attach again: nothing of this attachment is taken any more. */
  isStale = false;
  /** Highest seq taken from the client, and highest answered; both since this attachment. */
  sentSeq = 0;
  answeredSeq = 0;
  /** The highest seq that was sent again although it, or a later one, was answered; 0: none without an answer. */
  #repeatedSeq = 0;
  /** The newest renewal without an acknowledgement. */
  renewStamp: number | undefined;

  readonly #owner: LocalSessionOwner;

  constructor(session: number, epoch: number, connection: Connection, attachId: number, owner: LocalSessionOwner) {
    this.session = session;
    this.epoch = epoch;
    this.connection = connection;
    this.attachId = attachId;
    this.#owner = owner;
  }

  get hasUnanswered(): boolean {
    return !this.isAttached || this.sentSeq > this.answeredSeq || this.#repeatedSeq > 0;
  }

  /** On its way into the log, perhaps not for the first time: what was refused may be sent again under its number. */
  noteSent(seq: number): void {
    if (seq > this.sentSeq) this.sentSeq = seq;
    else if (seq <= this.answeredSeq && seq > this.#repeatedSeq) this.#repeatedSeq = seq;
  }

  noteAnswered(seq: number): void {
    if (seq > this.answeredSeq) this.answeredSeq = seq;
    if (seq === this.#repeatedSeq) this.#repeatedSeq = 0;
  }

  notProposed(tag: number, reason: 'no-leader' | 'invalid'): void {
    if (tag === ATTACH_TAG) {
      this.#owner.onAttachGivenUp(this);
      // An attach that came with the hello has no id of its own.
      this.#refuse(this.attachId === 0 ? this.session : 0, this.attachId, reason);
    } else if (!this.mayRefuse(tag)) {
      // Sent before, by an earlier attachment, and applied: saying that nothing happened would be a lie.
      this.#owner.reattach(this);
    } else {
      this.noteAnswered(tag);
      this.#refuse(this.session, tag, reason);
    }
  }

  /**
   * Whether it is true that the operation has had no effect and never will. Once this attachment is applied nothing of an
   * earlier one can be applied any more, so the table knows; before that nobody does.
   */
  mayRefuse(seq: number): boolean {
    return this.isAttached && !this.#owner.hasAnswer(this.session, seq);
  }

  #refuse(session: number, number: number, reason: 'no-leader' | 'invalid'): void {
    if (reason === 'invalid')
      this.connection.sendError(session, number, 'LOCKD_LIMIT', 'the request is too large', 'not-applied', false);
    else this.connection.sendError(session, number, 'LOCKD_NO_QUORUM', NO_LEADER, 'not-applied', true);
  }
}

export const NO_LEADER = 'no leader: the cluster has no majority, or is electing; try again';

/** An `open` on its way. */
export class PendingOpen implements CommandOwner {
  readonly id: number;
  readonly nonce: string;
  readonly connection: Connection;
  isStale = false;
  readonly #onGivenUp: (open: PendingOpen) => void;

  constructor(id: number, nonce: string, connection: Connection, onGivenUp: (open: PendingOpen) => void) {
    this.id = id;
    this.nonce = nonce;
    this.connection = connection;
    this.#onGivenUp = onGivenUp;
  }

  notProposed(_tag: number, reason: 'no-leader' | 'invalid'): void {
    this.#onGivenUp(this);
    if (reason === 'invalid')
      this.connection.sendError(0, this.id, 'LOCKD_LIMIT', 'the request is too large', 'not-applied', false);
    else this.connection.sendError(0, this.id, 'LOCKD_NO_QUORUM', NO_LEADER, 'not-applied', true);
  }
}
