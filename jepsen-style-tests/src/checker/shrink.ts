import type { HistoryLine } from '../history/history-line.ts';

/**
 * The smallest part of a failing history that still fails, found greedily: first the shortest stretch before the
 * failure, then without any owner whose absence changes nothing. Taking away an owner takes everything that names it, so
 * the rest means the same as before.
 */
export function shrinkWindow(
  lines: readonly HistoryLine[],
  atNs: number,
  fails: (part: readonly HistoryLine[]) => boolean,
): readonly HistoryLine[] {
  const originals = new Map<HistoryLine, HistoryLine>();
  const until = lines.flatMap((line): HistoryLine[] => {
    if (line.call > atNs) return [];
    if (line.return === null || line.return <= atNs) return [line];
    if (!isChange(line)) return [];
    // What had no answer by then: with one, it would need what came later, such as the release that made room for it.
    const pending: HistoryLine = { ...line, return: null, result: 'unknown' };
    originals.set(pending, line);
    return [pending];
  });
  return shrink(until, fails).map((line) => originals.get(line) ?? line);
}

function shrink(
  until: readonly HistoryLine[],
  fails: (part: readonly HistoryLine[]) => boolean,
): readonly HistoryLine[] {
  const groups = new Map<string, number>();
  for (const line of until) {
    for (const owner of ownersOf(line)) groups.set(owner, Math.max(groups.get(owner) ?? 0, line.return ?? line.call));
  }
  const latestFirst = [...groups.keys()].sort((a, b) => (groups.get(b) ?? 0) - (groups.get(a) ?? 0));
  const only = (owners: readonly string[], extra: readonly HistoryLine[]): HistoryLine[] => {
    const kept = new Set(owners);
    const keptExtra = new Set(extra);
    return until.filter((line) => {
      const named = ownersOf(line);
      return named.length === 0 ? keptExtra.has(line) : named.every((owner) => kept.has(owner));
    });
  };
  const nameless = until.filter((line) => ownersOf(line).length === 0);

  let owners = latestFirst;
  for (let size = 2; size < latestFirst.length; size *= 2) {
    const part = latestFirst.slice(0, size);
    if (fails(only(part, nameless))) {
      owners = part;
      break;
    }
  }
  if (!fails(only(owners, nameless))) return until;
  let extra: readonly HistoryLine[] = fails(only(owners, [])) ? [] : nameless.slice(-64);
  if (!fails(only(owners, extra))) extra = nameless;

  // Whole chunks first, then one by one: a window of two owners out of thousands takes a few dozen tries.
  for (let chunk = Math.max(1, owners.length >> 1); ; chunk = Math.max(1, chunk >> 1)) {
    for (let at = 0; at < owners.length; ) {
      const fewer = [...owners.slice(0, at), ...owners.slice(at + chunk)];
      if (fails(only(fewer, extra))) owners = fewer;
      else at += chunk;
    }
    if (chunk === 1) break;
  }
  for (let at = extra.length - 1; at >= 0 && extra.length <= 200; at--) {
    const fewer = extra.filter((_, index) => index !== at);
    if (fails(only(owners, fewer))) extra = fewer;
  }
  // Within the owners left, single observations that are not needed go too.
  let window = only(owners, extra);
  for (const line of [...window]) {
    if (isChange(line) && line.result !== 'fail') continue;
    const fewer = window.filter((other) => other !== line);
    if (fails(fewer)) window = fewer;
  }
  return window;
}

/** A refusal only looks at the lock. */
function isChange(line: HistoryLine): boolean {
  return line.op !== 'read' && !(line.op !== 'release' && line.op !== 'expire' && line.result === 'fail');
}

function ownersOf(line: HistoryLine): readonly string[] {
  if (line.op === 'read') return line.holders ?? (line.holder === null ? [] : [line.holder]);
  if (line.op === 'acquire' && line.result === 'fail') return line.holder === null ? [] : [line.holder];
  return line.owner === null ? [] : [line.owner];
}
