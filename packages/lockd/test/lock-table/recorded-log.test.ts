/**
 * Recorded logs replay to the same state for ever. A line of a fixture is `TERM HEX` for an entry's command, or
 * `# INDEX HASH` for the hash of the state after that entry. When a command gets a new meaning, it gets a new version, and a
 * fixture is added; no fixture is ever changed. To record one: LOCKD_RECORD=log-v2 with this test alone.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { encodeCommand, OP } from '../../src/lock-table/command.ts';
import { LockTable } from '../../src/lock-table/lock-table.ts';
import { SILENT_SINK } from '../../src/lock-table/state.ts';
import { LeaderBooks } from './leader-books.ts';
import { script } from './scripts.ts';

// Thousands of executions, on machines that are busy with other things.
vi.setConfig({ testTimeout: 120_000 });

const folder = new URL('./fixtures/', import.meta.url);
const HASH_EVERY = 100;

function record(): string {
  const lines: string[] = [];
  const books = new LeaderBooks(new LockTable());
  const writer = books.writer();
  const add = (bytes: Uint8Array): void => {
    books.table.applyEntry(bytes, writer.index, writer.term, books.sink);
    books.note(books.sink.take());
    lines.push(`${writer.term} ${Buffer.from(bytes).toString('hex')}`);
    if (writer.index % HASH_EVERY === 0) lines.push(`# ${writer.index} ${books.table.stateHash()}`);
  };
  const steps = fc.sample(script(200), { seed: 20_261_123, numRuns: 40 }).flat();
  for (const step of steps) {
    const command = writer.next(step);
    if (command !== undefined) add(encodeCommand(command));
  }
  // One thing of everything that scripts do not say: metadata, long names, other alphabets, unreadable entries.
  writer.index++;
  add(encodeCommand([OP.open, 'last', 15_000, writer.index - 1, 1, ['host', 'höst', '__proto__', 'x']]));
  const session = writer.index;
  const options = [0, 0, 1, 2, 3, ['why', '\ud83d\ude00', '__proto__', 'y'], [], [], 0, ''] as const;
  for (const [seq, name] of [
    [1, '\ufeffname'],
    [2, 'n'.repeat(512)],
    [3, '\ufdd0d800'],
  ] as const) {
    writer.index++;
    add(encodeCommand([OP.acquire, session, 1, seq, 0, name, 0, 2 ** 31, options]));
  }
  writer.index++;
  add(encodeCommand([OP.acquire, session, 1, 4, 0, '\ufeffname', 0]));
  writer.index++;
  add(Uint8Array.from([2, 0xc0]));
  writer.index++;
  add(Uint8Array.from([1, 0xc1]));
  lines.push(`# ${writer.index} ${books.table.stateHash()}`);
  return `${lines.join('\n')}\n`;
}

const wanted = process.env['LOCKD_RECORD'];
if (wanted !== undefined) {
  const file = new URL(`${wanted}.txt`, folder);
  if (existsSync(file)) throw new Error(`${wanted} is recorded already, and stays as it is`);
  writeFileSync(file, record());
}

describe('a recorded log replays to the same state', () => {
  const files = readdirSync(folder).filter((file) => file.endsWith('.txt'));
  test('there is one for each version of the commands', () => {
    expect(files).toContain('log-v1.txt');
  });

  test.each(files)('%s', (file) => {
    const table = new LockTable();
    let index = 0;
    let hashes = 0;
    for (const line of readFileSync(new URL(file, folder), 'utf8').trimEnd().split('\n')) {
      const [first, second, third] = line.split(' ') as [string, string, string];
      if (first === '#') {
        expect(index).toBe(Number(second));
        expect(table.stateHash(), `state at ${index}`).toBe(third);
        hashes++;
        continue;
      }
      table.applyEntry(Uint8Array.from(Buffer.from(second, 'hex')), ++index, Number(first), SILENT_SINK);
    }
    expect(hashes).toBeGreaterThan(10);
  });
});
