/**
 * Opens data directories as a starting node does, one for each message, and says what it finds. A process of its own:
 * LevelDB ends the process on some kinds of damage.
 */
import { createHash } from 'node:crypto';
import { levelStorage, realClock, StorageError } from '@lockd/raft/node';

/** What a directory holds, entry by entry, as one text. */
export interface Content {
  readonly digest: string;
  readonly lastIndex: number;
}

export type Read =
  | { readonly type: 'whole'; readonly content: Content }
  | { readonly type: 'refused'; readonly reason: string };

async function readContent(directory: string): Promise<Read> {
  const storage = levelStorage(directory, realClock);
  try {
    const recovered = await storage.recover();
    if ('damage' in recovered) return { type: 'refused', reason: recovered.damage.reason };
    const hash = createHash('sha1');
    const { hardState, snapshot, runs, instanceId } = recovered;
    hash.update(JSON.stringify([instanceId, hardState.term, hardState.votedFor, snapshot?.index, snapshot?.term]));
    let lastIndex: number = snapshot?.index ?? 0;
    for (const run of runs) {
      for (let index = run.firstIndex; index <= run.lastIndex; index++) {
        hash.update(JSON.stringify([index, run.term]));
        hash.update(run.entry(index));
      }
      lastIndex = run.lastIndex;
    }
    const source = await storage.openSnapshot();
    if (source !== undefined) {
      hash.update(source.contentHash);
      await source.close();
    }
    return { type: 'whole', content: { digest: hash.digest('hex'), lastIndex } };
  } catch (error) {
    if (error instanceof StorageError) return { type: 'refused', reason: `${error.code}: ${error.message}` };
    throw error;
  } finally {
    await storage.close().catch(() => undefined);
  }
}

process.on('message', (directory: string) => {
  void readContent(directory).then((read) => process.send?.(read));
});
