/**
 * One line of a history: what a client asked for, what it was told, and when. The first nine fields are the format
 * that outside checkers rely on; the optional ones are extensions that such a checker may ignore.
 *
 * All instants are nanoseconds of one monotonic clock.
 */
export interface HistoryLine {
  readonly client: string;
  readonly op: 'acquire' | 'release' | 'read' | 'expire' | 'upgrade' | 'downgrade';
  readonly key: string;
  /** Names the handle: of the grant asked for, released or ended. `null` for a read. */
  readonly owner: string | null;
  readonly token: number | null;
  readonly call: number;
  /** `null` for `unknown`: it may take effect at any time after `call`, or never. */
  readonly return: number | null;
  readonly result: 'ok' | 'fail' | 'unknown';
  /** A refusal names who had the lock; a read says who has it, `null` for nobody. */
  readonly holder: string | null;

  /** A refusal that was not due to a holder. */
  readonly because?: 'waiter' | 'delay' | 'break' | 'minHold';
  /** Absent: exclusive. */
  readonly mode?: 'exclusive' | 'shared' | 'permit';
  /** Of a semaphore: how many permits may be out at once. */
  readonly limit?: number;
  /** Read of a shared lock or a semaphore: everybody who has it. */
  readonly holders?: readonly string[];

  /** Acquire: when the client was told that its request stands in the queue. */
  readonly queued?: number;
  /** Acquire: the earliest instant at which its wait may have ended without a grant (its own limit, or a cancel). */
  readonly until?: number;
  /** Acquire: its connection was closed at some time while it waited, so it may have been passed over. */
  readonly disconnected?: boolean;
  /** Acquire without an answer: it had a connection until then at least. Later it may have been passed over unheard. */
  readonly heard?: number;
  /** Acquire: nanoseconds of the lease of its own that was asked for. */
  readonly lease?: number;
  /** Acquire: several names in one step share this label. */
  readonly group?: string;
  /** Acquire: it may take the lock from its holder. */
  readonly steal?: boolean;
  /** Acquire: nanoseconds after which the grant ends, however alive its holder is. */
  readonly maxHold?: number;
  /** Acquire: nanoseconds after the grant for which the name stays reserved, also when it is released sooner. */
  readonly minHold?: number;
  /** Acquire: nanoseconds for which the name stays reserved after an end that was no release. */
  readonly lockDelay?: number;

  /** Release that a steal brings with it: the owner that the lock was granted to. */
  readonly thief?: string;

  /** Expire: when the holder last looked and the handle said that it holds the lock (taken before the look). */
  readonly lastHeld?: number;
  /** Expire: when the handle's signal told the holder that the lock is lost. */
  readonly told?: number;
  /** Expire: an extension that got no answer may keep the grant until then. */
  readonly latest?: number;
  /** Expire: the holder's process did not run freely around that time (frozen or blocked on purpose). */
  readonly stalled?: boolean;
}

export type LockMode = 'exclusive' | 'shared' | 'permit';

export function modeOf(line: HistoryLine): LockMode {
  return line.mode ?? 'exclusive';
}
