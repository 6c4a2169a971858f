import type { HistoryLine } from '../history/history-line.ts';
import { modeOf } from '../history/history-line.ts';
import { shrinkWindow } from './shrink.ts';
import { type Failure, MAX_FAILURES_KEPT, type Verdict } from './verdict.ts';
import { failure, seconds } from './words.ts';

/**
 * Is there an order of the operations, each at one instant between its call and its answer, in which a lock table that
 * follows its rules would have given these answers? Decided for each key by itself (linearizability is local).
 *
 * The rules of a key, whose state is the set of owners that have it:
 *
 * - `acquire ok` adds the owner, which is granted a key only once (it names the handle), where nobody has it, or only shared owners (shared), or fewer
 *   than `limit` permits are out. `acquire unknown` does the same at any later time or never.
 * - `acquire fail` without `because` needs the named holder (or somebody) to have it; with `because` it says nothing.
 * - `release ok` removes the owner, who must have it, whoever asked. `release fail` needs the owner not to have it.
 * - `release unknown` and `expire` remove the owner at any time from their call on, or never.
 * - `acquire ok` with `steal` also takes the key from whoever has it, in the same instant. What a thief whose answer was lost
 *   took is ended by the `release unknown` line that goes with it.
 * - `upgrade ok` makes the only one who shares the key exclusive, `downgrade ok` makes who has it exclusively share it; `upgrade
 *   fail` needs somebody else to share it too, and says nothing where that may be one whose answer was lost. `unknown` does the same at any later time or never.
 * - `read ok` needs the named holder (all of `holders`; nobody where `null`) to have it.
 *
 * The search is Wing and Gong's with memoised configurations, run forward in time: it keeps every configuration (state,
 * operations that took effect before their answer) the history so far allows, so quiescent points collapse to states
 * and a contradiction is found at the answer that completes it. Configurations stay few because an operation is only
 * tried early where that can matter: see `isLazy` and `isEager`.
 */
export function checkLinearizability(lines: readonly HistoryLine[], options: LinearizabilityOptions = {}): Verdict {
  const check = 'linearizability';
  const originNs = lines.reduce((first, line) => Math.min(first, line.call), Infinity);
  const failures: Failure[] = [];
  const undecided: string[] = [];
  let failed = 0;
  let judged = 0;
  for (const [key, ofKey] of partitionByKey(lines)) {
    const result = checkKey(ofKey, options);
    judged += result.operations;
    if (result.outcome === 'undecided') undecided.push(key);
    if (result.outcome !== 'fail') continue;
    failed++;
    if (failures.length < MAX_FAILURES_KEPT) failures.push(explain(key, ofKey, result.atNs, originNs));
  }
  if (failed > 0) {
    return {
      check,
      outcome: 'fail',
      judged,
      failures,
      summary: `${failed} of the keys cannot be explained; the first: ${failures[0]?.what ?? ''}`,
    };
  }
  if (undecided.length > 0) {
    return {
      check,
      outcome: 'undecided',
      judged,
      failures: [],
      summary: `gave up on ${undecided.slice(0, 5).join(', ')} after ${options.maxSteps ?? DEFAULT_MAX_STEPS} steps or ${options.maxConfigurations ?? DEFAULT_MAX_CONFIGURATIONS} open configurations`,
    };
  }
  if (judged === 0) return { check, outcome: 'nothing', judged, failures: [], summary: 'no operations to judge' };
  return {
    check,
    outcome: 'pass',
    judged,
    failures: [],
    summary: `${judged.toLocaleString('en-US')} operations have a valid order`,
  };
}

export interface LinearizabilityOptions {
  /** Budget for one key, in configurations looked at. Beyond it the key is undecided. @default 20,000,000 */
  readonly maxSteps?: number;
  /** Budget for one instant, in configurations that are open at once. @default 200,000 */
  readonly maxConfigurations?: number;
}

const DEFAULT_MAX_STEPS = 20_000_000;
const DEFAULT_MAX_CONFIGURATIONS = 200_000;
/** A request without an answer is over after this: whoever gave it up has said so, or its session has ended. */
const LONGEST_UNANSWERED_NS = 60e9;

export type KeyResult =
  | { readonly outcome: 'pass' | 'undecided'; readonly operations: number; readonly steps: number }
  /** `atNs`: the answer that no order explains. */
  | { readonly outcome: 'fail'; readonly operations: number; readonly steps: number; readonly atNs: number };

