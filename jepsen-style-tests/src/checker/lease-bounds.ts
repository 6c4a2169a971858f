import { type HistoryLine, modeOf } from '../history/history-line.ts';
import { partitionByKey } from './linearizability.ts';
import { grantsOf } from './tokens.ts';
import { type Failure, type Verdict, verdictOf } from './verdict.ts';
import { failure } from './words.ts';

/**
 * The service does not by itself give a lock to somebody else before its holder's lease may be over. For each grant that
 * excludes the one before it (in order of tokens): it is answered no earlier than the first release of the one before
 * was sent, or its `expire` line begins.
 */
export function checkLeaseBounds(lines: readonly HistoryLine[]): Verdict {
  const originNs = lines.reduce((first, line) => Math.min(first, line.call), Infinity);
  const failures: Failure[] = [];
  let judged = 0;
  for (const [key, ofKey] of partitionByKey(lines)) {
    const mayEndNs = new Map<string, number>();
    const endings = new Map<string, HistoryLine[]>();
    // Shares that were left by an upgrade, which has a token of its own.
    const upgradedNs = new Map<string, number>();
    for (const line of ofKey) {
      if (line.op === 'upgrade' && line.owner !== null && line.result !== 'fail')
        upgradedNs.set(line.owner, Math.min(upgradedNs.get(line.owner) ?? Infinity, line.call));
      if (line.owner === null || (line.op !== 'expire' && !(line.op === 'release' && line.result !== 'fail'))) continue;
      mayEndNs.set(line.owner, Math.min(mayEndNs.get(line.owner) ?? Infinity, line.call));
      const known = endings.get(line.owner);
      if (known === undefined) endings.set(line.owner, [line]);
      else known.push(line);
    }
    const grants = grantsOf(ofKey)
      .filter((grant) => modeOf(grant) !== 'permit')
      .sort((a, b) => a.token - b.token);
    // Grants of one token are one phase: the next phase must wait for the last of them.
    let phase: typeof grants = [];
    let before: typeof grants = [];
    for (const grant of grants) {
      if (phase[0] !== undefined && phase[0].token !== grant.token) {
        before = phase;
        phase = [];
      }
      phase.push(grant);
      for (const earlier of before) {
        judged++;
        const shareEndsNs = earlier.op === 'upgrade' ? Infinity : (upgradedNs.get(earlier.owner) ?? Infinity);
        const earliestNs = Math.min(shareEndsNs, mayEndNs.get(earlier.owner) ?? Infinity);
        if (earlier.owner === grant.owner || grant.return >= earliestNs) continue;
        const early =
          earliestNs === Infinity
            ? 'and that grant never ended'
            : `${((earliestNs - grant.return) / 1e6).toFixed(1)} ms before the grant of ${earlier.owner} could end`;
        failures.push(
          failure(
            key,
            `${grant.owner} (token ${grant.token}) had ${key} after ${earlier.owner} (token ${earlier.token}), ${early}`,
            [earlier, grant, ...(endings.get(earlier.owner) ?? [])],
            originNs,
          ),
        );
      }
    }
  }
  return verdictOf('lease bounds', judged, 'changes of holder', failures);
}
