/** Milliseconds, or a number with its unit: `'500ms'`, `'5s'`, `'1.5m'`, `'24h'`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h'}`;

const TEXT = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/;
const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Whole milliseconds, rounded up so that a wait is never shorter than asked; undefined where `value` is not a duration. */
export function durationMs(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? Math.ceil(value) : undefined;
  if (typeof value !== 'string') return undefined;
  const match = TEXT.exec(value);
  if (match === null) return undefined;
  const ms = Math.ceil(Number(match[1]) * (UNIT_MS[match[2] as string] as number));
  return Number.isSafeInteger(ms) ? ms : undefined;
}
