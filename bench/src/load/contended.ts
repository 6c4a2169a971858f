import type { LockDriver } from '../drivers/driver.ts';
import { Histogram } from '../measure/histogram.ts';
import { pause } from '../processes/children.ts';
import type { PhaseListener } from './cycles.ts';
import { ErrorCounts } from './errors.ts';
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
  let measuring = false;
  let over = false;
  let grants = 0;
  let releasedAt: number | undefined;

  const work = async (worker: number): Promise<void> => {
    while (!over) {
      const begun = performance.now();
      try {
        const handle = await driver.acquire(worker, name);
        const granted = performance.now();
        if (measuring) {
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
  await pause(workload.warmUpMs);
  onPhase('measuring');
  measuring = true;
  const begun = performance.now();
  await pause(workload.measureMs);
  measuring = false;
  const seconds = (performance.now() - begun) / 1000;
  onPhase('measured');
  over = true;
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
