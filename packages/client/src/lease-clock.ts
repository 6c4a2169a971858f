/**
 * How a client counts a deadline that a server keeps: from when it sent the message that started it, so before the
 * server can have begun, and less than the server gives, so that it ends earlier (docs/protocol.md, "Counting leases").
 */
import type { Instant } from './clock.ts';

/** By how much the rates of two machines' clocks may differ. */
const DRIFT = 0.01;
/** What the client's event loop may take to notice. */
const MARGIN = 0.01;
const MARGIN_MS = 100;

/** Shorter leases would leave nothing after the margin. */
export const MIN_LEASE_MS = 250;

/** How long a lease of `leaseMs` may be relied on, counted from the sending of what started it. */
export function usableMs(leaseMs: number): number {
  return leaseMs * (1 - DRIFT - MARGIN) - MARGIN_MS;
}

/** The larger of what the two clocks say: suspension stops one of them, a step of the wall clock only ends a lease early. */
export function elapsedMs(since: Instant, now: Instant): number {
  return Math.max(now.monotonicMs - since.monotonicMs, now.wallMs - since.wallMs);
}

export function laterOf(a: Instant, b: Instant | undefined): Instant {
  return b !== undefined && b.monotonicMs > a.monotonicMs ? b : a;
}
