/**
 * The lock table once more, as naively as it can be said: lists that are searched from the front, nothing cached, nothing
 * bounded, answers kept for ever. Written from DESIGN.md section 5, not from the code, to disagree with it where one is wrong.
 */
import type { Command, Options } from '../../src/lock-table/command.ts';

export interface ModelRequest {
  readonly session: number;
  readonly handle: number;
  readonly names: readonly string[];
  readonly limit: number;
  mode: number;
  state: 'waiting' | 'held' | 'over';
  place: number;
  token: number;
  slot: number;
  leaseMs: number;
  generation: number;
  readonly maxHoldMs: number;
  readonly minHoldMs: number;
  readonly lockDelayMs: number;
  readonly onceKey: string;
  readonly steal: boolean;
  /** Re-entry: the request whose hold this shares. */
  readonly root: ModelRequest | undefined;
  /** Its owner gave it up, others still share it. */
  isOrphan: boolean;
}

/** What keeps a name reserved after (or, by minHold, also during) a grant. */
export interface ModelReservation {
  readonly name: string;
  readonly mode: number;
  readonly slot: number;
  readonly why: 'minHold' | 'delay';
  readonly of: ModelRequest;
  /** The grant is over: the reservation stands by itself. */
  isAlone: boolean;
}

export interface ModelSession {
  readonly id: number;
  readonly nonce: string;
  readonly bound: boolean;
  readonly releases: boolean;
  epoch: number;
  attachment: number;
  detached: boolean;
  acked: number;
  readonly answers: Map<number, string>;
}

const EXCLUSIVE = 0;
const SHARED = 1;
const PERMIT = 2;

export class Model {
  readonly sessions: ModelSession[] = [];
  readonly endedNonces = new Set<string>();
  requests: ModelRequest[] = [];
  reservations: ModelReservation[] = [];
  readonly limits = new Map<string, number>();
  completions: { key: string; generation: number }[] = [];
  /** Answer of the last command: what its sender is told at once, or undefined. */
  answer: string | undefined;
  index = 0;
  term = 0;

  session(id: number): ModelSession | undefined {
    return this.sessions.find((session) => session.id === id);
  }

  request(session: number, handle: number): ModelRequest | undefined {
    return this.requests.find((request) => request.session === session && request.handle === handle);
  }

  apply(command: Command, index: number, term: number): void {
    this.index = index;
    this.term = term;
    this.answer = undefined;
    switch (command[0]) {
      case 20:
        this.open(command[1], command[4]);
        break;
      case 21: {
        const session = this.session(command[1]);
        if (session === undefined) this.answer = 'LOCKD_SESSION_EXPIRED';
        else if (session.nonce !== command[2]) this.answer = 'LOCKD_UNAUTHORIZED';
        else if (session.bound) this.answer = 'LOCKD_INVALID';
        else if (command[3] <= session.epoch) this.answer = 'LOCKD_CONFLICT';
        else {
          session.epoch = command[3];
          session.attachment = index;
          session.detached = false;
          this.answer = 'attached';
        }
        break;
      }
      case 22: {
        const session = this.session(command[1]);
        if (session === undefined || session.epoch !== command[2]) break;
        if (session.releases) this.end(session, false);
        else session.detached = true;
        break;
      }
      case 30: {
        const session = this.session(command[1]);
        if (session !== undefined && command[2] === term && command[3] === session.attachment) this.end(session, false);
        break;
      }
      case 31: {
        const request = this.requests.find(
          (r) => r.session === command[1] && r.handle === command[2] && r.root === undefined,
        );
        if (
          request?.state === 'held' &&
          request.leaseMs > 0 &&
          command[3] === term &&
          command[4] === request.generation
        ) {
          this.endHold(request, 'lease-expired', true);
        }
        break;
      }
      case 32: {
        const request = this.request(command[1], command[2]);
        if (request?.state === 'waiting' && command[3] === term) this.over(request, 'ended:wait-timeout');
        break;
      }
      case 33: {
        const request = this.requests.find(
          (r) => r.session === command[1] && r.handle === command[2] && r.root === undefined,
        );
        if (request?.state === 'held' && request.maxHoldMs > 0 && command[3] === term)
          this.endHold(request, 'max-hold', true);
        break;
      }
      case 35:
        if (command[3] === term) {
          this.completions = this.completions.filter((c) => !(c.key === command[1] && c.generation === command[2]));
        }
        break;
      case 34:
      case 36:
        break;
      default:
        this.operation(command);
    }
    this.grantAll();
    this.forgetEmptyNames();
  }

