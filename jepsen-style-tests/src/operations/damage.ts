import { type ChildProcess, fork } from 'node:child_process';
import { cp, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect } from '@lockd/client';
import { sleep, waitFor } from '../clock.ts';
import { registerChild } from '../cluster/child-registry.ts';
import { Random } from '../random.ts';
import { type Damage, damagesOf, databaseFrom } from './damage-places.ts';
import type { Content, Read } from './damage-process.ts';
import { lockd } from './lockd-cli.ts';
import { NodeSet } from './node-set.ts';

type Outcome = 'whole' | 'refused' | 'forgot';

/** A snapshot is due after so many bytes of log, so that the directories have one. */
const SNAPSHOT_MIN_BYTES = 65_536;
const LOCKS = 400;
/** What is acknowledged reaches the marker within 10 ms; what is lost of the last 10 ms is not covered (docs/guarantees.md). */
const MARKER_LAG_MS = 200;

/**
 * Spoils the real data directory of a node of a real cluster, stopped cleanly and by kill -9, in hundreds of places, and
 * opens each copy as a start would. Then lets real nodes start with directories that only their peers can judge. True
 * when none of them takes part with less than was acknowledged.
 */
export async function runDamage(
  directory: string,
  seed: number,
  ports: Random,
  print: (line: string) => void,
): Promise<boolean> {
  const table = new Map<string, Record<Outcome, number>>();
  const problems: string[] = [];
  const count = (kind: string, outcome: Outcome, detail: string): void => {
    const row = table.get(kind) ?? { whole: 0, refused: 0, forgot: 0 };
    row[outcome]++;
    table.set(kind, row);
    if (outcome === 'forgot') problems.push(`${kind}: ${detail}`);
  };
  const opener = new Opener();
  const set = await NodeSet.found(join(directory, 'cluster'), 3, ports, [
    '--snapshot-min-bytes',
    String(SNAPSHOT_MIN_BYTES),
  ]);
  try {
    const copies = join(directory, 'copies');
    await mkdir(copies, { recursive: true });
    await hold(set, 'first');
    const leader = await set.leader();
    const [victim, other] = [...set.nodes.keys()].filter((name) => name !== leader) as [string, string];
    const dataDir = join(set.node(victim).spec.dataDir, 'raft');
    const early = join(copies, 'early');
    await set.node(victim).terminate();
    await cp(dataDir, early, { recursive: true });
    await set.node(victim).start();
    await set.settled(20_000);
    await hold(set, 'second');

    await sleep(MARKER_LAG_MS);
    await set.node(victim).kill();
    const killed = join(copies, 'after kill -9');
    await cp(dataDir, killed, { recursive: true });
    await set.node(victim).start();
    await set.settled(20_000);
    await hold(set, 'third');
    await set.node(victim).terminate();
    const stopped = join(copies, 'after a clean stop');
    await cp(dataDir, stopped, { recursive: true });
    const foreign = join(copies, 'foreign');
    await set.node(other).terminate();
    await cp(join(set.node(other).spec.dataDir, 'raft'), foreign, { recursive: true });
    await set.node(other).start();

    for (const [ending, original] of [
      ['clean stop', stopped],
      ['kill -9', killed],
    ] as const) {
      const expected = await opener.open(await copyOf(original, copies));
      if (expected?.type !== 'whole') {
        problems.push(`the undamaged directory after ${ending} is refused: ${expected?.reason ?? 'the process died'}`);
        continue;
      }
      const damages: Damage[] = [
        ...(await damagesOf(original, Random.split(seed, ending))),
        databaseFrom(early, 'an older copy of it'),
        databaseFrom(foreign, "another node's"),
      ];
      print(
        `${damages.length} kinds and places, after ${ending} (${(await readdir(join(original, 'log'))).length} files of LevelDB, log to ${expected.content.lastIndex})`,
      );
      for (const damage of damages) {
        const copy = await copyOf(original, copies);
        await damage.spoil(copy);
        const [outcome, detail] = await judge(opener, copy, expected.content);
        count(damage.kind, outcome, `${damage.where}, after ${ending}: ${detail}`);
        await rm(copy, { recursive: true, force: true });
      }
    }
    await judgeByPeers(set, victim, other, { stopped, early, foreign }, count);
  } catch (error) {
    problems.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  } finally {
    opener.close();
    await set.stop();
  }
  const width = Math.max(...[...table.keys()].map((kind) => kind.length));
  print('');
  print(`${'damage'.padEnd(width)}  whole  refused  forgot`);
  let total = 0;
  for (const [kind, row] of table) {
    total += row.whole + row.refused + row.forgot;
    print(
      `${kind.padEnd(width)}  ${String(row.whole).padStart(5)}  ${String(row.refused).padStart(7)}  ${String(row.forgot).padStart(6)}`,
    );
  }
  print('');
  print(`${total} damaged directories.`);
  for (const problem of problems.slice(0, 30)) print(`FAIL ${problem}`);
  if (problems.length === 0) print('ok   each was whole or refused, and refused again at the next start');
  return problems.length === 0;
}

