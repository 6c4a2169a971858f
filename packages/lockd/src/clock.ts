import { type Clock as RaftClock, realClock as raftClock } from '@lockd/raft/node';

/** Time and turns of the event loop. Everything in this package that needs either is given one of these. */
export interface Clock extends RaftClock {
  /** Wall clock, milliseconds since 1970: for people's eyes only, never for a decision. */
  wallMs(): number;
}

/** The machine's clocks. Its timers do not keep the process alive. */
export const realClock: Clock = {
  nowMs: () => raftClock.nowMs(),
  after: (delayMs, callback) => raftClock.after(delayMs, callback),
  endOfTurn: (callback) => raftClock.endOfTurn(callback),
  wallMs: () => Date.now(),
};

/** `2026-01-02T03:04:05.678Z`: for people. */
export function isoTime(wallMs: number): string {
  return new Date(wallMs).toISOString();
}

/** Resolves after `delayMs`, and keeps the process alive until then: for the CLI, which waits with nothing else open. */
export function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, delayMs);
  });
}

/** Keeps the process alive until the returned function is called: what waits for a lock may have no socket open for a moment. */
export function keepAlive(): () => void {
  const timer = setInterval(() => {}, 1_000_000);
  return () => clearInterval(timer);
}