  /** `endReserve` names a reservation by a number that is the table's own; the test says which one is meant. */
  endReservation(reservation: ModelReservation, index: number, term: number): void {
    this.index = index;
    this.term = term;
    this.answer = undefined;
    this.reservations = this.reservations.filter((other) => other !== reservation);
    this.grantAll();
    this.forgetEmptyNames();
  }

  private open(nonce: string, flags: number): void {
    const before = this.sessions.find((session) => session.nonce === nonce);
    if (before !== undefined) {
      if (before.detached && before.bound) {
        this.answer = 'LOCKD_SESSION_EXPIRED';
        return;
      }
      if (before.epoch === 1 && before.detached) {
        before.detached = false;
        before.attachment = this.index;
      }
      this.answer = `opened:${before.id}`;
      return;
    }
    if (this.endedNonces.has(nonce)) {
      this.answer = 'LOCKD_SESSION_EXPIRED';
      return;
    }
    this.sessions.push({
      id: this.index,
      nonce,
      bound: (flags & 3) !== 0,
      releases: (flags & 2) !== 0,
      epoch: 1,
      attachment: this.index,
      detached: false,
      acked: 0,
      answers: new Map(),
    });
    this.answer = `opened:${this.index}`;
  }

  private operation(command: Extract<Command, readonly [1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10, ...unknown[]]>): void {
    const [, id, epoch, seq, acked] = command;
    const session = this.session(id);
    if (session === undefined) {
      this.answer = 'LOCKD_SESSION_EXPIRED';
      return;
    }
    if (epoch !== session.epoch || acked >= seq) return;
    if (session.detached && !session.bound) {
      session.detached = false;
      session.attachment = this.index;
    }
    session.acked = Math.max(session.acked, acked);
    if (seq > session.acked + 1024) {
      this.answer = 'LOCKD_LIMIT';
      return;
    }
    const request = this.request(id, seq);
    if (request !== undefined && request.state !== 'over' && !request.isOrphan) {
      this.answer = this.stateOf(request);
      return;
    }
    if (seq <= session.acked) return;
    const before = session.answers.get(seq);
    if (before !== undefined) {
      this.answer = before;
      return;
    }
    const answer = this.operate(session, seq, command);
    this.grantAll();
    const made = this.request(id, seq);
    if (answer !== undefined) session.answers.set(seq, answer);
    this.answer = answer ?? (made === undefined ? undefined : this.stateOf(made));
  }

