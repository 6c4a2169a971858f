import { checkHistory } from '../../src/checker/check-history.ts';
import type { ClusterEvent } from '../../src/cluster/cluster.ts';
import type { HistoryLine } from '../../src/history/history-line.ts';
import type { FaultRecord } from '../../src/nemesis/fault.ts';
import { Random } from '../../src/random.ts';
import type { ReportInput } from '../../src/report/report.ts';

/** A made-up run of `seconds` with about `operations` grants, for looking at the page without a cluster. */
export function sampleRun(operations: number, seconds: number, options: { readonly isBroken: boolean }): ReportInput {
  const random = new Random(5);
  const startNs = 1e12;
  const lines: HistoryLine[] = [];
  const clients = 7;
  const stepNs = (seconds * 1e9) / (operations / 6);
  let token = 100;
  for (let name = 0; name < 6; name++) {
    let now = startNs + random.between(0, 1e7);
    for (let i = 0; i < operations / 6; i++) {
      const client = `c${random.between(1, clients)}`;
      const owner = `${client}/${name * 1e6 + i}`;
      const key = `${['exclusive', 'fifo', 'cancel'][name % 3]}:${1 + Math.floor(name / 3)}`;
      const call = now - random.between(0, stepNs);
      const granted = now + random.between(1e5, stepNs * 0.1);
      const isLost = random.chance(0.002);
      const until = granted + random.between(stepNs * 0.1, stepNs * 0.7) + (isLost ? 2.5e9 : 0);
      const base = { client, key, owner, token: null, holder: null };
      lines.push({ ...base, op: 'acquire', token: ++token, call, return: granted, result: 'ok' });
      if (isLost) lines.push({ ...base, op: 'release', call: until, return: null, result: 'unknown' });
      else lines.push({ ...base, op: 'release', call: until, return: until + 3e5, result: 'ok' });
      lines.push({
        ...base,
        op: 'expire',
        call: isLost ? until + 1e8 : until + 2.5e9,
        return: null,
        result: 'unknown',
        ...(isLost ? { told: until } : {}),
      });
      if (random.chance(0.2))
        lines.push({
          ...base,
          op: 'acquire',
          owner: `${owner}x`,
          call: granted,
          return: granted + 4e5,
          result: 'fail',
          holder: owner,
        });
      now = until + stepNs * 0.1 + (isLost ? 3e8 : 0);
    }
  }
  if (options.isBroken) {
    const grants = lines.filter((line) => line.op === 'acquire' && line.result === 'ok' && line.key === 'exclusive:1');
    const victim = grants[grants.length >> 1] as HistoryLine;
    const at = (victim.return as number) + stepNs * 0.05;
    const base = { client: 'c3', key: victim.key, owner: 'c3/999999', token: null, holder: null };
    lines.push({
      ...base,
      op: 'acquire',
      token: (victim.token as number) + 1,
      call: at - 4e6,
      return: at,
      result: 'ok',
    });
    lines.push({ ...base, op: 'release', call: at + stepNs * 0.2, return: at + stepNs * 0.2 + 5e5, result: 'ok' });
    lines.push({ ...base, op: 'expire', call: at + 2.5e9, return: null, result: 'unknown' });
  }
  const kinds = ['kill-leader', 'isolate-leader', 'pause-leader', 'bridge', 'kill-all', 'freeze-client', 'cut-acks'];
  const faults: FaultRecord[] = [];
  const events: ClusterEvent[] = [];
  let leader = 1;
  let term = 1;
  const tell = (atNs: number): void => {
    for (let node = 1; node <= 3; node++)
      events.push({
        atNs,
        node: `n${node}`,
        status: { role: node === leader ? 'leader' : 'follower', term, commitIndex: 0, leader: `n${leader}` },
      });
  };
  tell(startNs);
  for (let at = startNs + 2e9; at < startNs + seconds * 1e9 - 5e9; at += 6e9) {
    const kind = random.pick(kinds);
    const isClient = kind === 'freeze-client' || kind === 'cut-acks';
    const old = leader;
    if (!isClient) {
      events.push({ atNs: at + 1e8, node: `n${old}`, status: undefined });
      leader = (leader % 3) + 1;
      term++;
      tell(at + 8e8);
      if (kind !== 'bridge') events.push({ atNs: at + 9e8, node: `n${old}`, status: undefined });
      tell(at + 3.2e9);
    }
    faults.push({
      kind,
      track: isClient ? 'client' : 'server',
      target: isClient ? 'c2' : `n${old}`,
      worked: random.chance(0.95),
      evidence: isClient
        ? 'stopped for 3120 ms (TTL 2500 ms)'
        : `n${leader} led 640 ms later (term ${term - 1} to ${term})`,
      startNs: at,
      endNs: at + 3e9,
    });
  }
  // Judging takes longer than drawing, and large samples are for drawing.
  const verdicts = operations > 10_000 ? [] : checkHistory(lines);
  return {
    command: `npm run jepsen -- --seconds ${seconds} --nodes 3 --seed 20261123`,
    options: { seed: 20261123, nodes: 3, seconds, ttlMs: 2500 },
    exitCode: options.isBroken ? 1 : 0,
    verdicts,
    missing: [],
    skipped: [{ kind: 'disk-full', why: 'no small volume: mounting a tmpfs needs root' }],
    collector: { lines, operationCount: lines.length, errors: new Map([['LOCKD_NO_QUORUM', 12]]) },
    faults,
    events,
    startNs,
    endNs: startNs + seconds * 1e9,
  };
}
