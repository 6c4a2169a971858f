import type { TableSink } from '../../src/lock-table/sink.ts';

export type Call = readonly [name: keyof TableSink, ...args: readonly unknown[]];

/** Keeps every call. */
export interface RecordingSink extends TableSink {
  /** The calls since the last `take`. */
  take(): Call[];
}

const METHODS: readonly (keyof TableSink)[] = [
  'sessionOpened',
  'openRefused',
  'sessionAttached',
  'attachRefused',
  'sessionDetached',
  'sessionEnded',
  'answered',
  'refused',
  'granted',
  'waiting',
  'ended',
  'deadlineStarted',
  'deadlineEnded',
  'workLeft',
];

export function recordingSink(): RecordingSink {
  let calls: Call[] = [];
  const record =
    (name: keyof TableSink) =>
    (...args: unknown[]) => {
      calls.push([name, ...args]);
    };
  const methods = Object.fromEntries(METHODS.map((name) => [name, record(name)])) as unknown as TableSink;
  return {
    ...methods,
    // Nobody's answer; what it is for is tested with the deadlines.
    sessionHeard() {},
    take() {
      const taken = calls;
      calls = [];
      return taken;
    },
  };
}
