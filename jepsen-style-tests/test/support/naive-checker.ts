import { type HistoryLine, modeOf } from '../../src/history/history-line.ts';

/**
 * The definition, word for word: tries every order of every subset of the unanswered operations. Shares no code with the
 * real checker. For a handful of lines of one key.
 */
export function naiveIsLinearizable(lines: readonly HistoryLine[]): boolean {
  const limits = new Map<string, HistoryLine>();
  for (const line of lines) if (line.op === 'acquire' && line.owner !== null) limits.set(line.owner, line);
  const must = lines.filter(
    (line) => line.return !== null && !(line.op === 'acquire' && line.result === 'fail' && line.because !== undefined),
  );
  const may = lines.filter((line) => line.return === null && line.op !== 'read');
  const seen = new Set<string>();

  const search = (
    left: ReadonlySet<HistoryLine>,
    optional: ReadonlySet<HistoryLine>,
    holders: readonly string[],
    granted: readonly string[],
  ): boolean => {
    if (left.size === 0) return true;
    const id = `${[...left].map((l) => lines.indexOf(l)).join()}|${[...optional].map((l) => lines.indexOf(l)).join()}|${[...holders].sort().join()}|${[...granted].sort().join()}`;
    if (seen.has(id)) return false;
    seen.add(id);
    const deadline = Math.min(...[...left].map((line) => line.return as number));
    for (const line of [...left, ...optional]) {
      if (line.call > deadline) continue;
      const after = step(line, holders, granted);
      if (after === undefined) continue;
      const nextLeft = new Set(left);
      const nextOptional = new Set(optional);
      nextLeft.delete(line);
      nextOptional.delete(line);
      if (
        search(
          nextLeft,
          nextOptional,
          after,
          after.length > holders.length ? [...granted, line.owner as string] : granted,
        )
      )
        return true;
    }
    return false;
  };

  const step = (
    line: HistoryLine,
    holders: readonly string[],
    granted: readonly string[],
  ): readonly string[] | undefined => {
    const owner = line.owner as string;
    switch (line.op) {
      case 'acquire': {
        if (line.result === 'fail') {
          return (line.holder === null ? holders.length > 0 : holders.includes(line.holder)) ? holders : undefined;
        }
        if (granted.includes(owner)) return undefined;
        const mode = modeOf(line);
        const fits =
          mode === 'exclusive'
            ? holders.length === 0
            : holders.every((holder) => {
                const other = limits.get(holder);
                return other !== undefined && modeOf(other) === mode;
              });
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
  return search(new Set(must), new Set(may), [], []);
}
