import { type HistoryLine, modeOf } from '../../src/history/history-line.ts';

/**
 * The definition, word for word: tries every order of every subset of the unanswered operations. Shares no code with the
 * real checker. For a handful of lines of one key.
 */
export function naiveIsLinearizable(lines: readonly HistoryLine[]): boolean {
  const limits = new Map<string, HistoryLine>();
  for (const line of lines) if (line.op === 'acquire' && line.owner !== null) limits.set(line.owner, line);
  const must = lines.filter(
    (line) =>
      line.return !== null &&
      !(line.op === 'acquire' && line.result === 'fail' && line.because !== undefined) &&
      !(line.op === 'downgrade' && line.result === 'fail') &&
      // Says nothing where one whose answer was lost may be in the way.
      !(line.op === 'upgrade' && line.result === 'fail' && lines.some((other) => isUnansweredBy(other, line))),
  );
  const thieves = new Set(
    lines.flatMap((line) => (line.op === 'acquire' && line.result === 'ok' && line.steal === true ? [line.owner] : [])),
  );
  const may = lines.filter(
    (line) => line.return === null && line.op !== 'read' && !(line.thief !== undefined && thieves.has(line.thief)),
  );
  const seen = new Set<string>();

  const search = (
    left: ReadonlySet<HistoryLine>,
    optional: ReadonlySet<HistoryLine>,
    holders: readonly string[],
    granted: readonly string[],
    swapped: readonly string[],
  ): boolean => {
    if (left.size === 0) return true;
    const id = `${[...left].map((l) => lines.indexOf(l)).join()}|${[...optional].map((l) => lines.indexOf(l)).join()}|${[...holders].sort().join()}|${[...granted].sort().join()}|${[...swapped].sort().join()}`;
    if (seen.has(id)) return false;
    seen.add(id);
    const deadline = Math.min(...[...left].map((line) => line.return as number));
    for (const line of [...left, ...optional]) {
      if (line.call > deadline) continue;
      const after = step(line, holders, granted, swapped);
      if (after === undefined) continue;
      const isConversion = line.op === 'upgrade' || line.op === 'downgrade';
      const changes = isConversion && line.result !== 'fail' && modeNow(line.owner as string, swapped) !== wanted(line);
      const nextLeft = new Set(left);
      const nextOptional = new Set(optional);
      nextLeft.delete(line);
      nextOptional.delete(line);
      if (
        search(
          nextLeft,
          nextOptional,
          after,
          line.op === 'acquire' && line.result !== 'fail' ? [...granted, line.owner as string] : granted,
          changes && holders.includes(line.owner as string) ? toggled(swapped, line.owner as string) : swapped,
        )
      )
        return true;
    }
    return false;
  };

  const modeNow = (owner: string, swapped: readonly string[]): string | undefined => {
    const line = limits.get(owner);
    const mode = line === undefined ? 'exclusive' : modeOf(line);
    return swapped.includes(owner) ? (mode === 'shared' ? 'exclusive' : 'shared') : mode;
  };
  const wanted = (line: HistoryLine): string => (line.op === 'upgrade' ? 'exclusive' : 'shared');
  const toggled = (list: readonly string[], owner: string): readonly string[] =>
    list.includes(owner) ? list.filter((other) => other !== owner) : [...list, owner];

  const step = (
    line: HistoryLine,
    holders: readonly string[],
    granted: readonly string[],
    swapped: readonly string[],
  ): readonly string[] | undefined => {
    const owner = line.owner as string;
    switch (line.op) {
      case 'upgrade':
      case 'downgrade':
        if (line.result === 'fail') {
          return holders.includes(owner) && modeNow(owner, swapped) === 'shared' && holders.length > 1
            ? holders
            : undefined;
        }
        if (!holders.includes(owner)) return line.result === 'unknown' ? holders : undefined;
        if (modeNow(owner, swapped) === wanted(line) || line.op === 'downgrade' || holders.length === 1) return holders;
        return undefined;
      case 'acquire': {
        if (line.result === 'fail') {
          return (line.holder === null ? holders.length > 0 : holders.includes(line.holder)) ? holders : undefined;
        }
        if (granted.includes(owner)) return undefined;
        const mode = modeOf(line);
        if (line.result === 'ok' && line.steal === true) return [owner];
        const fits =
          mode === 'exclusive'
            ? holders.length === 0
            : holders.every((holder) => limits.has(holder) && modeNow(holder, swapped) === mode);
        if (!fits || (mode === 'permit' && holders.length >= (line.limit as number))) return undefined;
        return [...holders, owner];
      }
      case 'release':
        if (line.result === 'fail') return holders.includes(owner) ? undefined : holders;
        if (holders.includes(owner)) return holders.filter((holder) => holder !== owner);
        return line.result === 'unknown' ? holders : undefined;
      case 'expire':
        return holders.filter((holder) => holder !== owner);
      case 'read': {
        if (line.holders !== undefined) {
          const expected = line.holders;
          return expected.length === holders.length && expected.every((holder) => holders.includes(holder))
            ? holders
            : undefined;
        }
        if (line.holder === null) return holders.length === 0 ? holders : undefined;
        if (modeOf(line) !== 'exclusive') return holders.includes(line.holder) ? holders : undefined;
        return holders.length === 1 && holders[0] === line.holder ? holders : undefined;
      }
    }
  };
  return search(new Set(must), new Set(may), [], [], []);
}

function isUnansweredBy(other: HistoryLine, line: HistoryLine): boolean {
  return other.op === 'acquire' && other.result === 'unknown' && other.call <= (line.return as number);
}
