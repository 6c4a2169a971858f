/** A moment on both of the machine's clocks, because neither tells the whole truth: the monotonic one stands still while the host is suspended, the wall clock jumps. */
export interface Instant {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/** Time and turns of the event loop, as the SDK sees them. Tests and the simulator have their own. */
export interface Clock {
  now(): Instant;
  /**
   * Calls `callback` once, not before `delayMs` has passed on the monotonic clock. Returns a function that cancels it.
   * `keepsAlive`: somebody awaits what comes of it, so the process must not end before.
   */
  after(delayMs: number, callback: () => void, keepsAlive: boolean): () => void;
  /** Calls `callback` once this turn's sockets have been read and its microtasks have run. */
  endOfTurn(callback: () => void): void;
}

interface EventLoop {
  readonly setImmediate?: (callback: () => void) => unknown;
}

/** Node's timers can be told not to keep the process alive; a browser's are numbers. */
interface MaybeUnref {
  readonly unref?: () => void;
}

const setImmediateIfAny = (globalThis as EventLoop).setImmediate;

/** The machine's clocks. The only place in this package that touches them. */
export const realClock: Clock = {
  now: () => ({ monotonicMs: performance.now(), wallMs: Date.now() }),
  after(delayMs, callback, keepsAlive) {
    // Longer delays than a timer can count would fire at once.
    const timer = setTimeout(callback, Math.min(delayMs, 0x7fffffff));
    if (!keepsAlive) (timer as unknown as MaybeUnref).unref?.();
    return () => clearTimeout(timer);
  },
  endOfTurn: setImmediateIfAny === undefined ? browserEndOfTurn() : (callback) => void setImmediateIfAny(callback),
};

/** A message to oneself: unlike a timer it is not held back to 4 ms, nor to a second in a page in the background. */
function browserEndOfTurn(): (callback: () => void) => void {
  const channel = new MessageChannel();
  const waiting: (() => void)[] = [];
  // The two platforms' types of a port have no common form for this.
  (channel.port1 as unknown as { onmessage: () => void }).onmessage = () => waiting.shift()?.();
  return (callback) => {
    waiting.push(callback);
    channel.port2.postMessage(null);
  };
}
