import { describe, expect, test } from 'vitest';
import { runOf } from '../../src/core/entry-run.ts';
import { type LogIndex, logIndex, type NodeId, nodeId, term } from '../../src/core/ids.ts';
import type { HardState } from '../../src/core/ready.ts';
import type { Disk } from '../../src/node/disk.ts';
import { LogStore } from '../../src/node/log-store.ts';
import type { Recovered } from '../../src/node/storage.ts';
import { StorageError } from '../../src/node/storage-error.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { seededRandom } from '../../src/testing/seeded-random.ts';
import { SimulatedDisk } from '../../src/testing/simulated-disk.ts';

const CONFIGURATION = { voters: [nodeId('n1')], outgoing: [], learners: [], learnersNext: [], autoLeave: false };

/** What a log holds, in words: entries after the snapshot, the snapshot, and the vote. */
interface Model {
  readonly snapshot: { readonly index: number; readonly content: string } | undefined;
  /** Entry `i` of the log is at `i - 1`; those up to the snapshot may stand here or not. */
  readonly entries: readonly { readonly term: number; readonly text: string }[];
  readonly hardState: HardState;
}

const EMPTY: Model = {
  snapshot: undefined,
  entries: [],
  hardState: { term: term(0), votedFor: undefined, commitIndex: logIndex(0) },
};

function describeModel(model: Model): string {
  const base = model.snapshot?.index ?? 0;
  return JSON.stringify([
    base,
    model.snapshot?.content,
    model.entries.slice(base),
    model.hardState.term,
    model.hardState.votedFor,
  ]);
}

async function describeRecovered(store: LogStore, recovered: Recovered): Promise<string> {
  const entries: { term: number; text: string }[] = [];
  for (const run of recovered.runs) {
    for (let index = run.firstIndex as number; index <= run.lastIndex; index++) {
      entries.push({ term: run.term, text: Buffer.from(run.entry(index as LogIndex)).toString() });
    }
  }
  const source = await store.openSnapshot();
  const content = source === undefined ? undefined : Buffer.from(await source.read(0, source.byteLength)).toString();
  return JSON.stringify([
    recovered.snapshot?.index ?? 0,
    content,
    entries,
    recovered.hardState.term,
    recovered.hardState.votedFor,
  ]);
}

/** One random change of the log: the model after it, and the calls that make it. */
function randomChange(
  model: Model,
  random: (bound: number) => number,
  label: number,
): { readonly after: Model; readonly make: (store: LogStore) => Promise<void> } {
  const base = model.snapshot?.index ?? 0;
  const last = Math.max(base, model.entries.length);
  const lastTerm = model.entries[model.entries.length - 1]?.term ?? model.hardState.term;
  const kind = random(12);
  if (kind === 0 && model.entries.length > base) {
    const index = base + 1 + random(model.entries.length - base);
    const content = `state at ${index}, ${label}`;
    return {
      after: { ...model, snapshot: { index, content } },
      make: async (store) => {
        const metadata = {
          index: logIndex(index),
          term: term(model.entries[index - 1]?.term ?? 0),
          configuration: CONFIGURATION,
        };
        const sink = await store.createSnapshot(metadata);
        await sink.write(Buffer.from(content));
        await sink.commit({ replaceLog: false });
        await store.compact(logIndex(Math.max(0, index - random(5))), metadata.term);
      },
    };
  }
  if (kind === 1) {
    const index = last + 1 + random(5) - (last > base + 2 ? random(3) : 0);
    const content = `installed at ${index}, ${label}`;
    const filler = { term: lastTerm + 1, text: 'covered' };
    return {
      after: { ...model, snapshot: { index, content }, entries: Array.from({ length: index }, () => filler) },
      make: async (store) => {
        const sink = await store.createSnapshot({
          index: logIndex(index),
          term: term(filler.term),
          configuration: CONFIGURATION,
        });
        await sink.write(Buffer.from(content));
        await sink.commit({ replaceLog: true });
      },
    };
  }
  const hardState: HardState | undefined =
    random(3) === 0
      ? {
          term: term(model.hardState.term + 1 + random(2)),
          votedFor: random(2) === 0 ? undefined : nodeId(`n${random(3)}`),
          commitIndex: logIndex(0),
        }
      : undefined;
  const isReplacing = random(4) === 0 && last > base;
  const first = isReplacing ? base + 1 + random(last - base) : last + 1;
  // A log that is being replaced may come back with an older term at its end, if not the same entry.
  const runTerm = isReplacing ? Math.max(1, lastTerm + 2 - random(3)) : lastTerm + random(2);
  const texts = Array.from({ length: random(4) + (hardState === undefined ? 1 : 0) }, (_, at) => `${label}.${at}`);
  const kept = texts.length === 0 ? model.entries : model.entries.slice(0, first - 1);
  return {
    after: {
      ...model,
      hardState: hardState ?? model.hardState,
      entries: [...kept, ...texts.map((text) => ({ term: runTerm, text }))],
    },
    make: (store) =>
      store.persist({
        write: label,
        hardState,
        runs:
          texts.length === 0
            ? []
            : [
                runOf(
                  first,
                  term(runTerm),
                  texts.map((text) => Buffer.from(text)),
                ),
              ],
        term: term(runTerm),
        lastIndex: logIndex(first + texts.length - 1),
      }),
  };
}

