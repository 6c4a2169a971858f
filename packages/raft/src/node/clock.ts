/**
 * Time and turns of the event loop, as the driver sees them. The simulator has its own; the real one is
 * `realClock`, the only place in this package that touches them.
 */
export interface Clock {
  /** Monotonic, whole milliseconds. */
  nowMs(): number;
  /** Calls `callback` once, not before `delayMs` has passed. Returns a function that cancels it. */
  after(delayMs: number, callback: () => void): () => void;
  /** Calls `callback` once this turn's sockets have been read (`setImmediate`). */
  endOfTurn(callback: () => void): void;
}

/** The machine's monotonic clock; timers do not keep the process alive. */
export const realClock: Clock = {
  nowMs: () => Math.floor(performance.now()),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
  endOfTurn(callback) {
    setImmediate(callback);
  },
};
