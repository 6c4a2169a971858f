import type { ConnectOptions, DriverSpec } from '../drivers/driver.ts';
import type { GapReport, Workload, WorkloadResult } from './workload.ts';

/** What the bench asks of its load generator's process; each is answered once, under its id. */
export type LoadRequest =
  | { readonly type: 'connect'; readonly spec: DriverSpec; readonly options: ConnectOptions }
  | { readonly type: 'run'; readonly workload: Workload }
  /** `watch-gaps` only: forget the gaps so far; what has been seen since; stop. */
  | { readonly type: 'mark' | 'report' | 'finish' }
  | { readonly type: 'close' };

export type LoadAnswer = WorkloadResult | GapReport | undefined;

export interface RequestMessage {
  readonly id: number;
  readonly request: LoadRequest;
}

export type LoadMessage =
  | { readonly type: 'phase'; readonly phase: 'measuring' | 'measured' }
  | { readonly type: 'answer'; readonly id: number; readonly answer: LoadAnswer }
  | { readonly type: 'failed'; readonly id: number; readonly message: string };