interface Bugs {
  readonly acknowledgesBeforeSync?: boolean;
  readonly keepsBlocksAbove?: boolean;
}

/** The disk with a bug in between: deletions of blocks that are replaced never happen. */
function withoutDeletions(disk: Disk): Disk {
  return new Proxy(disk, {
    get(target, property, receiver) {
      if (property !== 'openDatabase') {
        const value: unknown = Reflect.get(target, property, receiver);
        return typeof value === 'function' ? value.bind(target) : value;
      }
      return async (options: { create: boolean }) => {
        const database = await target.openDatabase(options);
        return {
          batch: (operations: Parameters<typeof database.batch>[0], { sync }: { sync: boolean }) =>
            database.batch(
              operations.filter(({ type }) => type !== 'del' || !sync),
              { sync },
            ),
          scan: (visit: Parameters<typeof database.scan>[0]) => database.scan(visit),
          close: () => database.close(),
        };
      };
    },
  });
}

/**
 * Lives through several losses of power at random moments. Returns what went wrong: acknowledged things that are gone or
 * changed, or damage that nothing has done.
 */
async function live(
  seed: number,
  bugs: Bugs = {},
  changes = { acknowledged: 0, cut: 0, happened: 0 },
): Promise<string | undefined> {
  const random = seededRandom(seed);
  const clock = new ManualClock();
  const disk = new SimulatedDisk({ clock, random, syncDelayMs: () => random(6) });
  disk.sabotage = { acknowledgesBeforeSync: bugs.acknowledgesBeforeSync ?? false };
  let model = EMPTY;
  for (let life = 0, label = 1; life < 6; life++) {
    const mounted = bugs.keepsBlocksAbove === true ? withoutDeletions(disk.mount()) : disk.mount();
    const store = new LogStore(mounted, clock, { newInstanceId: () => 'i', maxBlockBytes: 120 });
    const recovering = store.recover();
    await clock.advance(60);
    const recovered = await recovering;
    if ('damage' in recovered) return `damaged: ${recovered.damage.reason}`;
    const found = await describeRecovered(store, recovered);
    if (found !== describeModel(model)) return `expected ${describeModel(model)}, found ${found}`;

    let candidate: Model | undefined;
    const deathMs = clock.nowMs() + random(80);
    const working = (async () => {
      for (;;) {
        const { after, make } = randomChange(model, random, label++);
        candidate = after;
        await make(store);
        model = after;
        candidate = undefined;
        changes.acknowledged += 1;
        if (random(4) === 0) await new Promise<void>((resolve) => clock.after(random(15), resolve));
      }
    })();
    working.catch(() => undefined);
    await clock.advance(deathMs - clock.nowMs());
    if (random(3) === 0) disk.kill();
    else disk.losePower();
    if (candidate === undefined) continue;
    changes.cut += 1;
    // What was under way may have happened or not: look, and go on from what there is.
    const inspected = new LogStore(disk.mount(), clock, { newInstanceId: () => 'i' });
    const inspecting = inspected.recover();
    await clock.advance(60);
    const state = await inspecting;
    if ('damage' in state) return `damaged: ${state.damage.reason}`;
    const text = await describeRecovered(inspected, state);
    if (text === describeModel(candidate)) {
      model = candidate;
      changes.happened += 1;
    }
    disk.kill();
  }
  return undefined;
}

