import type { Completion, TableState } from './state.ts';

/** Completion records belong to a name: two names may use the same key of `once`. */
export function completionKey(name: string, onceKey: string): string {
  // The length keeps ('a', 'bc') and ('ab', 'c') apart.
  return `${name.length}:${name}${onceKey}`;
}

/** Records that the work is done, from now on for `keepMs`. Returns undefined where there is no room for another record. */
export function complete(state: TableState, key: string, keepMs: number): Completion | undefined {
  const before = state.completions.get(key);
  if (before !== undefined) {
    dropCompletion(state, before);
  } else if (state.completions.size >= state.limits.maxCompletions) {
    return undefined;
  }
  const completion: Completion = { key, keepMs, generation: state.index, stamp: state.freshStamp };
  state.completions.set(key, completion);
  state.sink.deadlineStarted('once', 0, 0, key, keepMs, completion.generation);
  return completion;
}

export function dropCompletion(state: TableState, completion: Completion): void {
  state.touchCompletion(completion);
  state.completions.delete(completion.key);
  state.sink.deadlineEnded('once', 0, 0, completion.key);
}
