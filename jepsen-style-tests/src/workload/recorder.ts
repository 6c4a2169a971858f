import { type HeldLock, type LockClient, LockdError, type TryResult } from '@lockd/client';
import type { Time } from '../clock.ts';
import type { HistoryLine } from '../history/history-line.ts';
import type { WorkerReport } from './messages.ts';
import type { TransportTap } from './transport-tap.ts';

const LOOK_EVERY_MS = 10;
/** An event loop that is later than this may have missed the SDK's margin (1 % of the TTL and 100 ms). */
const STALL_MS = 60;

export interface RequestOptions {
  readonly mode?: 'exclusive' | 'shared' | 'permit';
  readonly limit?: number;
  readonly waitMs: number;
  readonly leaseMs?: number;
  readonly cancelAfterMs?: number;
  readonly steal?: boolean;
  readonly maxHoldMs?: number;
  readonly minHoldMs?: number;
  readonly lockDelayMs?: number;
  /** More than one: all at once. */
  readonly keys: readonly string[];
  readonly isTry?: boolean;
}

/** A grant as its holder sees it. */
export interface Hold {
  readonly owner: string;
  readonly lock: HeldLock;
  /** Keys as the history names them: a permit's carries its slot. */
  readonly keys: readonly string[];
  readonly mode: 'exclusive' | 'shared' | 'permit';
  readonly limit: number | undefined;
  ownLeaseEndsNs: number;
  readonly maxHoldEndsNs: number;
  /** As late as this an extension may keep it. */
  latestNs: number | undefined;
  lastHeldNs: number | undefined;
  toldNs: number | undefined;
  /** When its holder gave it back, or tried to. */
  releasedNs: number | undefined;
  mayEndNs: number;
}

/** Asks for locks through the SDK and writes down what happened, as a history. */
export class Recorder {
  readonly client: LockClient;
  readonly #name: string;
  readonly #tap: TransportTap;
  readonly #report: (report: WorkerReport) => void;
  readonly #time: Time;
  readonly #holds = new Set<Hold>();
  readonly #stalls: { readonly fromNs: number; readonly toNs: number }[] = [];
  readonly #stopLooking: () => void;
  #handles = 0;
  #lastTickNs: number;

  constructor(name: string, client: LockClient, tap: TransportTap, report: (report: WorkerReport) => void, time: Time) {
    this.#name = name;
    this.client = client;
    this.#tap = tap;
    this.#report = report;
    this.#time = time;
    this.#lastTickNs = time.nowNs();
    this.#stopLooking = time.every(LOOK_EVERY_MS, () => this.#tick());
  }

  close(): void {
    this.#stopLooking();
  }