export function partitionByKey(lines: readonly HistoryLine[]): Map<string, HistoryLine[]> {
  const keys = new Map<string, HistoryLine[]>();
  for (const line of lines) {
    const ofKey = keys.get(line.key);
    if (ofKey === undefined) keys.set(line.key, [line]);
    else ofKey.push(line);
  }
  return keys;
}

type Operation = {
  readonly id: number;
  readonly callNs: number;
  /** Infinity: no answer. */
  readonly returnNs: number;
  /** Takes effect at its answer at the latest useful moment: never worth trying early. */
  isLazy: boolean;
  /** Takes effect at its call at no loss. */
  isEager: boolean;
} & (
  | { readonly type: 'grant'; readonly owner: number; readonly steals: boolean }
  | { readonly type: 'end'; readonly owner: number }
  /** `isSettled`: its owner was granted the key before it was called, and cannot be granted it again. */
  | { readonly type: 'convert'; readonly owner: number; readonly to: 'exclusive' | 'shared'; isSettled: boolean }
  | { readonly type: 'held-by' | 'not-held-by' | 'shared-with-others'; readonly owner: number }
  | { readonly type: 'held-exactly-by'; readonly owners: readonly number[] }
  | { readonly type: 'held-by-somebody' | 'impossible' }
);

interface Owner {
  readonly mode: 'exclusive' | 'shared' | 'permit';
  readonly limit: number;
  /** From when on the grant may end without an answered release. */
  readonly mayEndNs: number;
  /** An owner that changes between exclusive and shared has two numbers, one for each; this is the other one. */
  readonly twin: number | undefined;
}

/** A state of the key together with what took effect before its answer. Both lists are sorted; never changed. */
interface Configuration {
  readonly holders: readonly number[];
  readonly done: readonly number[];
}

