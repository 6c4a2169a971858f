import type { HistogramData } from '../measure/histogram.ts';

/** What the load generator does. Durations in milliseconds. All names begin with `prefix`, so that runs do not meet. */
export type Workload =
  | CyclesWorkload
  | {
      /** `workers` take turns at one name, each again as soon as it has released. */
      readonly type: 'contended';
      readonly prefix: string;
      readonly workers: number;
      readonly warmUpMs: number;
      readonly measureMs: number;
    }
  | {
      /** Cycles until `finish`, watching for the longest time in which nobody anywhere was granted anything (see `report`). */
      readonly type: 'watch-gaps';
      readonly prefix: string;
      readonly workers: number;
      /** A worker that has waited so long for one lock turns to another name. */
      readonly patienceMs: number;
    }
  | {
      /** Takes `count` different names and keeps them until the process ends or `release-all`. */
      readonly type: 'hold';
      readonly prefix: string;
      readonly count: number;
      readonly inFlight: number;
    }
  | { readonly type: 'release-all'; readonly inFlight: number }
  | {
      /** Takes one name and lets `count` requests wait behind it. Resolves when the service has had time to queue them. */
      readonly type: 'queue';
      readonly prefix: string;
      readonly count: number;
    }
  | {
      /** lockd only: more sessions, over as few connections as the protocol allows. Nobody renews them: give them a long TTL. */
      readonly type: 'open-sessions';
      readonly endpoints: readonly string[];
      readonly count: number;
      readonly ttlMs: number;
    }
  | {
      /** All sessions of `open-sessions`, renewed as fast as the answers come. */
      readonly type: 'renew-sessions';
      readonly warmUpMs: number;
      readonly measureMs: number;
    };

/** Acquire and release, each worker on names of its own. */
export interface CyclesWorkload {
  readonly type: 'cycles';
  readonly prefix: string;
  readonly workers: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
  /**
   * Open loop: so many cycles a second begin on a schedule, however slow the answers are, and latency counts from
   * the scheduled instant. Absent: closed loop, each worker begins when its last cycle has ended, and latency is
   * the time one request took.
   */
  readonly ratePerSecond?: number;
  /** How many names a worker goes round. Default 8; the open loop takes each scheduled cycle on a name of its own. */
  readonly namesPerWorker?: number;
}

export interface WorkloadResult {
  /** Cycles (grants, for `contended`; locks, for `hold`) that ended inside the measured time. */
  readonly cycles: number;
  readonly seconds: number;
  /** Of every acquire that began inside the measured time, also those that ended after it. Microseconds. */
  readonly acquire: HistogramData;
  /** `contended`: from the call of release to the next grant. Microseconds. */
  readonly handOff?: HistogramData;
  /** `contended`: grants of each worker. */
  readonly grantsByWorker?: readonly number[];
  /** How often requests failed, by code or message. */
  readonly errors: Readonly<Record<string, number>>;
}

/** What `watch-gaps` has seen since the last mark. */
export interface GapReport {
  /** Longest time between two grants that follow each other, the current one included. */
  readonly longestGapMs: number;
  readonly msSinceLastGrant: number;
  readonly grants: number;
  readonly errors: Readonly<Record<string, number>>;
}
