/** What users may ask for, and its translation into what is sent. Everything wrong is LOCKD_INVALID, and says what would be right. */
import { invalid } from './errors.ts';
import type { HeldLock } from './held-lock.ts';
import { MIN_LEASE_MS } from './lease-clock.ts';
import {
  type AcquireOptions,
  canonicalName,
  type Duration,
  durationMs,
  LIMITS,
  nameProblem,
} from './protocol/index.ts';
import { canonicalMetadata } from './shown.ts';

export interface AcquireLockOptions {
  /** How long to wait for it, up to 7 days; 0 tries once. @default '30s', and 0 for `tryAcquire` */
  readonly wait?: Duration;
  /** Its own lease, from 250 ms to 7 days, which nothing renews but `extend`. Without it the session's renewals keep the lock. */
  readonly lease?: Duration;
  /** `shared` locks of a name stand together, and exclude exclusive ones. @default 'exclusive' */
  readonly mode?: 'exclusive' | 'shared';
  /** Cancels the waiting; the call rejects with the signal's own reason. No effect once the lock is held. */
  readonly signal?: AbortSignal;
  /** Strings for people: shown by `inspect`, and to those who find the name busy. At most 32 keys, and 4096 characters in all. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** It ends after this time, from 250 ms to 7 days, however alive its holder is. */
  readonly maxHold?: Duration;
  /** The name stays reserved for at least this long after the grant, also when it is released sooner. */
  readonly minHold?: Duration;
  /** After an end that was no release the name stays reserved for this long. */
  readonly lockDelay?: Duration;
  /**
   * Share the hold of this lock, or (true, Node only) of the enclosing `withLock` of the same name, instead of waiting for
   * oneself. Each is released on its own; the last one frees the name.
   */
  readonly reentrant?: HeldLock | true;
  /** Take it from its holder, whose signal aborts. */
  readonly steal?: boolean;
}

export const DEFAULT_WAIT_MS = 30_000;

/** The canonical form of a name that can be used; throws LOCKD_INVALID. */
export function checkName(name: unknown): string {
  if (typeof name !== 'string') throw invalid(`a name is a string, not ${typeof name}`);
  const canonical = canonicalName(name);
  const problem = nameProblem(canonical);
  if (problem !== undefined) throw invalid(problem);
  return canonical;
}

/** Milliseconds of an option between two bounds; throws LOCKD_INVALID. */
export function checkDuration(
  value: unknown,
  what: string,
  minMs: number,
  maxMs: number = LIMITS.maxDurationMs,
): number {
  const ms = durationMs(value);
  if (ms === undefined)
    throw invalid(`${what} is a number of milliseconds or a string like '5s', not ${JSON.stringify(value)}`);
  if (ms < minMs || ms > maxMs) throw invalid(`${what} is from ${minMs} to ${maxMs} ms, not ${ms}`);
  return ms;
}

export function checkWait(wait: Duration | undefined): number {
  return wait === undefined ? DEFAULT_WAIT_MS : checkDuration(wait, '`wait`', 0);
}

export function checkLease(lease: Duration | undefined): number | undefined {
  return lease === undefined ? undefined : checkDuration(lease, '`lease`', MIN_LEASE_MS);
}

/** In the form in which it travels; throws LOCKD_INVALID. */
export function checkMetadata(given: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  for (const [key, value] of Object.entries(given)) {
    if (typeof value !== 'string') throw invalid(`metadata are strings, and ${JSON.stringify(key)} is not`);
  }
  const metadata = canonicalMetadata(given);
  const entries = Object.entries(metadata);
  if (entries.length > LIMITS.maxMetadataKeys)
    throw invalid(`metadata has at most ${LIMITS.maxMetadataKeys} keys, not ${entries.length}`);
  let length = 0;
  for (const [key, value] of entries) length += key.length + value.length;
  if (length > LIMITS.maxMetadataLength)
    throw invalid(`metadata has at most ${LIMITS.maxMetadataLength} characters in all, not ${length}`);
  return metadata;
}

/** The part of the options that travels as a map; null where nothing does. */
export function wireOptions(
  options: AcquireLockOptions,
  extra: Pick<AcquireOptions, 'permits' | 'reenter' | 'holding' | 'onceKey'> | undefined,
): AcquireOptions | null {
  const { mode, metadata, maxHold, minHold, lockDelay, steal } = options;
  // Nearly always, and often.
  if ((mode ?? metadata ?? maxHold ?? minHold ?? lockDelay ?? steal ?? extra) === undefined) return null;
  if (mode !== undefined && mode !== 'exclusive' && mode !== 'shared')
    throw invalid("`mode` is 'exclusive' or 'shared'");
  const wire: AcquireOptions = {
    ...(mode === 'shared' ? { mode } : undefined),
    ...(maxHold === undefined ? undefined : { maxHoldMs: checkDuration(maxHold, '`maxHold`', MIN_LEASE_MS) }),
    ...(minHold === undefined ? undefined : { minHoldMs: checkDuration(minHold, '`minHold`', 0) }),
    ...(lockDelay === undefined ? undefined : { lockDelayMs: checkDuration(lockDelay, '`lockDelay`', 0) }),
    ...(metadata === undefined ? undefined : { metadata: checkMetadata(metadata) }),
    ...(steal === true ? { steal } : undefined),
    ...extra,
  };
  return Object.keys(wire).length === 0 ? null : wire;
}