/** Lines of one key only. */
export function checkKey(lines: readonly HistoryLine[], options: LinearizabilityOptions = {}): KeyResult {
  const maxSteps = options.maxSteps ?? DEFAULT_MAX_STEPS;
  const maxConfigurations = options.maxConfigurations ?? DEFAULT_MAX_CONFIGURATIONS;
  const { operations, owners, lastUseNs } = operationsOf(lines);

  /** The number under which an owner holds, in whichever mode. */
  const heldAs = (holders: readonly number[], owner: number): number | undefined => {
    if (holders.includes(owner)) return owner;
    const twin = owners[owner]?.twin;
    return twin !== undefined && holders.includes(twin) ? twin : undefined;
  };
  const canGrant = (holders: readonly number[], owner: number): boolean => {
    const wanted = owners[owner] as Owner;
    if (holders.length === 0) return wanted.mode !== 'permit' || wanted.limit > 0;
    if (wanted.mode === 'exclusive' || heldAs(holders, owner) !== undefined) return false;
    if (wanted.mode === 'permit' && holders.length >= wanted.limit) return false;
    return holders.every((holder) => owners[holder]?.mode === wanted.mode);
  };
  const holds = (holders: readonly number[], operation: Operation): boolean => {
    switch (operation.type) {
      case 'held-by':
        return heldAs(holders, operation.owner) !== undefined;
      case 'not-held-by':
        return heldAs(holders, operation.owner) === undefined;
      case 'held-exactly-by':
        return (
          holders.length === operation.owners.length &&
          operation.owners.every((owner) => heldAs(holders, owner) !== undefined)
        );
      case 'shared-with-others': {
        const held = heldAs(holders, operation.owner);
        return held !== undefined && owners[held]?.mode === 'shared' && holders.length > 1;
      }
      case 'held-by-somebody':
        return holders.length > 0;
      default:
        return false;
    }
  };

  /** The holders once this change has taken effect; `undefined` where it cannot. */
  const changed = (holders: readonly number[], change: Operation): readonly number[] | undefined => {
    switch (change.type) {
      case 'grant':
        if (canGrant(holders, change.owner)) return insert(holders, change.owner);
        return change.steals && heldAs(holders, change.owner) === undefined ? [change.owner] : undefined;
      case 'end': {
        const held = heldAs(holders, change.owner);
        return held === undefined ? undefined : without(holders, held);
      }
      case 'convert': {
        const held = heldAs(holders, change.owner);
        if (held === undefined) return undefined;
        const { mode, twin } = owners[held] as Owner;
        if (mode === change.to) return holders;
        if (twin === undefined || (change.to === 'exclusive' && holders.length > 1)) return undefined;
        return insert(without(holders, held), twin);
      }
      default:
        return undefined;
    }
  };

  // Two lists of the same operations: at equal instants calls come first, so operations that touch are concurrent.
  const byCall = [...operations].sort((a, b) => a.callNs - b.callNs);
  const byReturn = operations
    .filter((operation) => operation.returnNs !== Infinity)
    .sort((a, b) => a.returnNs - b.returnNs);
  const openChanges = new Set<Operation>();
  const openObservers = new Set<Operation>();
  const openUnanswered = new Set<Operation>();
  let configurations = new Map<string, Configuration>();
  let steps = 0;

  /** Observers change nothing, so one that is content now is never better off later: it takes effect at once. */
  const settle = (holders: readonly number[], done: readonly number[]): Configuration => {
    let settled: number[] | undefined;
    for (const observer of openObservers) {
      if (!done.includes(observer.id) && holds(holders, observer)) (settled ??= [...done]).push(observer.id);
    }
    // A change of mode that got no answer can do nothing any more once its owner has gone.
    for (const change of openUnanswered) {
      if (change.type !== 'convert' || !change.isSettled || done.includes(change.id)) continue;
      if (heldAs(holders, change.owner) === undefined) (settled ??= [...done]).push(change.id);
    }
    return { holders, done: settled === undefined ? done : settled.sort((a, b) => a - b) };
  };
  const add = (map: Map<string, Configuration>, configuration: Configuration): boolean => {
    const id = idOf(configuration.holders, configuration.done);
    if (map.has(id)) return false;
    map.set(id, configuration);
    return true;
  };
  /** An unanswered acquire that came and went allows nothing that the same state with it still to come does not. */
  const isDominated = (map: ReadonlyMap<string, Configuration>, { holders, done }: Configuration): boolean => {
    for (const unanswered of openUnanswered) {
      if (done.includes(unanswered.id) && unanswered.type === 'grant' && !holders.includes(unanswered.owner)) {
        if (map.has(idOf(holders, without(done, unanswered.id)))) return true;
      }
    }
    return false;
  };
  add(configurations, { holders: [], done: [] });

  let nextCall = 0;
  for (const answered of byReturn) {
    for (; nextCall < byCall.length; nextCall++) {
      const called = byCall[nextCall] as Operation;
      if (called.callNs > answered.returnNs) break;
      const isChange = called.type === 'grant' || called.type === 'end' || called.type === 'convert';
      (isChange ? openChanges : openObservers).add(called);
      if (called.returnNs === Infinity) openUnanswered.add(called);
      if (isChange && !called.isEager) continue;
      const after = new Map<string, Configuration>();
      for (const { holders, done } of configurations.values()) {
        steps++;
        if (!isChange) {
          add(after, holds(holders, called) ? { holders, done: insert(done, called.id) } : { holders, done });
        } else {
          const next = changed(holders, called);
          add(after, next === undefined ? { holders, done } : settle(next, insert(done, called.id)));
        }
      }
      configurations = after;
    }

    // Every way to reach a configuration in which `answered` has taken effect, and nothing more than that needs.
    let reached = new Map<string, Configuration>();
    const seen = new Map<string, Configuration>();
    const queue: Configuration[] = [];
    for (const configuration of configurations.values()) {
      if (add(seen, configuration)) queue.push(configuration);
    }
    for (let configuration = queue.pop(); configuration !== undefined; configuration = queue.pop()) {
      if (++steps > maxSteps || seen.size > maxConfigurations)
        return { outcome: 'undecided', operations: operations.length, steps };
      const { holders, done } = configuration;
      if (done.includes(answered.id)) {
        add(reached, { holders, done: without(done, answered.id) });
        continue;
      }
      for (const change of openChanges) {
        if ((change.isLazy && change !== answered) || done.includes(change.id)) continue;
        const after = changed(holders, change);
        if (after === undefined) continue;
        const next = settle(after, insert(done, change.id));
        if (add(seen, next)) queue.push(next);
      }
      for (const holder of holders) {
        if ((owners[holder] as Owner).mayEndNs > answered.returnNs) continue;
        const next = settle(without(holders, holder), done);
        if (!isDominated(seen, next) && add(seen, next)) queue.push(next);
      }
    }
    if (reached.size === 0) return { outcome: 'fail', operations: operations.length, steps, atNs: answered.returnNs };
    openChanges.delete(answered);
    openObservers.delete(answered);
    // Nobody will look for these any more: with or without them is the same from here on.
    for (const unanswered of openUnanswered) {
      const isSpent =
        unanswered.type === 'convert'
          ? [...reached.values()].every(({ done }) => done.includes(unanswered.id))
          : (lastUseNs.get(unanswered.id) ?? Infinity) < answered.returnNs;
      if (!isSpent) continue;
      openUnanswered.delete(unanswered);
      openChanges.delete(unanswered);
      const merged = new Map<string, Configuration>();
      for (const { holders, done } of reached.values()) add(merged, { holders, done: without(done, unanswered.id) });
      reached = merged;
    }
    if (openUnanswered.size > 0 && reached.size > 1) {
      for (const [id, configuration] of reached) if (isDominated(reached, configuration)) reached.delete(id);
    }
    configurations = reached;
  }
  return { outcome: 'pass', operations: operations.length, steps };
}