  /** The answer, or undefined where it is the state of the request that the operation made. */
  private operate(session: ModelSession, seq: number, command: Command): string | undefined {
    if (session.detached && command[0] <= 2) return 'LOCKD_SESSION_EXPIRED';
    switch (command[0]) {
      case 1:
        return this.acquire(session, seq, [command[5]], command[6], command[7] ?? 0, command[8]);
      case 2:
        return this.acquire(session, seq, command[5], command[6], command[7], command[8]);
      case 4: {
        if (command[5] >= seq) return 'LOCKD_INVALID';
        const request = this.request(session.id, command[5]);
        if (request === undefined || request.state === 'over') {
          if (!session.answers.has(command[5]) && command[5] > session.acked)
            session.answers.set(command[5], 'ended:cancelled');
        } else if (request.state === 'waiting') {
          this.over(request, 'ended:cancelled');
        } else if (!request.isOrphan) {
          this.release(request);
        }
        return 'ok:null';
      }
      case 8: {
        const limit = this.limits.get(command[5]);
        if (limit !== undefined) {
          this.limits.set(command[5], command[6]);
          return `ok:${JSON.stringify({ limit: command[6] })}`;
        }
        return this.stands(command[5]) ? 'LOCKD_KIND_MISMATCH' : 'LOCKD_CONFLICT';
      }
      case 10:
        this.end(session, true);
        return 'ok:null';
      default:
    }
    const handle = command[5] as number;
    const request = this.request(session.id, handle);
    if (request?.state !== 'held' || request.isOrphan) return 'LOCKD_NOT_HELD';
    const root = request.root ?? request;
    switch (command[0]) {
      case 3:
        this.release(request);
        return 'ok:null';
      case 5:
        if (root.leaseMs === 0) return 'LOCKD_INVALID';
        root.leaseMs = command[6];
        root.generation++;
        return `ok:${JSON.stringify({ leaseMs: command[6] })}`;
      case 6:
        if (root.mode === PERMIT) return 'LOCKD_INVALID';
        this.setMode(root, SHARED);
        return `ok:${JSON.stringify({ token: root.token })}`;
      case 7: {
        if (root.mode === PERMIT) return 'LOCKD_INVALID';
        if (root.mode === SHARED) {
          const others = root.names.some(
            (name) =>
              this.holdersOf(name).some((other) => other !== root) ||
              this.reservations.some((r) => r.name === name && r.isAlone),
          );
          if (others) return 'LOCKD_CONFLICT';
          this.setMode(root, EXCLUSIVE);
          root.token = this.index;
        }
        return `ok:${JSON.stringify({ token: root.token })}`;
      }
      case 9:
        if (request.names.length > 1) return 'LOCKD_INVALID';
        this.complete(request.names[0]!, command[6]);
        return 'ok:null';
      default:
        throw new Error('no such operation');
    }
  }

  private acquire(
    session: ModelSession,
    seq: number,
    names: readonly string[],
    waitMs: number,
    leaseMs: number,
    options: Options | undefined,
  ): string | undefined {
    const [mode, permits, maxHoldMs, minHoldMs, lockDelayMs, , reenter, holding, steal, onceKey] = options ?? [
      EXCLUSIVE,
      0,
      0,
      0,
      0,
      [],
      [],
      [],
      0,
      '',
    ];
    const request: ModelRequest = {
      session: session.id,
      handle: seq,
      names,
      limit: permits,
      mode,
      state: 'waiting',
      place: steal === 1 ? -this.index : this.index,
      token: 0,
      slot: 0,
      leaseMs,
      generation: 0,
      maxHoldMs,
      minHoldMs,
      lockDelayMs,
      onceKey,
      steal: steal === 1,
      root: undefined,
      isOrphan: false,
    };
    if (onceKey !== '' && this.isCompleted(names[0]!, onceKey)) return 'ok:{"done":true}';
    const holds = (handle: number, name: string): ModelRequest | undefined => {
      const held = this.request(session.id, handle);
      if (held?.state !== 'held' || held.isOrphan) return undefined;
      // A re-entry shares the whole hold, with all the names of an acquire-all.
      const root = held.root ?? held;
      return root.names.includes(name) ? root : undefined;
    };
    if (names.length === 1) {
      for (const handle of reenter) {
        const root = holds(handle, names[0]!);
        if (root === undefined) continue;
        if (mode === EXCLUSIVE && root.mode === SHARED) return 'LOCKD_CONFLICT';
        if ((mode === PERMIT) !== (root.mode === PERMIT)) return 'LOCKD_KIND_MISMATCH';
        this.requests.push({
          ...request,
          state: 'held',
          mode: root.mode,
          token: root.token,
          root,
          leaseMs: 0,
          maxHoldMs: 0,
          minHoldMs: 0,
        });
        return undefined;
      }
    }
    const kindProblem = (name: string): string | undefined => {
      const limit = this.limits.get(name) ?? 0;
      if (limit === permits || !this.stands(name)) return undefined;
      return limit > 0 && permits > 0 ? 'LOCKD_CONFLICT' : 'LOCKD_KIND_MISMATCH';
    };
    const isDeadlock = (name: string): boolean =>
      waitMs > 0 &&
      steal === 0 &&
      mode !== PERMIT &&
      holding.some((handle) => {
        const held = holds(handle, name);
        return held !== undefined && (mode === EXCLUSIVE || held.mode === EXCLUSIVE);
      });
    if (names.length === 1) {
      if (isDeadlock(names[0]!)) return 'LOCKD_SELF_DEADLOCK';
      const problem = kindProblem(names[0]!);
      if (problem !== undefined) return problem;
    } else {
      for (const name of names) {
        const problem = kindProblem(name);
        if (problem !== undefined) return problem;
        const isBlocked = !this.hasRoom(name, request) || this.waitersOf(name).some((w) => this.listens(w));
        if (isBlocked && isDeadlock(name)) return 'LOCKD_SELF_DEADLOCK';
        if (isBlocked && waitMs === 0) return 'LOCKD_BUSY';
      }
    }
    if (permits > 0) this.limits.set(names[0]!, permits);
    this.requests.push(request);
    if (waitMs === 0 && steal === 0 && !this.canHave(request)) {
      this.requests.pop();
      return 'LOCKD_BUSY';
    }
    return undefined;
  }

