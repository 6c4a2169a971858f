import { type Clock, realClock } from '../../src/clock.ts';

/**
 * Real time that a test can stop: no heartbeat, no timer, nothing that happens only because time passes. What the nodes then
 * do, they do because of messages and writes, and that can be counted on any machine.
 */
export class StoppableClock implements Clock {
  /** How often somebody asked for the end of a turn. */
  endOfTurnCount = 0;
  #stoppedAtMs: number | undefined;
  #lostMs = 0;
  #held: (() => void)[] = [];

  nowMs(): number {
    return (this.#stoppedAtMs ?? realClock.nowMs()) - this.#lostMs;
  }

  wallMs(): number {
    return realClock.wallMs();
  }

  after(delayMs: number, callback: () => void): () => void {
    let isCancelled = false;
    const run = (): void => {
      if (isCancelled) return;
      if (this.#stoppedAtMs === undefined) callback();
      else this.#held.push(run);
    };
    const cancel = realClock.after(delayMs, run);
    return () => {
      isCancelled = true;
      cancel();
    };
  }

  endOfTurn(callback: () => void): void {
    this.endOfTurnCount++;
    realClock.endOfTurn(callback);
  }

  stop(): void {
    this.#stoppedAtMs ??= realClock.nowMs();
  }

  /** Time goes on from where it stopped, so nobody missed anything. */
  go(): void {
    if (this.#stoppedAtMs === undefined) return;
    this.#lostMs += realClock.nowMs() - this.#stoppedAtMs;
    this.#stoppedAtMs = undefined;
    for (const run of this.#held.splice(0)) run();
  }
}