describe('a store whose disk loses power at random moments', () => {
  test('has what it acknowledged, and either all or nothing of what was under way', async () => {
    const changes = { acknowledged: 0, cut: 0, happened: 0 };
    for (let seed = 1; seed <= 250; seed++) expect(await live(seed, {}, changes), `seed ${seed}`).toBeUndefined();
    // Both outcomes of a cut write occur, often.
    expect(changes.acknowledged).toBeGreaterThan(5000);
    expect(changes.happened).toBeGreaterThan(200);
    expect(changes.cut - changes.happened).toBeGreaterThan(200);
  }, 60_000);

  test('is caught when the disk acknowledges before it syncs', async () => {
    expect(await firstCaught({ acknowledgesBeforeSync: true })).toBeLessThan(50);
  }, 60_000);

  test('is caught when a block written at i leaves the blocks above i', async () => {
    expect(await firstCaught({ keepsBlocksAbove: true })).toBeLessThan(50);
  }, 60_000);
});

async function firstCaught(bugs: Bugs): Promise<number> {
  for (let seed = 1; seed < 100; seed++) if ((await live(seed, bugs)) !== undefined) return seed;
  return Number.POSITIVE_INFINITY;
}

interface Scene {
  readonly clock: ManualClock;
  readonly disk: SimulatedDisk;
  open(): Promise<{ readonly store: LogStore; readonly outcome: Awaited<ReturnType<LogStore['recover']>> }>;
}

function scene(): Scene {
  const clock = new ManualClock();
  const disk = new SimulatedDisk({ clock, random: seededRandom(1) });
  return {
    clock,
    disk,
    open: async () => {
      const store = new LogStore(disk.mount(), clock, { newInstanceId: () => 'i' });
      return { store, outcome: await store.recover() };
    },
  };
}

async function write(
  store: LogStore,
  first: number,
  texts: readonly string[],
  hardState?: { term: number; vote: string },
): Promise<void> {
  await store.persist({
    write: 1,
    hardState: hardState && {
      term: term(hardState.term),
      votedFor: hardState.vote as NodeId,
      commitIndex: logIndex(0),
    },
    runs:
      texts.length === 0
        ? []
        : [
            runOf(
              first,
              term(1),
              texts.map((text) => Buffer.from(text)),
            ),
          ],
    term: term(1),
    lastIndex: logIndex(Math.max(0, first + texts.length - 1)),
  });
}

/** Ten entries in five blocks, a vote and a snapshot; the marker has caught up. */
async function filled(): Promise<Scene> {
  const made = scene();
  const { store } = await made.open();
  for (let index = 1; index <= 10; index += 2) await write(store, index, [`a${index}`, `b${index}`]);
  const sink = await store.createSnapshot({ index: logIndex(4), term: term(1), configuration: CONFIGURATION });
  await sink.write(Buffer.from('state'));
  await sink.commit({ replaceLog: false });
  await store.compact(logIndex(2), term(1));
  await write(store, 0, [], { term: 3, vote: 'n2' });
  await made.clock.advance(20);
  made.disk.kill();
  return made;
}

async function reasonOf(made: Scene): Promise<string> {
  const { outcome } = await made.open();
  made.disk.kill();
  return 'damage' in outcome ? outcome.damage.reason : 'whole';
}

