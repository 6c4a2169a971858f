import type { LockDriver } from '../drivers/driver.ts';
import { Histogram } from '../measure/histogram.ts';
import { pause } from '../processes/children.ts';
import { ErrorCounts } from './errors.ts';
import { MeasuredTime, type PhaseListener } from './measured-time.ts';
import type { CyclesWorkload, WorkloadResult } from './workload.ts';

/** After a failure a worker waits so long: a service that refuses at once would otherwise be measured refusing. */
const PAUSE_AFTER_ERROR_MS = 10;

export function runCycles(
  driver: LockDriver,
  workload: CyclesWorkload,
  onPhase: PhaseListener,
): Promise<WorkloadResult> {
  return workload.ratePerSecond === undefined
    ? runClosedLoop(driver, workload, onPhase)
    : runOpenLoop(driver, workload, workload.ratePerSecond, onPhase);
}

async function runClosedLoop(
  driver: LockDriver,
  workload: CyclesWorkload,
  onPhase: PhaseListener,
): Promise<WorkloadResult> {
  const acquire = new Histogram();
  const errors = new ErrorCounts();
  const namesPerWorker = workload.namesPerWorker ?? 8;
  const time = new MeasuredTime();
  let cycles = 0;

  const work = async (worker: number): Promise<void> => {
    const names = Array.from({ length: namesPerWorker }, (_, index) => `${workload.prefix}/${worker}/${index}`);
    for (let turn = 0; !time.isOver; turn++) {
      const begunInside = time.isMeasuring;
      const begun = performance.now();
      try {
        const handle = await driver.acquire(worker, names[turn % namesPerWorker] as string);
        if (begunInside) acquire.record((performance.now() - begun) * 1000);
        await driver.release(worker, handle);
        if (time.isMeasuring) cycles++;
      } catch (error) {
        if (begunInside) errors.add(error);
        await pause(PAUSE_AFTER_ERROR_MS);
      }
    }
  };
  const workers = Array.from({ length: workload.workers }, (_, worker) => work(worker));

  const seconds = await time.pass(workload, onPhase);
  // What is under way when the time is over belongs to the latencies: leaving it out would hide a stall at the end.
  await Promise.all(workers);
  return { cycles, seconds, acquire: acquire.toData(), errors: errors.toRecord() };
}

const TICK_MS = 1;
/** Of a rate that the service cannot keep up with, no more than this piles up; the rest is counted as failed. */
const MAX_UNDER_WAY = 100_000;

async function runOpenLoop(
  driver: LockDriver,
  workload: CyclesWorkload,
  ratePerSecond: number,
  onPhase: PhaseListener,
): Promise<WorkloadResult> {
  const acquire = new Histogram();
  const errors = new ErrorCounts();
  const underWay = new Set<Promise<void>>();
  const time = new MeasuredTime();
  let cycles = 0;
  let scheduled = 0;

  const cycle = async (number: number, intended: number, inside: boolean): Promise<void> => {
    const worker = number % workload.workers;
    try {
      const handle = await driver.acquire(worker, `${workload.prefix}/open/${number}`);
      if (inside) acquire.record((performance.now() - intended) * 1000);
      await driver.release(worker, handle);
      if (time.isMeasuring) cycles++;
    } catch (error) {
      if (inside) errors.add(error);
    }
  };

  /** Begins the cycles of `durationMs`, those of each millisecond together; late ones all the same, from their instant. */
  const schedule = async (durationMs: number): Promise<void> => {
    const begun = performance.now();
    const first = scheduled;
    const ticks = Math.ceil(durationMs / TICK_MS);
    for (let tick = 0; tick < ticks; ) {
      const now = performance.now();
      for (; tick < ticks && begun + tick * TICK_MS <= now; tick++) {
        const due = first + Math.floor(((tick + 1) * TICK_MS * ratePerSecond) / 1000);
        while (scheduled < due) {
          if (underWay.size >= MAX_UNDER_WAY) {
            if (time.isMeasuring) errors.add(new Error(`not begun: ${MAX_UNDER_WAY} under way`));
            scheduled++;
            continue;
          }
          const running = cycle(scheduled++, begun + tick * TICK_MS, time.isMeasuring);
          underWay.add(running);
          void running.then(() => underWay.delete(running));
        }
      }
      await pause(TICK_MS);
    }
  };

  const seconds = await time.pass(workload, onPhase, schedule);
  await Promise.all(underWay);
  return { cycles, seconds, acquire: acquire.toData(), errors: errors.toRecord() };
}
