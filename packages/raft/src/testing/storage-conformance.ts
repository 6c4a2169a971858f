import type { Configuration } from '../core/configuration.ts';
import { type EntryRun, runOf } from '../core/entry-run.ts';
import { type LogIndex, logIndex, type NodeId, type Term, term as toTerm } from '../core/ids.ts';
import type { HardState, PersistDuty } from '../core/ready.ts';
import type { LogStorage, Recovered } from '../node/storage.ts';

/** One data directory, as the suite uses it. */
export interface StorageFixture {
  /** A storage on the directory, as a process that starts would make it. */
  open(): Promise<LogStorage>;
  /** Ends the process that uses the last storage without closing it. */
  crash(): Promise<void>;
  /** Lets as much time pass, or as much as the storage needs. */
  pass(milliseconds: number): Promise<void>;
  dispose(): Promise<void>;
}

/** The test runner's functions, so that this package does not need one. */
export interface TestApi {
  describe(name: string, body: () => void): void;
  test(name: string, body: () => Promise<void>): void;
}

const CONFIGURATION: Configuration = {
  voters: ['n1', 'n2', 'n3'] as NodeId[],
  outgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};

/** What every `LogStorage` must do; see storage.ts for the contract. */
export function storageConformance(name: string, newFixture: () => Promise<StorageFixture>, api: TestApi): void {
  api.describe(`${name} as a log storage`, () => {
    const test = (claim: string, body: (scene: Scene) => Promise<void>): void =>
      api.test(claim, async () => {
        const fixture = await newFixture();
        try {
          await body(new Scene(fixture));
        } finally {
          await fixture.dispose();
        }
      });

    test('a new directory is empty, has an instance id, and begins with incarnation 1', async (scene) => {
      const recovered = await scene.start();
      equal(recovered.isEmpty, true);
      equal(recovered.runs.length, 0);
      equal(recovered.hardState.term, 0);
      equal(recovered.incarnation, 1);
      equal(recovered.snapshot, undefined);
      equal(await scene.storage.openSnapshot(), undefined);
    });

    test('the instance id stays and the incarnation rises, also when nothing was written', async (scene) => {
      const first = await scene.start();
      const second = await scene.restart();
      equal(second.instanceId, first.instanceId);
      equal(second.incarnation, 2);
      equal(second.isEmpty, true);
      const third = await scene.restartAfterCrash();
      equal(third.instanceId, first.instanceId);
      equal(third.incarnation, 3);
      // Each start has a name of its own, and knows those before it.
      equal(new Set(third.starts).size, 3);
      equal(third.starts.slice(1).join(), second.starts.join());
      equal(second.starts.slice(1).join(), first.starts.join());
    });

    test('bootstrap writes entry 1 of term 1', async (scene) => {
      await scene.start();
      await scene.storage.bootstrap(CONFIGURATION);
      const recovered = await scene.restartAfterCrash();
      equal(recovered.isEmpty, false);
      equal(recovered.hardState.term, 1);
      equal(recovered.hardState.commitIndex, 1);
      equal(describeRuns(recovered.runs), describeRuns(recovered.runs.slice(0, 1)));
      equal(recovered.runs[0]?.firstIndex, 1);
      equal(recovered.runs[0]?.term, 1);
    });

    for (const ending of ['close', 'crash'] as const) {
      test(`what was persisted is there after a ${ending}`, async (scene) => {
        await scene.start();
        await scene.persist([run(1, 1, 'a', 'bb', '')], { term: 1, vote: 'n2', commit: 0 });
        await scene.persist([run(4, 1, 'c'), run(5, 2, 'd', 'e')]);
        const recovered = await scene.end(ending);
        equal(describeRuns(recovered.runs), '1:a 1:bb 1: 1:c 2:d 2:e');
        equal(recovered.hardState.term, 1);
        equal(recovered.hardState.votedFor, 'n2');
        equal(recovered.isEmpty, false);
      });

      test(`a write at an index replaces everything from there on, after a ${ending}`, async (scene) => {
        await scene.start();
        await scene.persist([run(1, 1, 'a', 'b', 'c')]);
        await scene.persist([run(4, 1, 'd', 'e')]);
        await scene.persist([run(6, 1, 'f', 'g')]);
        // In the middle of the first block: the later blocks must go with its tail.
        await scene.persist([run(3, 2, 'x')]);
        equal(describeRuns((await scene.end(ending)).runs), '1:a 1:b 2:x');
        await scene.persist([run(4, 2, 'y')]);
        await scene.persist([run(3, 3, 'z', 'z')], { term: 3, vote: undefined, commit: 2 });
        equal(describeRuns((await scene.end(ending)).runs), '1:a 1:b 3:z 3:z');
        await scene.persist([run(1, 4, 'n')]);
        equal(describeRuns((await scene.end(ending)).runs), '4:n');
      });

      test(`a replaced tail may end in an earlier term than it did, after a ${ending}`, async (scene) => {
        await scene.start();
        await scene.persist([run(1, 1, 'a'), run(2, 3, 'b', 'c')], { term: 3, vote: 'n1', commit: 0 });
        await scene.pass(20);
        await scene.persist([run(2, 2, 'x')], { term: 4, vote: undefined, commit: 0 });
        equal(describeRuns((await scene.end(ending)).runs), '1:a 2:x');
      });

      test(`hard state alone is kept after a ${ending}`, async (scene) => {
        await scene.start();
        await scene.persist([], { term: 7, vote: 'n3', commit: 0 });
        const recovered = await scene.end(ending);
        equal(recovered.hardState.term, 7);
        equal(recovered.hardState.votedFor, 'n3');
        equal(recovered.isEmpty, false);
      });

      test(`a snapshot is there with its content after a ${ending}, and so is the log after it`, async (scene) => {
        await scene.start();
        await scene.persist([run(1, 1, 'a', 'b', 'c', 'd')]);
        await scene.snapshot(3, 1, 'three', { replaceLog: false });
        await scene.storage.compact(logIndex(2), toTerm(1));
        const recovered = await scene.end(ending);
        equal(recovered.snapshot?.index, 3);
        equal(recovered.snapshot?.configuration.voters.join(), 'n1,n2,n3');
        equal(describeRuns(recovered.runs), '1:d');
        equal(await scene.content(), 'three');
      });

      test(`an installed snapshot replaces the log, after a ${ending}`, async (scene) => {
        await scene.start();
        await scene.persist([run(1, 1, 'a', 'b')], { term: 1, vote: undefined, commit: 1 });
        await scene.snapshot(10, 4, 'ten', { replaceLog: true });
        const installed = await scene.end(ending);
        equal(describeRuns(installed.runs), '');
        equal(installed.snapshot?.index, 10);
        await scene.persist([run(11, 5, 'k')]);
        equal(describeRuns((await scene.end(ending)).runs), '5:k');
        equal(await scene.content(), 'ten');
      });

      test(`compaction keeps what follows the boundary, after a ${ending}`, async (scene) => {
        await scene.start();
        for (let index = 1; index <= 700; index++) await scene.persist([run(index, 1, `e${index}`)]);
        await scene.snapshot(690, 1, 'most', { replaceLog: false });
        await scene.storage.compact(logIndex(650), toTerm(1));
        await scene.persist([run(695, 2, 'x')]);
        const recovered = await scene.end(ending);
        equal(describeRuns(recovered.runs), '1:e691 1:e692 1:e693 1:e694 2:x');
        // Behind the boundary, and all of the log.
        await scene.storage.compact(logIndex(695), toTerm(2));
        await scene.snapshot(695, 2, 'all', { replaceLog: false });
        await scene.storage.compact(logIndex(695), toTerm(2));
        await scene.persist([run(696, 2, 'y')]);
        equal(describeRuns((await scene.end(ending)).runs), '2:y');
      });
    }

    test('a write larger than a block comes back whole', async (scene) => {
      await scene.start();
      const texts = Array.from({ length: 40 }, (_, number) => String(number).repeat(50_000));
      await scene.persist([run(1, 1, ...texts)]);
      await scene.persist([run(30, 2, 'x'.repeat(3_000_000), 'y')]);
      const recovered = await scene.restartAfterCrash();
      equal(
        describeRuns(recovered.runs),
        [...texts.slice(0, 29).map((text) => `1:${text}`), `2:${'x'.repeat(3_000_000)}`, '2:y'].join(' '),
      );
    });

    test('a snapshot that was not committed leaves nothing behind', async (scene) => {
      await scene.start();
      await scene.persist([run(1, 1, 'a', 'b')]);
      await scene.snapshot(1, 1, 'one', { replaceLog: false });
      const sink = await scene.storage.createSnapshot({
        index: logIndex(2),
        term: toTerm(1),
        configuration: CONFIGURATION,
      });
      await sink.write(Buffer.from('tw'));
      const recovered = await scene.restartAfterCrash();
      equal(recovered.snapshot?.index, 1);
      equal(await scene.content(), 'one');
      const aborted = await scene.storage.createSnapshot({
        index: logIndex(2),
        term: toTerm(1),
        configuration: CONFIGURATION,
      });
      await aborted.write(Buffer.from('tw'));
      await aborted.abort();
      await scene.snapshot(2, 1, 'two', { replaceLog: false });
      equal(await scene.content(), 'two');
    });

    test('a snapshot being read stays readable when a newer one takes its place', async (scene) => {
      await scene.start();
      await scene.persist([run(1, 1, 'a', 'b')]);
      await scene.snapshot(1, 1, 'one', { replaceLog: false });
      const source = await scene.storage.openSnapshot();
      await scene.snapshot(2, 1, 'two', { replaceLog: false });
      equal(Buffer.from((await source?.read(0, 100)) ?? []).toString(), 'one');
      equal((await source?.read(3, 100))?.length, 0);
      await source?.close();
    });

    test('the cluster id is remembered', async (scene) => {
      equal((await scene.start()).clusterId, undefined);
      await scene.storage.rememberClusterId('c-1');
      await scene.persist([run(1, 1, 'a')]);
      equal((await scene.restartAfterCrash()).clusterId, 'c-1');
    });

    test('a second process on the same directory is refused with STORAGE_LOCKED', async (scene) => {
      await scene.start();
      const code = await scene.open().then(
        () => 'opened',
        (error: unknown) => (error as { code?: string }).code,
      );
      equal(code, 'STORAGE_LOCKED');
    });

    test('a directory marked as damaged says so at every later start', async (scene) => {
      await scene.start();
      await scene.storage.markDamaged('rolled back');
      for (let attempt = 0; attempt < 2; attempt++) {
        const recovered = await scene.open();
        equal('damage' in recovered ? recovered.damage.reason : 'whole', 'rolled back');
      }
    });

    test('nothing is accepted after close', async (scene) => {
      await scene.start();
      await scene.storage.close();
      const code = await scene.persist([run(1, 1, 'a')]).then(
        () => 'written',
        (error: unknown) => (error as { code?: string }).code,
      );
      equal(code, 'STORAGE_CLOSED');
    });
  });
}

