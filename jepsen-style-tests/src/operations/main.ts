import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monotonicNs } from '../clock.ts';
import { killAllChildren } from '../cluster/child-registry.ts';
import { Random } from '../random.ts';
import { runDamage } from './damage.ts';
import { runMembership } from './membership.ts';
import { runSnapshots } from './snapshots.ts';

const USAGE = `npm run operations [-- membership]     members come and go under load, on real nodes
npm run operations -- snapshots [N]    N held locks (1,000,000): snapshot under load, restart, catch-up
npm run damage                         every kind of damage to the data directory of a stopped node

Each ends with 0 when all is well, and with 1 when not. --seed N repeats a choice of places; --keep leaves the directory.`;

async function main(args: readonly string[]): Promise<number> {
  const seedAt = args.indexOf('--seed');
  const seed = seedAt === -1 ? monotonicNs() % 1_000_000 : Number(args[seedAt + 1]);
  const [what = 'membership', count] = args.filter(
    (arg, at) => !arg.startsWith('--') && (at === 0 || at !== seedAt + 1 || seedAt === -1),
  );
  if (args.includes('--help') || !['membership', 'damage', 'snapshots'].includes(what)) {
    process.stdout.write(`${USAGE}\n`);
    return args.includes('--help') ? 0 : 64;
  }
  const directory = mkdtempSync(join(tmpdir(), `lockd-${what}-`));
  const print = (line: string): void => void process.stdout.write(`${line}\n`);
  print(`seed ${seed}`);
  try {
    // Ports are chosen by the process, or two runs with one seed would collide.
    const ports = Random.split(process.pid, directory);
    const isFine =
      what === 'damage'
        ? await runDamage(directory, seed, ports, print)
        : what === 'snapshots'
          ? await runSnapshots(directory, count === undefined ? 1_000_000 : Number(count), ports, print)
          : await runMembership(directory, ports, print);
    return isFine ? 0 : 1;
  } finally {
    killAllChildren();
    if (args.includes('--keep')) print(`kept: ${directory}`);
    else rmSync(directory, { recursive: true, force: true });
  }
}

main(process.argv.slice(2)).then(
  (exitCode) => process.exit(exitCode),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(70);
  },
);