describe('damage', () => {
  test('a database that forgets its last batches is refused, with or without a complaint', async () => {
    for (const count of [1, 2, 3, 5]) {
      for (const complains of [false, true]) {
        const made = await filled();
        made.disk.forgetBatches(count, { complains });
        expect(await reasonOf(made), `${count} batches`).not.toBe('whole');
        expect(await reasonOf(made), 'again').not.toBe('whole');
      }
    }
  });

  test('a complaint alone is enough', async () => {
    const made = await filled();
    made.disk.forgetBatches(0, { complains: true });
    expect(await reasonOf(made)).toMatch(/dropped what it could not read/);
  });

  test('a flipped bit or a lost record anywhere is refused', async () => {
    const { keys, files } = (await filled()).disk.names();
    for (const key of keys) {
      for (let byte = 0; byte < 60; byte += 7) {
        const made = await filled();
        made.disk.flipBit({ key }, byte);
        expect(await reasonOf(made), `byte ${byte} of ${key}`).not.toBe('whole');
      }
    }
    // Blocks before the snapshot are no longer needed: the first may go, but none in the middle.
    for (const key of keys.slice(1)) {
      const made = await filled();
      made.disk.remove({ key });
      expect(await reasonOf(made), `without ${key}`).not.toBe('whole');
    }
    for (const file of files) {
      const made = await filled();
      made.disk.remove({ file });
      expect(await reasonOf(made), `without ${file}`).not.toBe('whole');
    }
  });

  test('one spoiled slot of the marker is survived, for a torn write looks the same; two are refused', async () => {
    const made = await filled();
    made.disk.flipBit({ file: 'marker' }, 10);
    expect(await reasonOf(made)).toBe('whole');
    const both = await filled();
    both.disk.flipBit({ file: 'marker' }, 10);
    both.disk.flipBit({ file: 'marker' }, 4106);
    expect(await reasonOf(both)).toMatch(/both slots/);
  });

  test('every beginning of a first use can be repeated', async () => {
    // Power is lost after each sync of the creation in turn.
    for (let delayMs = 0; delayMs < 12; delayMs++) {
      const clock = new ManualClock();
      const disk = new SimulatedDisk({ clock, random: seededRandom(delayMs + 1), syncDelayMs: () => 2 });
      void new LogStore(disk.mount(), clock, { newInstanceId: () => 'first' }).recover();
      await clock.advance(delayMs);
      disk.losePower();
      const opening = new LogStore(disk.mount(), clock, { newInstanceId: () => 'second' }).recover();
      await clock.advance(60);
      const outcome = await opening;
      expect('damage' in outcome ? outcome.damage.reason : outcome.isEmpty, `after ${delayMs} ms`).toBe(true);
    }
  });
});

describe('errors of the device', () => {
  test('a failed write is reported, and nothing is accepted after it', async () => {
    const made = scene();
    const { store } = await made.open();
    await write(store, 1, ['a']);
    made.disk.failNext('batch');
    await expect(write(store, 2, ['b'])).rejects.toMatchObject({ code: 'STORAGE_IO' });
    await expect(write(store, 2, ['b'])).rejects.toMatchObject({ code: 'STORAGE_CLOSED' });
    await store.close();
    const { outcome } = await made.open();
    // The write that reported an error is there after all.
    expect('damage' in outcome ? 'damaged' : outcome.runs.map((run) => run.count)).toEqual([2]);
  });

  test('a full device has a code of its own', async () => {
    const made = scene();
    const { store } = await made.open();
    made.disk.failNext('batch', new StorageError('STORAGE_FULL', 'simulated'));
    await expect(write(store, 1, ['a'])).rejects.toMatchObject({ code: 'STORAGE_FULL' });
  });

  test('a vote is not acknowledged when its marker cannot be written', async () => {
    const made = scene();
    const { store } = await made.open();
    made.disk.failNext('slot');
    await expect(write(store, 0, [], { term: 2, vote: 'n1' })).rejects.toMatchObject({ code: 'STORAGE_IO' });
  });

  test('a marker that fails in the background fails the next write', async () => {
    const made = scene();
    const { store } = await made.open();
    await write(store, 1, ['a']);
    made.disk.failNext('slot');
    await made.clock.advance(20);
    await expect(write(store, 2, ['b'])).rejects.toMatchObject({ code: 'STORAGE_CLOSED' });
  });
});

describe('the marker', () => {
  test('is written at most once in 10 ms for entries alone, and before the answer for a vote', async () => {
    const made = scene();
    const { store } = await made.open();
    const before = made.disk.syncs;
    for (let index = 1; index <= 20; index++) {
      await write(store, index, ['a']);
      await made.clock.advance(1);
    }
    // 20 batches, and a marker each 10 ms.
    expect(made.disk.syncs - before).toBeLessThanOrEqual(20 + 3);
    const atVote = made.disk.syncs;
    await write(store, 0, [], { term: 2, vote: 'n1' });
    expect(made.disk.syncs - atVote).toBe(2);
  });
});
