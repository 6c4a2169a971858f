import { join, resolve } from 'node:path';
import { verifyDirectory } from '@lockd/raft/node';
import { EXIT } from './exit-codes.ts';
import type { Settings } from './settings.ts';

/** `lockd verify --data-dir DIR`: checks what a stopped node has, as its next start would. */
export async function verify(settings: Settings): Promise<number> {
  const dataDir = resolve(settings.required('data-dir', './data/n1'));
  const verdict = await verifyDirectory(join(dataDir, 'raft'));
  if (settings.text('output') === 'json') {
    const { type, ...rest } = verdict;
    process.stdout.write(`${JSON.stringify({ verdict: type, dataDir, ...rest })}\n`);
  } else {
    process.stdout.write(`${describe(dataDir, verdict)}\n`);
  }
  switch (verdict.type) {
    case 'whole':
    case 'empty':
      return EXIT.ok;
    case 'damaged':
      return EXIT.failed;
    case 'unknown':
      return EXIT.dataDirectory;
  }
}

function describe(dataDir: string, verdict: Awaited<ReturnType<typeof verifyDirectory>>): string {
  switch (verdict.type) {
    case 'empty':
      return `Empty: no node has kept anything in ${dataDir}.`;
    case 'whole':
      return [
        `Whole: ${dataDir} holds everything that it has acknowledged.`,
        `  instance ${verdict.instanceId} of cluster ${verdict.clusterId ?? '(not known yet)'}, started ${verdict.starts} times`,
        `  term ${verdict.term}, log to index ${verdict.lastIndex}, snapshot at ${verdict.snapshotIndex}, ${verdict.entries} entries after it`,
        `  ${verdict.files} files, ${(verdict.byteLength / 1_048_576).toFixed(1)} MiB`,
        ...verdict.leftovers.map((name) => `  left over, removed at the next start: ${name}`),
        'A directory rolled back to an older copy looks whole too: only the other nodes can tell, and do at the next start.',
      ].join('\n');
    case 'damaged':
      return [
        `Damaged: ${verdict.reason}.`,
        `No node will take part with it. The others have what it should hold: move ${dataDir} away, start the node again, and run: lockd member replace NAME`,
      ].join('\n');
    case 'unknown':
      return `Cannot be judged now: ${verdict.reason}`;
  }
}