function idOf(holders: readonly number[], done: readonly number[]): string {
  return `${holders.join(',')}|${done.join(',')}`;
}

function insert(sorted: readonly number[], value: number): readonly number[] {
  const copy = [...sorted];
  let at = copy.length;
  while (at > 0 && (copy[at - 1] as number) > value) at--;
  copy.splice(at, 0, value);
  return copy;
}

function without(list: readonly number[], value: number): readonly number[] {
  return list.filter((item) => item !== value);
}

interface Parsed {
  readonly operations: Operation[];
  readonly owners: readonly Owner[];
  /** For an unanswered acquire: the last answer that could need it. */
  readonly lastUseNs: ReadonlyMap<number, number>;
}

function operationsOf(lines: readonly HistoryLine[]): Parsed {
  const ids = new Map<string, number>();
  const ownerId = (name: string): number => {
    const known = ids.get(name);
    if (known !== undefined) return known;
    ids.set(name, ids.size);
    return ids.size - 1;
  };
  const mayEndNs = new Map<number, number>();
  const modes = new Map<number, Pick<Owner, 'mode' | 'limit'>>();
  const operations: Operation[] = [];
  const unanswered: Operation[] = [];
  const converted = new Set<number>();
  /** Named by a read, a refusal or an answered release: an unanswered acquire of anybody else cannot matter. */
  const observedUntilNs = new Map<number, number>();
  let anonymousUntilNs = -Infinity;
  const unansweredNs = lines.flatMap(({ op, result, call }) =>
    op === 'acquire' && result === 'unknown' ? [call] : [],
  );
  // A thief that was answered took the key in one instant; the lines that end what it took are for those who do not know that.
  const thieves = new Set(
    lines.flatMap((line) => (line.op === 'acquire' && line.result === 'ok' && line.steal === true ? [line.owner] : [])),
  );
  const observe = (owner: number, untilNs: number): void => {
    observedUntilNs.set(owner, Math.max(observedUntilNs.get(owner) ?? -Infinity, untilNs));
  };

  for (const line of lines) {
    const base = {
      id: operations.length + unanswered.length,
      callNs: line.call,
      returnNs: line.return ?? Infinity,
      isLazy: false,
      isEager: false,
    };
    if (line.op === 'read') {
      if (line.result !== 'ok') continue;
      const owners = (line.holders ?? (line.holder === null ? [] : [line.holder])).map(ownerId);
      for (const owner of owners) observe(owner, base.returnNs);
      // A shared lock's plain `holder` is one of several: only `holders` says who all of them are.
      const isOneOfSeveral = line.holders === undefined && line.holder !== null && modeOf(line) !== 'exclusive';
      operations.push(
        isOneOfSeveral
          ? { ...base, type: 'held-by', owner: owners[0] as number }
          : { ...base, type: 'held-exactly-by', owners },
      );
      continue;
    }
    const owner = ownerId(line.owner as string);
    if (line.op === 'upgrade' || line.op === 'downgrade') {
      if (line.result === 'fail') {
        if (line.op === 'downgrade') continue;
        // Whoever is in the way is not named: it may be one of those whose answer was lost, and to try all of them takes too long.
        if (unansweredNs.some((callNs) => callNs <= base.returnNs && callNs > base.callNs - LONGEST_UNANSWERED_NS))
          continue;
        observe(owner, base.returnNs);
        operations.push({ ...base, type: 'shared-with-others', owner });
        continue;
      }
      converted.add(owner);
      const to = line.op === 'upgrade' ? 'exclusive' : 'shared';
      if (line.result === 'ok') observe(owner, base.returnNs);
      (line.result === 'ok' ? operations : unanswered).push({ ...base, type: 'convert', owner, to, isSettled: false });
      continue;
    }
    if (line.op === 'acquire') {
      if (line.result === 'fail') {
        if (line.because !== undefined) continue;
        if (line.holder === null) {
          anonymousUntilNs = Math.max(anonymousUntilNs, base.returnNs);
          operations.push({ ...base, type: 'held-by-somebody' });
        } else {
          const holder = ownerId(line.holder);
          observe(holder, base.returnNs);
          operations.push({ ...base, type: 'held-by', owner: holder });
        }
        continue;
      }
      modes.set(owner, { mode: modeOf(line), limit: line.limit ?? 1 });
      const steals = line.result === 'ok' && line.steal === true;
      (line.result === 'ok' ? operations : unanswered).push({ ...base, type: 'grant', owner, steals });
    } else if (line.thief !== undefined && thieves.has(line.thief)) {
      // Said by the theft itself.
    } else if (line.op === 'expire' || line.result === 'unknown') {
      mayEndNs.set(owner, Math.min(mayEndNs.get(owner) ?? Infinity, line.call));
    } else {
      if (line.result === 'ok') observe(owner, base.returnNs);
      operations.push({ ...base, type: line.result === 'ok' ? 'end' : 'not-held-by', owner });
    }
  }
  const lastUseNs = new Map<number, number>();
  // A second answered grant of one handle has no place; of unanswered ones, the first can stand for all.
  const granted = new Set<number>();
  operations.forEach((operation, index) => {
    if (operation.type !== 'grant') return;
    if (granted.has(operation.owner)) operations[index] = { ...operation, type: 'impossible' };
    granted.add(operation.owner);
  });
  const grantedByNs = new Map<number, number>();
  for (const operation of operations)
    if (operation.type === 'grant') grantedByNs.set(operation.owner, operation.returnNs);
  for (const operation of unanswered.sort((a, b) => a.callNs - b.callNs)) {
    if (operation.type === 'convert') {
      operation.isSettled = (grantedByNs.get(operation.owner) ?? Infinity) < operation.callNs;
      operations.push(operation);
    }
    if (operation.type !== 'grant' || granted.has(operation.owner)) continue;
    granted.add(operation.owner);
    const lastNs = Math.max(anonymousUntilNs, observedUntilNs.get(operation.owner) ?? -Infinity);
    if (lastNs < operation.callNs) continue;
    operations.push(operation);
    lastUseNs.set(operation.id, lastNs);
  }

  const owners: Owner[] = [];
  for (const id of ids.values()) {
    owners[id] = {
      ...(modes.get(id) ?? { mode: 'exclusive', limit: 1 }),
      mayEndNs: mayEndNs.get(id) ?? Infinity,
      twin: undefined,
    };
  }
  for (const id of converted) {
    const owner = owners[id] as Owner;
    owners.push({ ...owner, mode: owner.mode === 'shared' ? 'exclusive' : 'shared', twin: id });
    owners[id] = { ...owner, twin: owners.length - 1 };
  }
  findShortCuts(operations, owners);
  return { operations, owners, lastUseNs };
}

