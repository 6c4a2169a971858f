import { join } from 'node:path';
import { ENTRY_KIND, nodeId, type PersistDuty, runOf, term } from '@lockd/raft';
import { levelStorage, realClock } from '@lockd/raft/node';
import type { MicroCase } from './harness.ts';

const ENTRY_BYTES = 200;

/** One group commit after the other into the real log: LevelDB with sync, as a node writes it. Per entry. */
export function storageCases(directory: string): readonly MicroCase[] {
  return [1, 64].map((entriesPerWrite) => ({
    name: `storage: synced append to the log, ${entriesPerWrite} ${entriesPerWrite === 1 ? 'entry' : 'entries'} of ${ENTRY_BYTES} B a write, per entry`,
    // Each write is a sync: a hundredth of what the others do is enough, and takes as long.
    operationsDivisor: entriesPerWrite === 1 ? 100 : 5,
    async prepare() {
      const storage = levelStorage(join(directory, `log-${entriesPerWrite}`), realClock);
      const recovered = await storage.recover();
      if ('damage' in recovered) throw new Error(`storage: ${recovered.damage.reason}`);
      const voters = [nodeId('n1')];
      await storage.bootstrap({ voters, outgoing: [], learners: [], learnersNext: [], autoLeave: false });
      let write = 0;
      let nextIndex = 2;
      return {
        async run(operations) {
          let done = 0;
          for (; done < operations; done += entriesPerWrite) {
            const run = runOf(nextIndex, term(1), Array.from({ length: entriesPerWrite }, entry));
            nextIndex += entriesPerWrite;
            const duty: PersistDuty = {
              write: ++write,
              hardState: undefined,
              runs: [run],
              term: run.term,
              lastIndex: run.lastIndex,
            };
            await storage.persist(duty);
          }
          return done;
        },
        close: () => storage.close(),
      };
    },
  }));
}

function entry(): Uint8Array {
  const bytes = new Uint8Array(ENTRY_BYTES).fill(7);
  bytes[0] = ENTRY_KIND.command;
  return bytes;
}
