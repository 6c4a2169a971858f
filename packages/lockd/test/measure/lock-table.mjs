/**
 * What the lock table costs: memory a held lock, time an apply, time a slice of a snapshot.
 * `npm run setup && node --expose-gc packages/lockd/test/measure/lock-table.mjs`
 * Times are CPU time of the whole process, garbage collection included, because the machine is rarely alone.
 */
import { encodeCommand } from '../../dist/lock-table/command.js';
import { LockTable } from '../../dist/lock-table/lock-table.js';
import { SILENT_SINK } from '../../dist/lock-table/state.js';

const LOCKS = 1_000_000;
const SESSIONS = 10;
const PAIRS = 1_000_000;

function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function percentile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))].toFixed(2);
}

function report(what, value) {
  console.log(`${what.padEnd(58)} ${value}`);
}

/** `base`: indices of a restored cluster begin with microseconds since 1970, which no small integer holds. */
function filled(base) {
  const table = new LockTable();
  let index = base;
  const apply = (command) => table.applyEntry(encodeCommand(command), ++index, 1, SILENT_SINK);
  for (let i = 0; i < SESSIONS; i++) apply([20, `nonce-${i}`, 15_000, base, 0, []]);
  for (let i = 0; i < LOCKS; i++) {
    const seq = Math.floor(i / SESSIONS) + 1;
    apply([1, base + 1 + (i % SESSIONS), 1, seq, seq - 1, `inventory:${String(i).padStart(10, '0')}`, 1000]);
  }
  return { table, apply };
}

function heapBytes() {
  globalThis.gc();
  globalThis.gc();
  return process.memoryUsage().heapUsed;
}

function measureHotPath() {
  const table = new LockTable();
  let index = 0;
  table.apply([20, 'nonce', 15_000, 0, 0, []], ++index, 1, SILENT_SINK);
  const names = Array.from({ length: 1000 }, (_, i) => `inventory:${String(i).padStart(10, '0')}`);
  let seq = 0;
  for (let round = 1; round <= 3; round++) {
    const start = cpuMs();
    for (let i = 0; i < PAIRS; i++) {
      seq++;
      table.apply([1, 1, 1, seq, seq - 1, names[i % 1000], 1000], ++index, 1, SILENT_SINK);
      seq++;
      table.apply([3, 1, 1, seq, seq - 1, seq - 1], ++index, 1, SILENT_SINK);
    }
    if (round === 3)
      report('acquire and release together, without decoding, ns', (((cpuMs() - start) / PAIRS) * 1e6).toFixed(0));
  }
}

function measureFilled(base) {
  const before = heapBytes();
  const { table, apply } = filled(base);
  report(
    `heap a held lock, 20-character names, from index ${base}, bytes`,
    ((heapBytes() - before) / LOCKS).toFixed(0),
  );
  return { table, apply };
}

function measureSnapshot({ table, apply }) {
  const reader = table.beginSnapshot();
  const chunks = [];
  const slices = [];
  const started = cpuMs();
  for (;;) {
    const start = cpuMs();
    const chunk = reader.next();
    slices.push(cpuMs() - start);
    if (chunk === undefined) break;
    chunks.push(chunk);
    const i = (slices.length * 37) % LOCKS;
    const seq = LOCKS / SESSIONS + slices.length;
    apply([3, 1 + (i % SESSIONS), 1, seq, seq - 1, Math.floor(i / SESSIONS) + 1]);
  }
  slices.sort((a, b) => a - b);
  const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  report('snapshot of 1,000,000 held locks, ms in all', (cpuMs() - started).toFixed(0));
  report('  its size, MB', (bytes / 1e6).toFixed(0));
  report('  a slice, ms: p50, p99, longest', [0.5, 0.99, 1].map((share) => percentile(slices, share)).join(', '));
  const copy = new LockTable();
  const start = cpuMs();
  const writer = copy.beginRestore();
  for (const chunk of chunks) writer.write(chunk);
  writer.finish();
  report('restoring it, ms', (cpuMs() - start).toFixed(0));
}

function measureEnd({ table, apply }) {
  const entries = [];
  apply([30, 1, 1, table.attachmentOf(1)]);
  while (table.hasWorkLeft) {
    const start = cpuMs();
    apply([36]);
    entries.push(cpuMs() - start);
  }
  entries.sort((a, b) => a - b);
  report('a session with 100,000 locks ends in further entries', entries.length);
  report('  an entry, ms: p50, longest', [0.5, 1].map((share) => percentile(entries, share)).join(', '));
}

if (globalThis.gc === undefined) throw new Error('run with node --expose-gc');
measureHotPath();
const full = measureFilled(0);
measureSnapshot(full);
measureEnd(full);
measureFilled(1_764_000_000_000_000);