/** Locks that stay held: each acknowledged, so each in the log for good. */
async function hold(set: NodeSet, prefix: string): Promise<void> {
  const client = await connect({ endpoints: [...set.endpoints], sessionTtl: '1h' });
  for (let from = 0; from < LOCKS; from += 50) {
    await Promise.all(
      Array.from({ length: 50 }, (_, at) => client.acquire(`${prefix}:${from + at}:${'x'.repeat(200)}`)),
    );
  }
  // Its session goes on: what it holds belongs to the state.
  client.close().catch(() => {});
  await set.settled(20_000);
}

let copyCount = 0;

async function copyOf(original: string, parent: string): Promise<string> {
  copyCount++;
  const copy = join(parent, `copy-${copyCount}`);
  await cp(original, copy, { recursive: true });
  return copy;
}

/** Opens directories in a process of its own, and in another one after that has died. */
class Opener {
  #child: ChildProcess | undefined;

  /** Undefined: the process died of it. */
  open(directory: string): Promise<Read | undefined> {
    this.#child ??= this.#start();
    const child = this.#child;
    return new Promise((resolve) => {
      const finish = (read: Read | undefined): void => {
        child.removeListener('message', finish);
        child.removeListener('exit', onExit);
        resolve(read);
      };
      const onExit = (): void => {
        this.#child = undefined;
        finish(undefined);
      };
      child.on('message', finish);
      child.on('exit', onExit);
      child.send(directory);
    });
  }

  close(): void {
    this.#child?.kill('SIGKILL');
  }

  #start(): ChildProcess {
    const child = fork(fileURLToPath(new URL('damage-process.js', import.meta.url)), { stdio: 'ignore' });
    registerChild(child);
    return child;
  }
}

/** A start that dies of the damage takes part in nothing; the next one has to say so. */
async function judge(opener: Opener, directory: string, expected: Content): Promise<readonly [Outcome, string]> {
  const first = await opener.open(directory);
  if (first?.type === 'whole') {
    return first.content.digest === expected.digest
      ? ['whole', '']
      : [
          'forgot',
          `it opened with a log to ${first.content.lastIndex} instead of ${expected.lastIndex}, or other content`,
        ];
  }
  const second = await opener.open(directory);
  if (second?.type === 'refused') return ['refused', second.reason];
  const before = first === undefined ? 'a start that died' : `a refusal (${first.reason})`;
  return ['forgot', `${second === undefined ? 'the second start died' : 'it opened'} after ${before}`];
}

/** Whole by themselves, and yet not what this node has acknowledged: its peers have to tell. */
async function judgeByPeers(
  set: NodeSet,
  victim: string,
  other: string,
  copies: { readonly stopped: string; readonly early: string; readonly foreign: string },
  count: (kind: string, outcome: Outcome, detail: string) => void,
): Promise<void> {
  const node = set.node(victim);
  const dataDir = join(node.spec.dataDir, 'raft');
  const startWith = async (copy: string | undefined): Promise<void> => {
    await node.terminate();
    await rm(dataDir, { recursive: true, force: true });
    if (copy !== undefined) await cp(copy, dataDir, { recursive: true });
    await node.start();
    // It may end by itself.
    node.expectEnd();
  };
  const outcomeOf = async (): Promise<readonly [Outcome, string]> => {
    const found = await waitFor(async () => {
      if (node.state === 'dead') return null;
      const row = await set.statusOf(victim);
      if (row?.role === 'damaged' || row?.role === 'joining') return row;
      return row?.role === 'follower' || row?.role === 'leader' ? row : undefined;
    }, 10_000);
    // Peers need a moment to tell; a node that takes part until then has forgotten.
    await sleep(1500);
    if (node.state === 'dead') return ['refused', 'it has ended'];
    const row = (await set.statusOf(victim)) ?? found ?? undefined;
    if (row?.role === 'damaged' || (row?.role === 'joining' && row.reason !== null))
      return ['refused', row.reason ?? ''];
    return ['forgot', JSON.stringify(row)];
  };

  await startWith(undefined);
  count('emptied, beside its cluster', ...(await outcomeOf()));
  await startWith(copies.early);
  count('rolled back by several starts, beside its cluster', ...(await outcomeOf()));
  await node.terminate();
  const again = await lockd('verify', '--data-dir', node.spec.dataDir);
  count(
    '… and looked at with lockd verify',
    again.lines[0]?.['verdict'] === 'damaged' ? 'refused' : 'forgot',
    JSON.stringify(again.lines),
  );
  await startWith(copies.foreign);
  count(`with the directory of ${other}, beside its cluster`, ...(await outcomeOf()));
  // The next start after the copy was taken, then the copy again: the same number of starts, for the second time.
  await startWith(copies.stopped);
  await waitFor(async () => ((await set.statusOf(victim))?.role === 'follower' ? true : undefined), 10_000);
  await startWith(copies.stopped);
  count('rolled back by exactly one start, beside its cluster', ...(await outcomeOf()));
  await node.terminate();
  await rm(dataDir, { recursive: true, force: true });
  await rename(copies.stopped, dataDir).catch(() => undefined);
}
