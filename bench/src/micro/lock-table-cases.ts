import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { MicroCase } from './harness.ts';

// The lock table is no public part of the package, so it is taken from the build by its path, and only this much of
// it is named here.
interface LockTable {
  applyEntry(bytes: Uint8Array, index: number, term: number, sink: object): void;
  counters(): { readonly held: number; readonly waiting: number; readonly unreadableCommands: number };
}
interface TableModule {
  readonly LockTable: new () => LockTable;
}
interface CommandModule {
  readonly OP: { readonly acquire: number; readonly release: number; readonly open: number };
  readonly encodeCommand: (command: readonly unknown[]) => Uint8Array;
}
interface StateModule {
  readonly SILENT_SINK: object;
}

const BUILT = join(dirname(createRequire(import.meta.url).resolve('lockd/package.json')), 'dist', 'lock-table');
const load = async <Module>(file: string): Promise<Module> =>
  (await import(pathToFileURL(join(BUILT, file)).href)) as Module;

const WAIT_MS = 30_000;

/** Entries as every node applies them, decoding included. Encoding is the price of having entries to apply. */
export function lockTableCases(): readonly MicroCase[] {
  return [
    {
      name: 'lock table: encode acquire and release, per cycle',
      async prepare() {
        const encode = await encoders();
        return {
          run(operations) {
            let bytes = 0;
            for (let done = 0; done < operations; done++) {
              bytes += encode.acquire(7, done + 1, `bench/${done % 512}`).length;
              bytes += encode.release(7, done + 2, done + 1).length;
            }
            if (bytes === 0) throw new Error('lock table: nothing encoded');
            return operations;
          },
        };
      },
    },
    tableCase('lock table: apply acquire and release, uncontended, with their encoding, per cycle', 0),
    tableCase('lock table: the same with 100,000 other locks held, per cycle', 100_000),
    {
      name: 'lock table: hand a name on among 64 waiters, with encoding, per hand-off',
      async prepare() {
        const table = await openTable();
        const handles: number[] = [];
        const sessions = Array.from({ length: 64 }, () => ({ id: table.open(), seq: 0 }));
        const wait = (session: (typeof sessions)[number]): void => {
          table.apply(table.encode.acquire(session.id, ++session.seq, 'contended'));
          handles.push(session.seq);
        };
        for (const session of sessions) wait(session);
        let turn = 0;
        return {
          run(operations) {
            for (let done = 0; done < operations; done++) {
              // First come, first served: the holders follow one another in the order of the sessions.
              const session = sessions[turn++ % sessions.length] as (typeof sessions)[number];
              table.apply(table.encode.release(session.id, ++session.seq, handles.shift() as number));
              wait(session);
            }
            table.check(1, sessions.length - 1);
            return operations;
          },
        };
      },
    },
  ];
}

function tableCase(name: string, held: number): MicroCase {
  return {
    name,
    async prepare() {
      const table = await openTable();
      const holder = table.open();
      for (let lock = 1; lock <= held; lock++) table.apply(table.encode.acquire(holder, lock, `held/${lock}`));
      const session = table.open();
      let seq = 0;
      return {
        run(operations) {
          for (let done = 0; done < operations; done++) {
            const handle = ++seq;
            table.apply(table.encode.acquire(session, handle, `bench/${done % 512}`));
            table.apply(table.encode.release(session, ++seq, handle));
          }
          table.check(held, 0);
          return operations;
        },
      };
    },
  };
}

interface Encoders {
  acquire(session: number, seq: number, name: string): Uint8Array;
  release(session: number, seq: number, handle: number): Uint8Array;
  open(nonce: string): Uint8Array;
}

async function encoders(): Promise<Encoders> {
  const { OP, encodeCommand } = await load<CommandModule>('command.js');
  // Epoch 1 is the connection that opened the session; everything before this operation has been acknowledged.
  return {
    acquire: (session, seq, name) => encodeCommand([OP.acquire, session, 1, seq, seq - 1, name, WAIT_MS]),
    release: (session, seq, handle) => encodeCommand([OP.release, session, 1, seq, seq - 1, handle]),
    open: (nonce) => encodeCommand([OP.open, nonce, 3_600_000, 0, 0, []]),
  };
}

interface OpenTable {
  readonly encode: Encoders;
  /** Returns the new session's id. */
  open(): number;
  apply(entry: Uint8Array): void;
  /** Throws unless exactly so many locks are held and waited for. */
  check(held: number, waiting: number): void;
}

async function openTable(): Promise<OpenTable> {
  const { LockTable } = await load<TableModule>('lock-table.js');
  const { SILENT_SINK } = await load<StateModule>('state.js');
  const encode = await encoders();
  const table = new LockTable();
  let index = 0;
  const apply = (entry: Uint8Array): void => table.applyEntry(entry, ++index, 1, SILENT_SINK);
  return {
    encode,
    apply,
    open() {
      apply(encode.open(`nonce ${index}`));
      return index;
    },
    check(held, waiting) {
      const counters = table.counters();
      if (counters.held !== held || counters.waiting !== waiting || counters.unreadableCommands > 0)
        throw new Error(`lock table: ${JSON.stringify(counters)} instead of ${held} held, ${waiting} waiting`);
    },
  };
}