  /** `undefined`: not granted, for whatever reason; the history knows. */
  async acquire(options: RequestOptions): Promise<Hold | undefined> {
    const { keys, waitMs, leaseMs, limit, maxHoldMs, minHoldMs, lockDelayMs } = options;
    const mode = options.mode ?? 'exclusive';
    const owner = `${this.#name}/${++this.#handles}`;
    const lines = keys.map((key) => ({
      client: this.#name,
      op: 'acquire' as const,
      key,
      owner,
      token: null,
      holder: null,
      ...(mode === 'exclusive' ? {} : { mode }),
      ...(limit === undefined ? {} : { limit }),
      ...(leaseMs === undefined ? {} : { lease: leaseMs * 1e6 }),
      ...(options.steal === true ? { steal: true } : {}),
      ...(maxHoldMs === undefined ? {} : { maxHold: maxHoldMs * 1e6 }),
      ...(minHoldMs === undefined ? {} : { minHold: minHoldMs * 1e6 }),
      ...(lockDelayMs === undefined ? {} : { lockDelay: lockDelayMs * 1e6 }),
      ...(keys.length > 1 ? { group: owner } : {}),
    }));
    const disconnectsBefore = this.#tap.disconnects;
    const controller = options.cancelAfterMs === undefined ? undefined : new AbortController();
    let cancelledNs: number | undefined;
    const forgetCancel = this.#time.after(options.cancelAfterMs ?? 0, () => {
      if (controller === undefined) return;
      cancelledNs = this.#time.nowNs();
      controller.abort(new Error('cancelled by the workload'));
    });
    const sdkOptions = {
      wait: waitMs,
      metadata: { owner },
      ...(leaseMs === undefined ? {} : { lease: leaseMs }),
      ...(options.steal === true ? { steal: true } : {}),
      ...(maxHoldMs === undefined ? {} : { maxHold: maxHoldMs }),
      ...(minHoldMs === undefined ? {} : { minHold: minHoldMs }),
      ...(lockDelayMs === undefined ? {} : { lockDelay: lockDelayMs }),
      ...(mode === 'shared' ? { mode: 'shared' as const } : {}),
      ...(controller === undefined ? {} : { signal: controller.signal }),
    };
    const call = this.#time.nowNs();
    const waitNote = (endedNs?: number): Partial<HistoryLine> => {
      const queued = this.#tap.queuedNs(owner);
      return {
        ...(queued === undefined ? {} : { queued }),
        // Its session may have ended under it, or the SDK has given up: then nobody waits any more.
        until: Math.min(
          call + waitMs * 1e6,
          cancelledNs ?? Infinity,
          this.#tap.ownerMayEndNs(owner) ?? Infinity,
          ...(endedNs === undefined
            ? []
            : [
                endedNs,
                // It may have been granted without our hearing of it, and its own lease have run out.
                call + Math.min(leaseMs ?? Infinity, maxHoldMs ?? Infinity) * 1e6,
              ]),
        ),
        ...(this.#tap.disconnects > disconnectsBefore ? { disconnected: true } : {}),
        ...(endedNs === undefined ? {} : { heard: Math.max(call, this.#tap.heardUntilNs) }),
      };
    };
    for (const line of lines) this.#report({ type: 'begin', line: { ...line, call, return: null, result: 'unknown' } });
    let result: TryResult;
    try {
      if (mode === 'permit') {
        const semaphore = this.client.semaphore(keys[0] as string, { limit: limit as number });
        result =
          options.isTry === true
            ? await semaphore.tryAcquire(sdkOptions)
            : { ok: true, lock: await semaphore.acquire(sdkOptions) };
      } else if (keys.length > 1) {
        result = { ok: true, lock: await this.client.acquireAll(keys, sdkOptions) };
      } else if (options.isTry === true) {
        result = await this.client.tryAcquire(keys[0] as string, sdkOptions);
      } else {
        result = { ok: true, lock: await this.client.acquire(keys[0] as string, sdkOptions) };
      }
    } catch (error) {
      this.#refused(error, owner, lines, call, waitNote(this.#time.nowNs()));
      return undefined;
    } finally {
      forgetCancel();
    }
    const returned = this.#time.nowNs();
    if (!result.ok) {
      const because = result.because === 'holder' ? undefined : result.because;
      for (const line of lines) {
        this.#line({
          ...line,
          call,
          return: returned,
          result: 'fail',
          holder: because === undefined ? (result.holder?.metadata?.['owner'] ?? null) : null,
          ...(because === undefined ? {} : { because }),
        });
      }
      this.#tap.forget(owner);
      return undefined;
    }
    const { lock } = result;
    const { slot } = lock;
    if (mode === 'permit' && (slot === undefined || slot < 1 || slot > (limit as number))) {
      this.#report({
        type: 'violation',
        check: 'slots',
        what: `${owner} was given slot ${slot} of a semaphore with limit ${limit}`,
      });
    }
    const hold: Hold = {
      owner,
      lock,
      mode,
      limit,
      keys: mode === 'permit' ? keys.map((key) => `${key}#${slot}`) : keys,
      // The lease cannot have begun before the request was sent.
      ownLeaseEndsNs: leaseMs === undefined ? Infinity : (this.#tap.sentNs(owner) ?? call) + leaseMs * 1e6,
      maxHoldEndsNs: maxHoldMs === undefined ? Infinity : (this.#tap.sentNs(owner) ?? call) + maxHoldMs * 1e6,
      latestNs: undefined,
      lastHeldNs: undefined,
      toldNs: undefined,
      releasedNs: undefined,
      mayEndNs: 0,
    };
    this.#updateMayEnd(hold);
    const told = (): void => {
      // Virtual time stands still between the two; which came first decides whether a lock-delay is due.
      hold.toldNs ??= Math.max(this.#time.nowNs(), (hold.releasedNs ?? -Infinity) + 1);
    };
    if (lock.signal.aborted) told();
    else lock.signal.addEventListener('abort', told, { once: true });
    for (const [index, line] of lines.entries()) {
      // A slot is a lock of its own; waiting happens for the semaphore as a whole.
      const { limit: _, mode: __, ...slotLine } = line;
      const granted = mode === 'permit' ? slotLine : { ...line, ...waitNote() };
      this.#line({
        ...granted,
        key: hold.keys[index] as string,
        token: lock.token,
        call,
        return: returned,
        result: 'ok',
      });
      this.#report({ type: 'hold', owner, key: hold.keys[index] as string, token: lock.token, mayEnd: hold.mayEndNs });
    }
    this.#holds.add(hold);
    return hold;
  }

  /** Restarts the own lease. */
  async extend(hold: Hold, leaseMs: number): Promise<void> {
    const sentNs = this.#time.nowNs();
    try {
      await hold.lock.extend(leaseMs);
      hold.ownLeaseEndsNs = Math.max(hold.ownLeaseEndsNs, sentNs + leaseMs * 1e6);
    } catch (error) {
      this.#error(error);
    }
    // Answered or not, it may have been carried out until just now.
    hold.latestNs = this.#time.nowNs() + leaseMs * 1e6;
  }

  /** From shared to exclusive or back. Resolves to whether that was done; the history knows of a refusal, too. */
  async convert(hold: Hold, to: 'upgrade' | 'downgrade'): Promise<boolean> {
    const call = this.#time.nowNs();
    const base = {
      client: this.#name,
      op: to,
      key: hold.keys[0] as string,
      owner: hold.owner,
      token: null,
      call,
      holder: null,
    };
    const unknown = { ...base, return: null, result: 'unknown' as const };
    this.#report({ type: 'begin', line: unknown });
    try {
      await (to === 'upgrade' ? hold.lock.upgrade() : hold.lock.downgrade());
      this.#line({ ...base, token: hold.lock.token, return: this.#time.nowNs(), result: 'ok' });
      return true;
    } catch (error) {
      const code = error instanceof LockdError ? error.code : undefined;
      if (code === 'LOCKD_CONFLICT') this.#line({ ...base, return: this.#time.nowNs(), result: 'fail' });
      else this.#line(unknown);
      if (code !== 'LOCKD_CONFLICT' && code !== 'LOCKD_LOST') this.#error(error);
      return false;
    }
  }

  async release(hold: Hold): Promise<void> {
    this.#look(hold);
    const call = this.#time.nowNs();
    hold.releasedNs = call;
    const base = { client: this.#name, op: 'release' as const, owner: hold.owner, token: null, holder: null };
    let line: Omit<HistoryLine, 'key'>;
    this.#report({ type: 'releasing', owner: hold.owner, at: call });
    try {
      await hold.lock.release();
      line = { ...base, call, return: this.#time.nowNs(), result: 'ok' };
    } catch (error) {
      const code = error instanceof LockdError ? error.code : 'not a LockdError';
      if (code === 'LOCKD_NOT_HELD') {
        // The service no longer had it although the SDK thought so: that is a loss, and an answer about the state.
        line = { ...base, call, return: this.#time.nowNs(), result: 'fail' };
        hold.toldNs ??= this.#time.nowNs();
        this.#report({
          type: 'trace',
          owner: hold.owner,
          why: 'told that it does not hold what it had not lost',
          messages: this.#tap.trace(hold.owner),
        });
      } else {
        // Lost before, or no answer: the SDK ends the session in the background, which gives back what it held.
        line = { ...base, call: Math.min(call, hold.toldNs ?? call), return: null, result: 'unknown' };
        if (code !== 'LOCKD_LOST') this.#error(error);
      }
    }
    this.#finish(hold, line);
  }

  /** Who has these names, by a linearizable read. `mode`: how the history is to understand it. */
  async read(key: string, mode: 'exclusive' | 'shared'): Promise<void> {
    const call = this.#time.nowNs();
    try {
      const info = await this.client.inspect(key);
      const returned = this.#time.nowNs();
      const holders = info.holders.map((holder) => holder.metadata?.['owner']);
      if (holders.includes(undefined)) return;
      const first = info.holders[0];
      this.#report({
        type: 'line',
        line: {
          client: this.#name,
          op: 'read',
          key,
          owner: null,
          token: first?.token ?? null,
          call,
          return: returned,
          result: 'ok',
          holder: holders[0] ?? null,
          ...(mode === 'shared' ? { mode, holders: holders as string[] } : {}),
        },
      });
    } catch (error) {
      this.#error(error);
    }
  }

  #refused(
    error: unknown,
    owner: string,
    lines: readonly Omit<HistoryLine, 'call' | 'return' | 'result'>[],
    call: number,
    note: Partial<HistoryLine>,
  ): void {
    const returned = this.#time.nowNs();
    const code = error instanceof LockdError ? error.code : 'CANCELLED';
    const hadNoEffect = error instanceof LockdError && error.outcome === 'not-applied';
    if (code === 'LOCKD_WAIT_TIMEOUT' && !hadNoEffect && (returned - call) / 1e6 > 15_000) {
      this.#report({
        type: 'trace',
        owner,
        why: 'waited for long and was told nothing',
        messages: this.#tap.trace(owner),
      });
    }
    for (const line of lines) {
      if (code === 'LOCKD_WAIT_TIMEOUT' && hadNoEffect) {
        // It stood in the queue to the end: whoever stood before it was in its way.
        this.#line({ ...line, call, return: returned, result: 'fail', because: 'waiter', ...note });
      } else if (hadNoEffect) {
        this.#report({ type: 'drop', owner });
      } else {
        this.#line({ ...line, call, return: null, result: 'unknown', ...note });
        // Whatever it was granted, the SDK gives back in the background, at any time.
        this.#line({ ...line, op: 'expire', call, return: null, result: 'unknown' });
      }
    }
    this.#tap.forget(owner);
    if (code !== 'CANCELLED') this.#error(error);
  }

  #finish(hold: Hold, release: Omit<HistoryLine, 'key'>): void {
    this.#updateMayEnd(hold);
    this.#holds.delete(hold);
    this.#tap.forget(hold.owner);
    const mode = hold.mode === 'shared' ? { mode: hold.mode } : {};
    const endNs = hold.toldNs ?? release.call;
    const fromNs = Math.min(hold.lastHeldNs ?? endNs, endNs) - 1e9;
    const stalled =
      // What has just been overslept is not in the list yet.
      this.#time.nowNs() - this.#lastTickNs > (LOOK_EVERY_MS + STALL_MS) * 1e6 ||
      this.#stalls.some((stall) => stall.toNs > fromNs && stall.fromNs < endNs + 1e9);
    for (const key of hold.keys) {
      this.#line({ ...release, ...mode, key });
      this.#line({
        client: this.#name,
        op: 'expire',
        key,
        owner: hold.owner,
        token: null,
        call: hold.mayEndNs,
        return: null,
        result: 'unknown',
        holder: null,
        ...mode,
        ...(hold.lastHeldNs === undefined ? {} : { lastHeld: hold.lastHeldNs }),
        ...(hold.toldNs === undefined ? {} : { told: hold.toldNs }),
        ...(hold.latestNs === undefined ? {} : { latest: hold.latestNs }),
        ...(stalled ? { stalled: true } : {}),
      });
    }
  }

  #look(hold: Hold): void {
    // Before the look: whatever happens between the two instants, the answer was computed after this one.
    const atNs = this.#time.nowNs();
    if (hold.lock.held) hold.lastHeldNs = atNs;
    this.#updateMayEnd(hold);
  }

  #updateMayEnd(hold: Hold): void {
    // After a loss nothing that is acknowledged belongs to this grant any more.
    if (hold.toldNs !== undefined && hold.mayEndNs !== 0) return;
    const sessionNs = this.#tap.sessionMayEndNs(hold.lock.session) ?? 0;
    hold.mayEndNs = Math.min(sessionNs, hold.ownLeaseEndsNs, hold.maxHoldEndsNs);
  }

  #tick(): void {
    const nowNs = this.#time.nowNs();
    const lateMs = (nowNs - this.#lastTickNs) / 1e6 - LOOK_EVERY_MS;
    if (lateMs > STALL_MS) {
      this.#stalls.push({ fromNs: this.#lastTickNs, toNs: nowNs });
      if (this.#stalls.length > 500) this.#stalls.shift();
      this.#report({ type: 'stall', from: this.#lastTickNs, to: nowNs });
    }
    this.#lastTickNs = nowNs;
    for (const hold of this.#holds) this.#look(hold);
  }

  #line(line: HistoryLine): void {
    // Which slot a permit was refused or lost on is not known, and slots are what is judged.
    if (line.mode === 'permit' && line.result !== 'ok') this.#report({ type: 'drop', owner: line.owner as string });
    else this.#report({ type: 'line', line });
  }

  #error(error: unknown): void {
    this.#report({
      type: 'error',
      code: error instanceof LockdError ? error.code : 'UNEXPECTED',
      message: error instanceof Error ? error.message : String(error),
    });
  }
}
