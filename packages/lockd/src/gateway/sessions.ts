import type { ClientMessage, EndReason, ErrorCode, ErrorDetail, GrantDetail } from '@lockd/client/protocol';
import { LIMITS } from '@lockd/client/protocol';
import { encodeCommand, OP } from '../lock-table/command.ts';
import type { LockTable } from '../lock-table/lock-table.ts';
import { isProblem, toCommand } from '../lock-table/request.ts';
import type { CommandRoute } from './command-route.ts';
import type { Connection } from './connection.ts';
import { GATEWAY_LIMITS } from './limits.ts';
import { ATTACH_TAG, LocalSession, type LocalSessionOwner, PendingOpen } from './local-session.ts';

export interface SessionsDependencies {
  readonly table: LockTable;
  readonly route: CommandRoute;
  /** No session gets a shorter TTL: it has to outlive an election. */
  readonly lowestTtlMs: number;
}

/**
 * The sessions whose clients are connected here: how they come to be (open, attach), what they are told, how they go.
 * The node that has a session's connection answers from its own apply (docs/decisions/0003): the calls of TableSink below
 * come on every node, and a node that has no connection for the session does nothing.
 */
export class Sessions {
  readonly #dependencies: SessionsDependencies;
  /** Attached here: who is told what becomes of a session. */
  readonly #attached = new Map<number, LocalSession>();
  /** Attaches on their way, in order, by session. */
  readonly #attaching = new Map<number, LocalSession[]>();
  readonly #opening = new Map<string, PendingOpen>();
  /** Sessions whose connection has closed, and the epoch it spoke for, until the log knows. */
  readonly #detaching = new Map<number, number>();
  readonly #owner: LocalSessionOwner;
  /** Sessions told to attach again so far. */
  reattachesPushed = 0;