/**
 * Marks operations whose place in the order can be fixed without losing any history that has an order.
 *
 * A grant is lazy when nothing could tell that it took effect before its answer: nobody saw its owner hold the key, and
 * the grant could not have ended, before then. Any order with the grant earlier stays valid with it at its answer,
 * because meanwhile it can only have stood in the way.
 * A release is eager when nobody can have seen its owner hold the key after its call: for the same reason.
 */
function findShortCuts(operations: readonly Operation[], owners: readonly Owner[]): void {
  const firstSeenNs = new Map<number, number>();
  const lastSeenNs = new Map<number, number>();
  const firstEndNs = new Map<number, number>();
  const ends = new Map<number, number>();
  const grantReturnNs = new Map<number, number>();
  const anonymous: Operation[] = [];
  const thefts: Operation[] = [];
  const see = (owner: number, operation: Operation): void => {
    firstSeenNs.set(owner, Math.min(firstSeenNs.get(owner) ?? Infinity, operation.callNs));
    lastSeenNs.set(owner, Math.max(lastSeenNs.get(owner) ?? -Infinity, operation.returnNs));
  };
  for (const operation of operations) {
    if (operation.type === 'held-by') see(operation.owner, operation);
    else if (operation.type === 'held-exactly-by') for (const owner of operation.owners) see(owner, operation);
    else if (operation.type === 'held-by-somebody') anonymous.push(operation);
    else if (operation.type === 'convert') see(operation.owner, operation);
    else if (operation.type === 'shared-with-others') {
      see(operation.owner, operation);
      anonymous.push(operation);
    } else if (operation.type === 'end') {
      firstEndNs.set(operation.owner, Math.min(firstEndNs.get(operation.owner) ?? Infinity, operation.callNs));
      ends.set(operation.owner, (ends.get(operation.owner) ?? 0) + 1);
    } else if (operation.type === 'grant') {
      grantReturnNs.set(operation.owner, operation.returnNs);
      if (operation.steals) thefts.push(operation);
    }
  }
  const anonymousOverlaps = overlaps(anonymous);
  // What is stolen before its owner had the answer cannot wait for the answer.
  const theftOverlaps = overlaps(thefts);
  for (const operation of operations) {
    if (operation.type === 'grant' && operation.returnNs !== Infinity) {
      operation.isLazy =
        (owners[operation.owner] as Owner).mayEndNs > operation.returnNs &&
        (firstEndNs.get(operation.owner) ?? Infinity) > operation.returnNs &&
        (firstSeenNs.get(operation.owner) ?? Infinity) > operation.returnNs &&
        !anonymousOverlaps(operation.callNs, operation.returnNs) &&
        !theftOverlaps(operation.callNs, operation.returnNs);
    } else if (operation.type === 'end') {
      operation.isEager =
        ends.get(operation.owner) === 1 &&
        (grantReturnNs.get(operation.owner) ?? Infinity) < operation.callNs &&
        (lastSeenNs.get(operation.owner) ?? -Infinity) < operation.callNs &&
        !anonymousOverlaps(operation.callNs, operation.returnNs);
    }
  }
}

