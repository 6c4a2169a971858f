import { byCodeUnits } from './inspection.ts';
import type { TableState } from './state.ts';
import { walk } from './walk.ts';

const EVERYTHING = { take: (): boolean => true, takeNonce: (): boolean => true };

/**
 * All of the replicated state, one record a line, sorted: two tables are equal exactly if these are. For comparing
 * replicas and for people; takes time in proportion to the state.
 */
export function stateLines(state: TableState): string[] {
  const lines = new Set<string>();
  for (const record of walk(state, EVERYTHING)) if (record !== undefined) lines.add(JSON.stringify(record));
  return [...lines].sort(byCodeUnits);
}

/** 64 bits of hash over the lines, as 16 hex digits. */
export function hashOf(lines: readonly string[]): string {
  // Two FNV-1a hashes with different offsets.
  let low = 0x811c9dc5;
  let high = 0x01234567;
  for (const line of lines) {
    for (let position = 0; position <= line.length; position++) {
      const unit = position === line.length ? 10 : line.charCodeAt(position);
      low = Math.imul(low ^ unit, 0x01000193);
      high = Math.imul(high ^ (unit + position), 0x01000193);
    }
  }
  return hex(high) + hex(low);
}

function hex(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0');
}