  private stands(name: string): boolean {
    return (
      this.requests.some((r) => r.state !== 'over' && r.names.includes(name)) ||
      this.reservations.some((r) => r.name === name && r.isAlone)
    );
  }

  private listens(request: ModelRequest): boolean {
    const session = this.session(request.session);
    return session !== undefined && !session.detached;
  }

  holdersOf(name: string): ModelRequest[] {
    return this.requests.filter((r) => r.state === 'held' && r.root === undefined && r.names.includes(name));
  }

  waitersOf(name: string): ModelRequest[] {
    return this.requests
      .filter((r) => r.state === 'waiting' && r.names.includes(name))
      .sort((a, b) => a.place - b.place);
  }

  private hasRoom(name: string, request: ModelRequest): boolean {
    const holders = this.holdersOf(name);
    const alone = this.reservations.filter((r) => r.name === name && r.isAlone);
    if (request.mode === PERMIT) return this.slotsInUse(name).size < (this.limits.get(name) ?? request.limit);
    if (holders.length + alone.length === 0) return true;
    return request.mode === SHARED && [...holders, ...alone].every((holder) => holder.mode === SHARED);
  }

  private slotsInUse(name: string): Set<number> {
    const alone = this.reservations.filter((r) => r.name === name && r.isAlone).map((r) => r.slot);
    return new Set([...this.holdersOf(name).map((holder) => holder.slot), ...alone]);
  }

  private canHave(request: ModelRequest): boolean {
    return (
      this.listens(request) &&
      request.names.every(
        (name) =>
          (request.steal || this.hasRoom(name, request)) &&
          this.waitersOf(name).find((w) => this.listens(w)) === request,
      )
    );
  }

  /** The first that can have what it wants gets it, until nobody can. */
  private grantAll(): void {
    for (;;) {
      const waiting = this.requests.filter((r) => r.state === 'waiting').sort((a, b) => a.place - b.place);
      const next = waiting.find((request) => this.canHave(request));
      if (next === undefined) return;
      if (next.onceKey !== '' && this.isCompleted(next.names[0]!, next.onceKey)) this.over(next, 'ok:{"done":true}');
      else this.grant(next);
    }
  }