/** Answers, in logarithmic time, whether any of `operations` overlaps a stretch of time. */
function overlaps(operations: readonly Operation[]): (fromNs: number, toNs: number) => boolean {
  const byCall = [...operations].sort((a, b) => a.callNs - b.callNs);
  const latestReturnNs: number[] = [];
  for (const { returnNs } of byCall) latestReturnNs.push(Math.max(returnNs, latestReturnNs.at(-1) ?? -Infinity));
  return (fromNs, toNs) => {
    let low = 0;
    let high = byCall.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((byCall[middle] as Operation).callNs <= toNs) low = middle + 1;
      else high = middle;
    }
    return low > 0 && (latestReturnNs[low - 1] as number) >= fromNs;
  };
}

function explain(key: string, lines: readonly HistoryLine[], atNs: number, originNs: number): Failure {
  const window = shrinkWindow(lines, atNs, (part) => checkKey(part, { maxSteps: 2_000_000 }).outcome === 'fail');
  const last = window.reduce((latest, line) => Math.max(latest, line.return ?? 0), 0);
  const clash = clashOf(window);
  const what =
    clash ??
    `the answers for ${key} up to ${seconds(last, originNs)} contradict each other: no order of these ${window.length} operations explains them`;
  // What became of the owners in the window belongs to the story, though the contradiction does not need it.
  const involved = new Set(
    window.flatMap((line) => (line.op === 'acquire' && line.result !== 'fail' ? [line.owner] : [])),
  );
  const told = new Set(window);
  for (const line of lines) if (line.op !== 'read' && line.op !== 'acquire' && involved.has(line.owner)) told.add(line);
  return failure(key, what, [...told], originNs);
}

/** The commonest contradiction in one sentence: two grants that both stood. */
function clashOf(window: readonly HistoryLine[]): string | undefined {
  const grants = window.filter((line) => line.op === 'acquire' && line.result === 'ok');
  const [first, second] = [...grants].sort((a, b) => (a.return ?? 0) - (b.return ?? 0));
  if (grants.length !== 2 || first === undefined || second === undefined) return undefined;
  if (window.some((line) => line.op === 'read' || line.result === 'fail')) return undefined;
  return `${first.owner} (token ${first.token}) and ${second.owner} (token ${second.token}) had ${first.key} at the same time`;
}
