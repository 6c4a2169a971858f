/** The one place of this package's real-process harness that touches clocks and timers. */

/**
 * Nanoseconds of the machine's monotonic clock. Node reads CLOCK_MONOTONIC, which all processes of a Linux machine
 * share, so instants taken by different processes can be compared. Exact as a number for 104 days of uptime.
 */
export function monotonicNs(): number {
  return Number(process.hrtime.bigint());
}

/** Milliseconds since this process began, as in the entries of a `PerformanceObserver`. */
export function processMs(): number {
  return performance.now();
}

/** Milliseconds since 1970, for file names and people only. */
export function wallMs(): number {
  return Date.now();
}

/** Resolves after `ms`; at once, without an error, when `signal` aborts. Keeps the process alive meanwhile. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done, { once: true });
  });
}

/** Calls `fn` every `ms` until the returned function is called. Does not keep the process alive. */
export function every(ms: number, fn: () => void): () => void {
  const timer = setInterval(fn, ms);
  timer.unref();
  return () => clearInterval(timer);
}

/** Calls `fn` once after `ms` unless the returned function is called first. Does not keep the process alive. */
export function after(ms: number, fn: () => void): () => void {
  const timer = setTimeout(fn, ms);
  timer.unref();
  return () => clearTimeout(timer);
}

/** Polls `condition` until it returns something other than `undefined`, or `timeoutMs` has passed: then `undefined`. */
export async function waitFor<T>(
  condition: () => T | undefined | Promise<T | undefined>,
  timeoutMs: number,
  pollMs = 50,
  signal?: AbortSignal,
): Promise<T | undefined> {
  const deadlineNs = monotonicNs() + timeoutMs * 1e6;
  for (;;) {
    const value = await condition();
    if (value !== undefined) return value;
    if (monotonicNs() >= deadlineNs || signal?.aborted === true) return undefined;
    await sleep(pollMs, signal);
  }
}

/** The value of `promise`, or `undefined` when it takes longer than `timeoutMs`. Rejections pass through. */
export async function within<T>(promise: Promise<T>, timeoutMs: number): Promise<T | undefined> {
  let cancel = (): void => {};
  const late = new Promise<undefined>((resolve) => {
    const timer = setTimeout(() => resolve(undefined), timeoutMs);
    cancel = () => clearTimeout(timer);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    cancel();
  }
}

/** Time as a workload sees it: the machine's for real processes, virtual in the simulator. */
export interface Time {
  /** See {@link monotonicNs}. */
  nowNs(): number;
  /** See {@link sleep}. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** See {@link every}. */
  every(ms: number, fn: () => void): () => void;
  /** See {@link after}. */
  after(ms: number, fn: () => void): () => void;
}

export const realTime: Time = { nowNs: monotonicNs, sleep, every, after };
