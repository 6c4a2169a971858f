import type { LockDriver } from '../drivers/driver.ts';
import { Histogram } from '../measure/histogram.ts';
import { pause } from '../processes/children.ts';
import { ErrorCounts } from './errors.ts';
import { MeasuredTime, type PhaseListener } from './measured-time.ts';
import type { Workload, WorkloadResult } from './workload.ts';

/** `workers` take turns at one name. All of them live in this process, so one clock times each hand-off. */
export async function runContended(
  driver: LockDriver,
  workload: Extract<Workload, { type: 'contended' }>,
  onPhase: PhaseListener,
): Promise<WorkloadResult> {
  const acquire = new Histogram();
  const handOff = new Histogram();
  const errors = new ErrorCounts();
  const grantsByWorker = new Array<number>(workload.workers).fill(0);
  const name = `${workload.prefix}/contended`;
  const time = new MeasuredTime();
  let grants = 0;
  let releasedAt: number | undefined;

  const work = async (worker: number): Promise<void> => {
    while (!time.isOver) {
      const begun = performance.now();
      try {
        const handle = await driver.acquire(worker, name);
        const granted = performance.now();
        if (time.isMeasuring) {
          grants++;
          grantsByWorker[worker] = (grantsByWorker[worker] as number) + 1;
          acquire.record((granted - begun) * 1000);
          if (releasedAt !== undefined) handOff.record((granted - releasedAt) * 1000);
        }
        releasedAt = performance.now();
        await driver.release(worker, handle);
      } catch (error) {
        errors.add(error);
        await pause(10);
      }
    }
  };
  const workers = Array.from({ length: workload.workers }, (_, worker) => work(worker));
  const seconds = await time.pass(workload, onPhase);
  await Promise.all(workers);
  return {
    cycles: grants,
    seconds,
    acquire: acquire.toData(),
    handOff: handOff.toData(),
    grantsByWorker,
    errors: errors.toRecord(),
  };
}
