import {
  type AdminAnswer,
  type ClientMessage,
  escapeLoneSurrogates,
  LIMITS,
  type Member,
  type NameInfo,
  type NodeStatus,
} from '@lockd/client/protocol';
import type { Clock } from '../clock.ts';
import type { LockTable } from '../lock-table/lock-table.ts';
import type { Connection } from './connection.ts';
import { GATEWAY_LIMITS } from './limits.ts';
import { NO_LEADER } from './local-session.ts';
import type { Reads } from './reads.ts';

export type ReadMessage = Extract<ClientMessage, readonly ['inspect' | 'list', ...unknown[]]>;

export interface QueryDependencies {
  readonly clock: Clock;
  readonly table: LockTable;
  readonly reads: Reads;
  members(): readonly Member[];
  nodeStatus(members: readonly Member[]): NodeStatus;
  operate(op: string, args: Readonly<Record<string, unknown>>, answer: (value: AdminAnswer) => void): void;
}

/** What a connection asks that changes no lock: linearizable reads, this node's status, an operator's requests. */
export class Queries {
  readonly #dependencies: QueryDependencies;
  /** They may be answered: their reads are confirmed. At most what connections may have without an answer. */
  readonly #confirmed: { readonly connection: Connection; readonly message: ReadMessage }[] = [];

  constructor(dependencies: QueryDependencies) {
    this.#dependencies = dependencies;
  }

  status(connection: Connection, id: number): void {
    const dependencies = this.#dependencies;
    connection.send(['result', id, dependencies.nodeStatus(dependencies.members())]);
  }

  read(connection: Connection, message: ReadMessage): void {
    const id = message[1];
    if (!this.#admit(connection, id)) return;
    this.#dependencies.reads.add({
      answer: () => this.#answerLater(connection, message),
      fail: (reason) => {
        connection.requestCount--;
        if (reason === 'no-leader') connection.sendError(0, id, 'LOCKD_NO_QUORUM', NO_LEADER, 'not-applied', true);
        else connection.sendError(0, id, 'LOCKD_OVERLOADED', 'too many reads wait', 'not-applied', true);
      },
    });
  }

  admin(connection: Connection, id: number, op: string, args: Readonly<Record<string, unknown>>): void {
    if (!this.#admit(connection, id)) return;
    this.#dependencies.operate(op, args, (value) => {
      connection.requestCount--;
      connection.send(['result', id, value]);
    });
  }

  /** Whether this connection may have one more without an answer; it is counted, or refused. */
  #admit(connection: Connection, id: number): boolean {
    if (connection.requestCount >= GATEWAY_LIMITS.maxRequestsPerConnection) {
      connection.sendError(0, id, 'LOCKD_OVERLOADED', 'too many requests without an answer', 'not-applied', true);
      return false;
    }
    connection.requestCount++;
    return true;
  }

  #answerLater(connection: Connection, message: ReadMessage): void {
    this.#confirmed.push({ connection, message });
    if (this.#confirmed.length === 1) this.#dependencies.clock.endOfTurn(this.#answerSome);
  }

  /** So much in a turn that whoever asks for many or for large ones holds up nobody's heartbeats. */
  readonly #answerSome = (): void => {
    let rows = 0;
    while (rows < GATEWAY_LIMITS.maxRowsPerTurn) {
      const next = this.#confirmed.shift();
      if (next === undefined) return;
      const { connection, message } = next;
      connection.requestCount--;
      if (connection.state !== 'closed') rows += this.#answer(connection, message);
    }
    if (this.#confirmed.length > 0) this.#dependencies.clock.endOfTurn(this.#answerSome);
  };

  /** Returns what that cost, in rows. */
  #answer(connection: Connection, message: ReadMessage): number {
    const { table } = this.#dependencies;
    if (message[0] === 'inspect') {
      const info = table.inspect(escapeLoneSurrogates(message[2])) ?? nothingOn(message[2], table.index);
      connection.send(['result', message[1], info]);
      return 1 + info.holders.length + info.waiters.length;
    }
    const [, id, prefix, limit, after] = message;
    const rows = table.list(
      escapeLoneSurrogates(prefix),
      Math.min(limit, LIMITS.maxRowsPerList),
      after === null ? undefined : escapeLoneSurrogates(after),
    );
    connection.send(['result', id, rows]);
    // It looks at every name, however few it shows.
    return GATEWAY_LIMITS.maxRowsPerTurn;
  }
}

function nothingOn(name: string, index: number): NameInfo {
  return { name, kind: 'lock', limit: null, holders: [], waiters: [], index };
}