class Scene {
  readonly #fixture: StorageFixture;
  #storage: LogStorage | undefined;
  #writes = 0;

  constructor(fixture: StorageFixture) {
    this.#fixture = fixture;
  }

  get storage(): LogStorage {
    if (this.#storage === undefined) throw new Error('not started');
    return this.#storage;
  }

  /** Another storage on the directory, without ending the first. */
  async open(): ReturnType<LogStorage['recover']> {
    return (await this.#fixture.open()).recover();
  }

  async start(): Promise<Recovered> {
    this.#storage = await this.#fixture.open();
    const recovered = await this.#storage.recover();
    if ('damage' in recovered) throw new Error(`damaged: ${recovered.damage.reason}`);
    return recovered;
  }

  async restart(): Promise<Recovered> {
    await this.storage.close();
    return this.start();
  }

  async restartAfterCrash(): Promise<Recovered> {
    await this.#fixture.crash();
    return this.start();
  }

  async end(ending: 'close' | 'crash'): Promise<Recovered> {
    return ending === 'close' ? this.restart() : this.restartAfterCrash();
  }

  async pass(milliseconds: number): Promise<void> {
    await this.#fixture.pass(milliseconds);
  }

  async persist(
    runs: readonly EntryRun[],
    state?: { readonly term: number; readonly vote: string | undefined; readonly commit: number },
  ): Promise<void> {
    const last = runs[runs.length - 1];
    const hardState: HardState | undefined =
      state === undefined
        ? undefined
        : { term: toTerm(state.term), votedFor: state.vote as NodeId | undefined, commitIndex: logIndex(state.commit) };
    const duty: PersistDuty = {
      write: ++this.#writes,
      hardState,
      runs,
      term: last?.term ?? (0 as Term),
      lastIndex: last?.lastIndex ?? (0 as LogIndex),
    };
    await this.storage.persist(duty);
  }

  async snapshot(
    index: number,
    term: number,
    content: string,
    options: { readonly replaceLog: boolean },
  ): Promise<void> {
    const sink = await this.storage.createSnapshot({
      index: logIndex(index),
      term: toTerm(term),
      configuration: CONFIGURATION,
    });
    await sink.write(Buffer.from(content.slice(0, 1)));
    await sink.write(Buffer.from(content.slice(1)));
    const hash = sink.contentHash();
    await sink.commit(options);
    const source = await this.storage.openSnapshot();
    equal(source?.contentHash, hash);
    await source?.close();
  }

  async content(): Promise<string> {
    const source = await this.storage.openSnapshot();
    if (source === undefined) return '(no snapshot)';
    const bytes = await source.read(0, source.byteLength);
    await source.close();
    return Buffer.from(bytes).toString();
  }
}

function run(firstIndex: number, term: number, ...texts: readonly string[]): EntryRun {
  return runOf(
    firstIndex,
    toTerm(term),
    texts.map((text) => Buffer.from(text)),
  );
}

/** `term:text` of every entry, in order; throws where the runs do not follow each other. */
function describeRuns(runs: readonly EntryRun[]): string {
  const entries: string[] = [];
  let next: number | undefined;
  for (const found of runs) {
    if (next !== undefined && found.firstIndex !== next) throw new Error(`a gap before ${found.firstIndex}`);
    for (let index = found.firstIndex as number; index <= found.lastIndex; index++) {
      entries.push(`${found.term}:${Buffer.from(found.entry(index as LogIndex)).toString()}`);
    }
    next = found.lastIndex + 1;
  }
  return entries.join(' ');
}

function equal(actual: unknown, expected: unknown): void {
  if (actual !== expected) throw new Error(`expected ${brief(expected)}, got ${brief(actual)}`);
}

function brief(value: unknown): string {
  const text = String(value);
  return text.length > 300 ? `${text.slice(0, 300)}… (${text.length} characters)` : text;
}