  constructor(dependencies: SessionsDependencies) {
    this.#dependencies = dependencies;
    this.#owner = {
      onAttachGivenUp: (local) => this.#forgetAttaching(local),
      hasAnswer: (session, seq) => dependencies.table.hasAnswer(session, seq),
      reattach: (local) => this.#pushReattach(local),
    };
  }

  attached(): Iterable<LocalSession> {
    return this.#attached.values();
  }

  // From clients -----------------------------------------------------------------------------------------------------

  open(connection: Connection, message: Extract<ClientMessage, readonly ['open', ...unknown[]]>): void {
    const [, id, nonce, ttlMs] = message;
    if (connection.sessions.size + connection.requestCount >= LIMITS.maxSessionsPerConnection) {
      const text = `at most ${LIMITS.maxSessionsPerConnection} sessions on a connection`;
      connection.sendError(0, id, 'LOCKD_LIMIT', text, 'not-applied', false);
      return;
    }
    const bounded = Math.min(Math.max(ttlMs, this.#dependencies.lowestTtlMs), LIMITS.maxTtlMs);
    const command = toCommand(['open', id, nonce, bounded, message[4], message[5]], 1);
    if (isProblem(command)) {
      connection.sendError(0, id, command.code, command.message, 'not-applied', false);
      return;
    }
    // The same secret from another connection: that one has taken over.
    this.#forgetOpening(nonce);
    const pending = new PendingOpen(id, nonce, connection, (open) => this.#forgetOpening(open.nonce));
    this.#opening.set(nonce, pending);
    connection.requestCount++;
    this.#dependencies.route.add(encodeCommand(command), pending, 0);
  }

  /** `id` 0: asked for in the hello; what is refused is then said of the session. */
  attach(connection: Connection, id: number, session: number, nonce: string, epoch: number): void {
    const refuse = (code: ErrorCode, text: string): void =>
      connection.sendError(id === 0 ? session : 0, id, code, text, 'not-applied', false);
    if (connection.sessions.size >= LIMITS.maxSessionsPerConnection && !connection.sessions.has(session)) {
      refuse('LOCKD_LIMIT', `at most ${LIMITS.maxSessionsPerConnection} sessions on a connection`);
      return;
    }
    const command = toCommand(['attach', id, session, nonce, epoch], epoch);
    if (isProblem(command)) {
      refuse(command.code, command.message);
      return;
    }
    if (connection.attachCount >= GATEWAY_LIMITS.maxRequestsPerConnection) {
      refuse('LOCKD_LIMIT', 'too many attaches without an answer');
      return;
    }
    connection.attachCount++;
    const local = new LocalSession(session, epoch, connection, id, this.#owner);
    connection.sessions.set(session, local);
    const others = this.#attaching.get(session);
    if (others === undefined) this.#attaching.set(session, [local]);
    else others.push(local);
    this.#dependencies.route.add(encodeCommand(command), local, ATTACH_TAG);
  }

  connectionClosed(connection: Connection): void {
    for (const local of connection.sessions.values()) {
      const attached = this.#attached.get(local.session);
      if (attached?.connection === connection) {
        this.#attached.delete(local.session);
        // The attach that is on its way may come to nothing.
        if (attached !== local) this.#detach(attached.session, attached.epoch);
      }
      if (!local.isAttached) this.#forgetAttaching(local);
      this.#detach(local.session, local.epoch);
    }
    for (const pending of this.#opening.values())
      if (pending.connection === connection) this.#forgetOpening(pending.nonce);
  }

  // From the node ----------------------------------------------------------------------------------------------------

  /** There is a leader, perhaps another one: what it has to know and may not have heard of is proposed again. */
  leaderKnown(): void {
    for (const [session, epoch] of this.#detaching) {
      // Attached anew, or ended, while nobody led.
      if ((this.#dependencies.table.epochOf(session) ?? Number.POSITIVE_INFINITY) > epoch)
        this.#detaching.delete(session);
      else this.#proposeDetach(session, epoch);
    }
  }

  /** The table's state has jumped to that of a snapshot: what happened in between was told to nobody here. */
  stateReplaced(): void {
    const { table } = this.#dependencies;
    for (const local of [...this.#attached.values()]) {
      const epoch = table.epochOf(local.session);
      if (epoch === undefined) this.sessionEnded(local.session, 'ended while this node was behind');
      else if (epoch > local.epoch) this.#letGo(local);
      else this.#pushReattach(local);
    }
    this.tellWhatMayBeLost();
  }

  /** What was proposed or forwarded may never be applied: sessions that wait for an answer attach again, and ask. */
  tellWhatMayBeLost(): void {
    for (const local of this.#attached.values()) if (local.hasUnanswered) this.#pushReattach(local);
    for (const others of [...this.#attaching.values()]) {
      for (const local of others) {
        this.#forgetAttaching(local);
        this.#pushReattach(local);
      }
    }
    for (const pending of [...this.#opening.values()]) {
      this.#forgetOpening(pending.nonce);
      pending.isStale = true;
      const text = 'the leader changed meanwhile: open again with the same nonce';
      pending.connection.sendError(0, pending.id, 'LOCKD_NO_QUORUM', text, 'unknown', true);
    }
  }

  renewed(session: number, stamp: number): void {
    const local = this.#attached.get(session);
    if (local === undefined) return;
    if (local.renewStamp === stamp) local.renewStamp = undefined;
    local.connection.send(['renewed', session, stamp]);
  }

  // From the table, in log order (see TableSink) -----------------------------------------------------------------------

  sessionOpened(session: number, nonce: string, ttlMs: number): void {
    const pending = this.#forgetOpening(nonce);
    if (pending === undefined) return;
    const local = new LocalSession(session, 1, pending.connection, pending.id, this.#owner);
    local.isAttached = true;
    // An earlier connection of it may have closed here, and may still wait to be told of.
    this.#detaching.delete(session);
    pending.connection.sessions.set(session, local);
    this.#attached.set(session, local);
    pending.connection.send(['opened', pending.id, session, ttlMs]);
  }

  openRefused(nonce: string, code: ErrorCode, message: string): void {
    const pending = this.#forgetOpening(nonce);
    pending?.connection.sendError(0, pending.id, code, message, 'not-applied', false);
  }

  sessionAttached(session: number, epoch: number, ttlMs: number): void {
    const detachedEpoch = this.#detaching.get(session);
    if (detachedEpoch !== undefined && detachedEpoch < epoch) this.#detaching.delete(session);
    const local = this.#attaching.get(session)?.find((candidate) => candidate.epoch === epoch);
    const former = this.#attached.get(session);
    if (former !== undefined && former !== local) this.#letGo(former);
    if (local === undefined) return;
    local.isAttached = true;
    this.#forgetAttaching(local);
    this.#attached.set(session, local);
    local.connection.sessions.set(session, local);
    local.connection.send(['attached', local.attachId, session, epoch, ttlMs]);
  }

  attachRefused(session: number, epoch: number, code: ErrorCode, message: string): void {
    if (this.#detaching.get(session) === epoch) this.#detaching.delete(session);
    const local = this.#attaching.get(session)?.find((candidate) => candidate.epoch === epoch);
    if (local === undefined) return;
    this.#forgetAttaching(local);
    const { attachId, connection } = local;
    connection.sendError(attachId === 0 ? session : 0, attachId, code, message, 'not-applied', false);
  }

  sessionDetached(session: number): void {
    this.#detaching.delete(session);
    // Its client is here: it opened the session again, and a connection that it had left before that was meant.
    const local = this.#attached.get(session);
    if (local !== undefined) this.#pushReattach(local);
  }

  sessionEnded(session: number, reason: string): void {
    this.#detaching.delete(session);
    const local = this.#attached.get(session);
    if (local === undefined) return;
    this.#letGo(local);
    local.connection.send(['session-ended', session, reason]);
  }

  answered(session: number, seq: number, value: unknown): void {
    const local = this.#attached.get(session);
    if (local === undefined) return;
    local.noteAnswered(seq);
    local.connection.send(['ok', session, seq, value]);
  }

  refused(session: number, seq: number, code: ErrorCode, message: string, detail: ErrorDetail | null): void {
    const local = this.#attached.get(session);
    if (local === undefined) return;
    local.noteAnswered(seq);
    local.connection.send(['error', session, seq, code, message, 'not-applied', false, detail]);
  }

  granted(session: number, handle: number, token: number, detail: GrantDetail | null): void {
    const local = this.#attached.get(session);
    if (local === undefined) return;
    local.noteAnswered(handle);
    local.connection.send(['granted', session, handle, token, detail]);
  }

  waiting(session: number, handle: number, position: number): void {
    const local = this.#attached.get(session);
    if (local === undefined) return;
    local.noteAnswered(handle);
    local.connection.send(['waiting', session, handle, position]);
  }

  ended(session: number, handle: number, reason: EndReason): void {
    const local = this.#attached.get(session);
    if (local === undefined) return;
    local.noteAnswered(handle);
    local.connection.send(['ended', session, handle, reason]);
  }

  // --------------------------------------------------------------------------------------------------------------------

  #forgetOpening(nonce: string): PendingOpen | undefined {
    const pending = this.#opening.get(nonce);
    if (pending !== undefined) {
      this.#opening.delete(nonce);
      pending.connection.requestCount--;
    }
    return pending;
  }

  /** The attach will not be answered by the table any more. */
  #forgetAttaching(local: LocalSession): void {
    const { session, connection } = local;
    const before = this.#attaching.get(session);
    const others = before?.filter((other) => other !== local) ?? [];
    if (before !== undefined && others.length < before.length) connection.attachCount--;
    if (others.length === 0) this.#attaching.delete(session);
    else this.#attaching.set(session, others);
    if (connection.sessions.get(session) !== local || local.isAttached) return;
    // An attach that comes to nothing takes nothing from the attachment that this connection has.
    const attached = this.#attached.get(session);
    if (attached?.connection === connection) connection.sessions.set(session, attached);
    else connection.sessions.delete(session);
  }

  /** The log is to know that nobody listens for this session any more. */
  #detach(session: number, epoch: number): void {
    this.#detaching.set(session, epoch);
    this.#proposeDetach(session, epoch);
  }

  #proposeDetach(session: number, epoch: number): void {
    if (this.#detaching.size > GATEWAY_LIMITS.maxConnections * 4) this.#detaching.clear();
    this.#dependencies.route.add(encodeCommand([OP.detach, session, epoch]), undefined, 0);
  }

  /** The session is over, or speaks through another connection, here or elsewhere. */
  #letGo(local: LocalSession): void {
    this.#attached.delete(local.session);
    if (local.connection.sessions.get(local.session) === local) local.connection.sessions.delete(local.session);
  }

  #pushReattach(local: LocalSession): void {
    if (local.isStale) return;
    local.isStale = true;
    this.reattachesPushed++;
    local.connection.send(['reattach', local.session]);
  }
}