  private grant(request: ModelRequest): void {
    if (request.steal) {
      const name = request.names[0]!;
      this.reservations = this.reservations.filter((r) => r.name !== name || !r.isAlone);
      for (const holder of this.holdersOf(name)) this.endHold(holder, 'stolen', true);
    }
    request.token = this.index;
    for (const name of request.names) {
      if (request.mode === SHARED) {
        const sharers = this.holdersOf(name);
        if (sharers.length > 0) request.token = Math.max(...sharers.map((sharer) => sharer.token));
      }
      if (request.mode === PERMIT) {
        const used = this.slotsInUse(name);
        let slot = 1;
        while (used.has(slot)) slot++;
        request.slot = slot;
      }
      if (request.minHoldMs > 0) {
        const { mode, slot } = request;
        this.reservations.push({ name, mode, slot, why: 'minHold', of: request, isAlone: false });
      }
    }
    request.state = 'held';
  }

  private setMode(root: ModelRequest, mode: number): void {
    root.mode = mode;
    for (const other of this.requests) if (other.root === root) other.mode = mode;
  }

  private release(request: ModelRequest): void {
    const root = request.root ?? request;
    if (request.root === undefined && this.sharers(root).length > 0) {
      request.isOrphan = true;
      this.session(request.session)?.answers.set(request.handle, 'ended:cancelled');
      return;
    }
    if (request.root !== undefined) {
      this.over(request, 'ended:cancelled');
      if (!root.isOrphan || this.sharers(root).length > 0) return;
    }
    this.endHold(root, undefined, false);
  }

  private sharers(root: ModelRequest): ModelRequest[] {
    return this.requests.filter((other) => other.state === 'held' && other.root === root);
  }

  private endHold(root: ModelRequest, reason: string | undefined, isUnclean: boolean): void {
    const answer = `ended:${reason ?? 'cancelled'}`;
    for (const sharer of this.sharers(root)) this.over(sharer, answer);
    const isStolen = reason === 'stolen';
    if (isStolen) this.reservations = this.reservations.filter((r) => r.of !== root);
    for (const reservation of this.reservations) {
      if (reservation.of !== root) continue;
      reservation.isAlone = true;
      // A mode that changed during the hold is the mode in which it stays reserved.
      (reservation as { mode: number }).mode = root.mode;
    }
    if (isUnclean && !isStolen && root.lockDelayMs > 0) {
      for (const name of root.names) {
        this.reservations.push({ name, mode: root.mode, slot: root.slot, why: 'delay', of: root, isAlone: true });
      }
    }
    if (root.isOrphan) root.state = 'over';
    else this.over(root, answer);
  }

  private over(request: ModelRequest, answer: string): void {
    request.state = 'over';
    this.session(request.session)?.answers.set(request.handle, answer);
  }

  private end(session: ModelSession, isClean: boolean): void {
    this.sessions.splice(this.sessions.indexOf(session), 1);
    this.endedNonces.add(session.nonce);
    for (const request of this.requests) {
      if (request.session !== session.id) continue;
      if (request.state === 'waiting') request.state = 'over';
      else if (request.state === 'held' && request.root === undefined) this.endHold(request, 'session-ended', !isClean);
    }
  }

  private isCompleted(name: string, onceKey: string): boolean {
    return this.completions.some((completion) => completion.key === `${name.length}:${name}${onceKey}`);
  }

  private complete(name: string, onceKey: string): void {
    const key = `${name.length}:${name}${onceKey}`;
    this.completions = this.completions.filter((completion) => completion.key !== key);
    this.completions.push({ key, generation: this.index });
  }

  private forgetEmptyNames(): void {
    for (const name of this.limits.keys()) if (!this.stands(name)) this.limits.delete(name);
  }

  private stateOf(request: ModelRequest): string {
    if (request.state === 'held') return `granted:${(request.root ?? request).token}:${(request.root ?? request).slot}`;
    if (request.state === 'waiting') return 'waiting';
    return this.session(request.session)?.answers.get(request.handle) ?? 'over';
  }
}
