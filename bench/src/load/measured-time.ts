import { pause } from '../processes/children.ts';

/** Called at the ends of the measured time, so that whoever accounts CPU can read it there. */
export type PhaseListener = (phase: 'measuring' | 'measured') => void;

/** The warm-up, then the time that counts: what every load that measures for a while has in common. */
export class MeasuredTime {
  /** What happens now counts. */
  isMeasuring = false;
  /** Workers end what they have begun, and begin nothing more. */
  isOver = false;

  /** Resolves to the length of the measured time in seconds. `elapse` lets time pass, and may do something meanwhile. */
  async pass(
    timing: { readonly warmUpMs: number; readonly measureMs: number },
    onPhase: PhaseListener,
    elapse: (durationMs: number) => Promise<unknown> = pause,
  ): Promise<number> {
    await elapse(timing.warmUpMs);
    onPhase('measuring');
    this.isMeasuring = true;
    const begun = performance.now();
    await elapse(timing.measureMs);
    this.isMeasuring = false;
    const seconds = (performance.now() - begun) / 1000;
    onPhase('measured');
    this.isOver = true;
    return seconds;
  }
}
