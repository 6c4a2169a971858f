import type { HistoryLine } from '../history/history-line.ts';

/** What the harness tells a client process at its start: one JSON object as its first argument. */
export interface WorkerSpec {
  readonly name: string;
  readonly seed: number;
  readonly ttlMs: number;
  /** Whom it is told of at first: the founding members, as they advertise themselves. */
  readonly endpoints: readonly string[];
  /** What nodes advertise, and where this client reaches them. */
  readonly links: Readonly<Record<string, string>>;
  readonly codec: 'msgpack' | 'json';
  /** What runs in it, each lane by itself, all over one session. */
  readonly lanes: readonly WorkloadName[];
  /** Line protocol of the protected store. */
  readonly storePort: number;
}

export const WORKLOADS = [
  'exclusive',
  'fifo',
  'cancel',
  'lease',
  'shared',
  'semaphore',
  'multi',
  'reentrant',
  'once',
  'convert',
  'steal',
  'maxhold',
  'minhold',
  'lockdelay',
  'unfenced',
  'fenced',
] as const;
export type WorkloadName = (typeof WORKLOADS)[number];

/** Harness to client, one JSON object a line on stdin. */
export type WorkerCommand =
  /** Keeps the event loop busy. */
  | { readonly type: 'block'; readonly ms: number }
  /** Tells what its wall clock says. */
  | { readonly type: 'clock' }
  /** Begins nothing new, ends what it holds, closes, and exits. */
  | { readonly type: 'stop' };

/** Client to harness, one JSON object a line on stdout. Written at once, so that what a killed client held is known. */
export type WorkerReport =
  | { readonly type: 'ready' }
  /** A request is about to be sent. Ends in `line` or `drop`, or the client dies. */
  | { readonly type: 'begin'; readonly line: HistoryLine }
  /** It had no effect for certain and tells nothing. */
  | { readonly type: 'drop'; readonly owner: string }
  | { readonly type: 'line'; readonly line: HistoryLine }
  /** As of now the service may end this grant from `mayEnd` on; superseded by its `expire` line. */
  | {
      readonly type: 'hold';
      readonly owner: string;
      readonly key: string;
      readonly token: number;
      readonly mayEnd: number;
    }
  /** A release is about to be sent. */
  | { readonly type: 'releasing'; readonly owner: string; readonly at: number }
  | { readonly type: 'error'; readonly code: string; readonly message: string }
  /** What went over the wire before something odd. */
  | { readonly type: 'trace'; readonly owner: string; readonly why: string; readonly messages: readonly string[] }
  | { readonly type: 'stall'; readonly from: number; readonly to: number }
  | { readonly type: 'blocked'; readonly ms: number }
  | { readonly type: 'clock'; readonly wallMs: number }
  /** Between reading and writing what a lock protects. */
  | { readonly type: 'work'; readonly set: string; readonly isOn: boolean }
  /** An element was added, says the store. */
  | { readonly type: 'added'; readonly set: string; readonly element: string }
  | { readonly type: 'rejected'; readonly set: string }
  | {
      readonly type: 'once';
      readonly key: string;
      readonly start: number;
      readonly end: number;
      readonly completed: number | null;
    }
  /** Something that must not happen was seen by the client itself. */
  | { readonly type: 'violation'; readonly check: string; readonly what: string };
