import { join } from 'node:path';
import { monotonicNs, sleep, waitFor } from '../clock.ts';
import { askAdmin } from '../cluster/admin.ts';
import type { Random } from '../random.ts';
import { Holder } from './holder.ts';
import { LockLoad } from './lock-load.ts';
import { lockdOrThrow } from './lockd-cli.ts';
import type { Piece, ProbeLine } from './loop-process.ts';
import { NodeSet } from './node-set.ts';
import { Probe } from './probe.ts';

/** No piece of our own work may be longer. */
const PIECE_MAX_MS = 10;

/**
 * So many locks held on three nodes, while others come and go: every node makes a snapshot, an empty learner catches
 * up, a follower starts again from its snapshot. True when nothing is lost, nobody else came to lead, and no piece was too long.
 */
export async function runSnapshots(
  directory: string,
  count: number,
  ports: Random,
  print: (line: string) => void,
): Promise<boolean> {
  const probe = new Probe(join(directory, 'probes'));
  const problems: string[] = [];
  const rows: (readonly [what: string, value: string])[] = [];
  // Only when asked: what is measured must not overlap.
  const set = await NodeSet.found(join(directory, 'cluster'), 3, ports, [
    '--snapshot-min-bytes',
    String(8 * 1024 ** 3),
  ]);
  const holder = new Holder();
  const judge = (who: string, what: Piece['what'], pid: number | undefined, isServing = true): void => {
    const pieces = pid === undefined ? [] : probe.pieces(what, pid);
    const longestMs = Math.max(0, ...pieces.map(ownMs));
    const wallMs = Math.max(0, ...pieces.map((piece) => piece.wallMs));
    const tooLong = pieces.filter((piece) => ownMs(piece) > PIECE_MAX_MS).length;
    rows.push([
      `… ${who}, ${what}: pieces / longest, ms of its thread / longer than ${PIECE_MAX_MS} / longest by the clock, ms`,
      `${pieces.length} / ${longestMs.toFixed(1)} / ${tooLong} / ${wallMs.toFixed(1)}`,
    ]);
    if (isServing && tooLong > 0) problems.push(`${who}, ${what}: ${tooLong} pieces of more than ${PIECE_MAX_MS} ms`);
  };
  try {
    let startNs = monotonicNs();
    const before = await set.status();
    await holder.hold(`ws://127.0.0.1:${set.node(await set.leader()).spec.clientPort}`, count, (held) =>
      print(`${held} held`),
    );
    const fillMs = elapsedMs(startNs);
    rows.push([`${count} locks acquired, a second`, Math.round(count / (fillMs / 1000)).toString()]);
    if (!(await set.settled(60_000))) problems.push('the followers did not keep up');
    const leader = await set.leader();
    const { term } = await set.status();
    rows.push(['… leader changes meanwhile', String((term ?? 0) - (before.term ?? 0))]);
    const load = await LockLoad.start(set.endpoints);
    await sleep(3000);
    const calm = load.lap();
    const calmDelay = longestDelay(probe, monotonicNs() - 3e9);
    rows.push([
      'before: longest event-loop delay / time without a grant, ms',
      `${calmDelay} / ${Math.round(calm.gapMs)}`,
    ]);

    startNs = monotonicNs();
    for (const name of set.nodes.keys())
      await askAdmin(`ws://127.0.0.1:${set.node(name).spec.clientPort}`, 'make-snapshot');
    const made = await waitFor(async () => {
      const counts = await Promise.all(
        [...set.nodes.values()].map((node) => metric(node.spec.clientPort, 'snapshots_made_total')),
      );
      return counts.every((value) => value >= 1) ? true : undefined;
    }, 300_000);
    if (made !== true) problems.push('not every node made its snapshot');
    const during = load.lap();
    rows.push([
      'snapshot under load: longest event-loop delay / time without a grant, ms',
      `${longestDelay(probe, startNs)} / ${Math.round(during.gapMs)}`,
    ]);
    for (const [name, node] of set.nodes) {
      const port = node.spec.clientPort;
      const tookMs = await metric(port, 'snapshot_milliseconds');
      const bytes = await metric(port, 'snapshot_bytes');
      judge(`${name}${name === leader ? ' (leads)' : ''}`, 'writing', node.pid);
      rows.push(['… took ms / MiB', `${tookMs} / ${(bytes / 1_048_576).toFixed(1)}`]);
    }
    const after = await set.status();
    rows.push(['… leader changes', String((after.term ?? 0) - (term ?? 0))]);
    if (after.leader !== leader || after.term !== term)
      problems.push(`${leader} in term ${term} led, now ${after.leader} in term ${after.term}`);

    const n4 = await set.define('n4');
    await lockdOrThrow('member', 'add', 'n4', '--peer', `127.0.0.1:${n4.spec.peerPort}`, ...set.flags);
    startNs = monotonicNs();
    await n4.start();
    await lockdOrThrow('member', 'promote', 'n4', '--wait', ...set.flags);
    const caughtUp = load.lap();
    rows.push([
      'an empty learner: ms until it has caught up and has a vote',
      Math.round(elapsedMs(startNs)).toString(),
    ]);
    judge('n4', 'restoring', n4.pid);
    rows.push([
      '… longest event-loop delay of any node / time without a grant, ms',
      `${longestDelay(probe, startNs)} / ${Math.round(caughtUp.gapMs)}`,
    ]);
    const follower = [...set.nodes.keys()].find((name) => name !== leader && name !== 'n4') as string;
    await set.node(follower).kill();
    startNs = monotonicNs();
    await set.node(follower).start(60_000);
    const listening = elapsedMs(startNs);
    if (!(await set.settled(60_000))) problems.push(`${follower} did not come back`);
    rows.push([
      `${follower} killed: ms until it listens again / has caught up`,
      `${Math.round(listening)} / ${Math.round(elapsedMs(startNs))}`,
    ]);
    // Before it listens nobody waits for it.
    judge(follower, 'restoring', set.node(follower).pid, false);
    const end = await set.status();
    if (end.leader !== leader || end.term !== term)
      problems.push(`the leader changed: ${end.leader} in term ${end.term}`);
    const held = end.nodes.find((row) => row.name === follower)?.held ?? 0;
    rows.push(['locks held, as that node sees it', String(held)]);
    if (held < count) problems.push(`${follower} knows of ${held} held locks, of ${count} at least`);
    await load.stop();
    problems.push(...(await load.judge(set.endpoints)));
  } catch (error) {
    problems.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  } finally {
    holder.close();
    await set.stop();
  }
  print('');
  const width = Math.max(...rows.map(([what]) => what.length));
  for (const [what, value] of rows) print(`${what.padEnd(width)}  ${value}`);
  print('');
  for (const problem of problems.slice(0, 20)) print(`FAIL ${problem}`);
  if (problems.length === 0) print('ok   nothing was lost, nobody else came to lead, no piece was too long');
  return problems.length === 0;
}

function elapsedMs(startNs: number): number {
  return (monotonicNs() - startNs) / 1e6;
}

/** Of any node since then, and the longest garbage collection in the same quarter of a second, in whole milliseconds. */
function longestDelay(probe: Probe, sinceNs: number): string {
  let longest: ProbeLine | undefined;
  for (const line of probe.since(sinceNs)) if (line.longestDelayMs > (longest?.longestDelayMs ?? -1)) longest = line;
  return `${Math.round(longest?.longestDelayMs ?? 0)} (collecting garbage: ${Math.round(longest?.longestCollectionMs ?? 0)})`;
}

function ownMs(piece: Piece): number {
  return piece.ownMs - piece.collectingMs;
}

async function metric(clientPort: number, name: string): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${clientPort}/metrics`);
  const match = new RegExp(`^lockd_${name} (\\S+)$`, 'm').exec(await response.text());
  return match === null ? Number.NaN : Number(match[1]);
}
