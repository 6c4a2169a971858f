import type { LockDriver } from '../drivers/driver.ts';
import { Histogram } from '../measure/histogram.ts';
import { pause } from '../processes/children.ts';
import { ErrorCounts } from './errors.ts';
import type { Workload, WorkloadResult } from './workload.ts';

/** Locks that stay: how long it takes to get many, and what they weigh while they are held. */
export class Holding {
  readonly #driver: LockDriver;
  readonly #handles: unknown[] = [];

  constructor(driver: LockDriver) {
    this.#driver = driver;
  }

  async hold(workload: Extract<Workload, { type: 'hold' }>): Promise<WorkloadResult> {
    const acquire = new Histogram();
    const errors = new ErrorCounts();
    const begun = performance.now();
    let next = 0;
    let held = 0;
    const work = async (worker: number): Promise<void> => {
      while (next < workload.count) {
        const number = next++;
        const asked = performance.now();
        try {
          this.#handles.push(await this.#driver.acquire(worker, `${workload.prefix}/held/${number}`));
          acquire.record((performance.now() - asked) * 1000);
          held++;
        } catch (error) {
          errors.add(error);
        }
      }
    };
    await Promise.all(Array.from({ length: workload.inFlight }, (_, worker) => work(worker)));
    return this.#result(held, begun, acquire, errors);
  }

  async releaseAll(inFlight: number): Promise<WorkloadResult> {
    const errors = new ErrorCounts();
    const begun = performance.now();
    let released = 0;
    const work = async (worker: number): Promise<void> => {
      for (let handle = this.#handles.pop(); handle !== undefined; handle = this.#handles.pop()) {
        try {
          await this.#driver.release(worker, handle);
          released++;
        } catch (error) {
          errors.add(error);
        }
      }
    };
    await Promise.all(Array.from({ length: inFlight }, (_, worker) => work(worker)));
    return this.#result(released, begun, new Histogram(), errors);
  }

  /** One holder and `count` waiters at one name. The waiters' promises are left alone: they end with the process. */
  async queue(workload: Extract<Workload, { type: 'queue' }>): Promise<WorkloadResult> {
    const errors = new ErrorCounts();
    const begun = performance.now();
    const name = `${workload.prefix}/queue`;
    this.#handles.push(await this.#driver.acquire(0, name));
    for (let waiter = 0; waiter < workload.count; waiter++) {
      this.#driver.acquire(waiter, name).catch((error: unknown) => errors.add(error));
      // A window at a time: a client may have only so many requests without an answer.
      if (waiter % 500 === 499) await pause(20);
    }
    await pause(500);
    return this.#result(workload.count, begun, new Histogram(), errors);
  }

  #result(count: number, begun: number, acquire: Histogram, errors: ErrorCounts): WorkloadResult {
    return {
      cycles: count,
      seconds: (performance.now() - begun) / 1000,
      acquire: acquire.toData(),
      errors: errors.toRecord(),
    };
  }
}
