import type { LockDriver } from '../drivers/driver.ts';
import { pause } from '../processes/children.ts';
import { ErrorCounts } from './errors.ts';
import type { GapReport, Workload } from './workload.ts';

/** Cycles that never stop while faults are injected, and how long nobody was granted anything. */
export class GapWatch {
  readonly #driver: LockDriver;
  readonly #workload: Extract<Workload, { type: 'watch-gaps' }>;
  readonly #workers: Promise<void>[];
  #over = false;
  #grants = 0;
  #longestGapMs = 0;
  #lastGrantAt: number = performance.now();
  #errors = new ErrorCounts();

  constructor(driver: LockDriver, workload: Extract<Workload, { type: 'watch-gaps' }>) {
    this.#driver = driver;
    this.#workload = workload;
    this.#workers = Array.from({ length: workload.workers }, (_, worker) => this.#work(worker));
  }

  /** Forgets the gaps so far. The one that is open now counts from the last grant. */
  mark(): void {
    this.#longestGapMs = 0;
    this.#grants = 0;
    this.#errors = new ErrorCounts();
  }

  report(): GapReport {
    const msSinceLastGrant = performance.now() - this.#lastGrantAt;
    return {
      longestGapMs: Math.max(this.#longestGapMs, msSinceLastGrant),
      msSinceLastGrant,
      grants: this.#grants,
      errors: this.#errors.toRecord(),
    };
  }

  async finish(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#workers);
  }

  async #work(worker: number): Promise<void> {
    for (let turn = 0; !this.#over; turn++) {
      const outcome = await this.#cycle(worker, `${this.#workload.prefix}/${worker}/${turn}`);
      if (outcome !== 'granted') await pause(10);
    }
  }

  /** One cycle, or as much of it as fits the patience; a lock that comes later is released in the background. */
  #cycle(worker: number, name: string): Promise<'granted' | 'failed'> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve('failed'), this.#workload.patienceMs);
      const end = (outcome: 'granted' | 'failed'): void => {
        clearTimeout(timer);
        resolve(outcome);
      };
      const run = async (): Promise<void> => {
        try {
          const handle = await this.#driver.acquire(worker, name);
          this.#granted();
          await this.#driver.release(worker, handle);
          end('granted');
        } catch (error) {
          this.#errors.add(error);
          end('failed');
        }
      };
      void run();
    });
  }

  #granted(): void {
    const now = performance.now();
    this.#longestGapMs = Math.max(this.#longestGapMs, now - this.#lastGrantAt);
    this.#lastGrantAt = now;
    this.#grants++;
  }
}
