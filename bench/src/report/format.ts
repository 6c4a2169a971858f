import { ABSENT } from './report.ts';

/** Numbers as tables show them: three significant digits, thousands separated. `undefined` is a dash. */
export function formatNumber(value: number | undefined, digits = 3): string {
  if (value === undefined || !Number.isFinite(value)) return ABSENT;
  if (value === 0) return '0';
  const magnitude = Math.floor(Math.log10(Math.abs(value)));
  const decimals = Math.max(0, digits - 1 - magnitude);
  return value.toLocaleString('en-US', {
    minimumFractionDigits: decimals > 6 ? 0 : decimals,
    maximumFractionDigits: Math.min(decimals, 6),
  });
}

export function formatCount(value: number | undefined): string {
  return value === undefined || !Number.isFinite(value) ? ABSENT : Math.round(value).toLocaleString('en-US');
}

/** Microseconds as milliseconds. */
export function formatMillis(micros: number | undefined): string {
  return micros === undefined ? ABSENT : formatNumber(micros / 1000);
}

export function formatMebibytes(bytes: number | undefined): string {
  return bytes === undefined ? ABSENT : formatNumber(bytes / 2 ** 20);
}

export function formatRatio(value: number | undefined): string {
  return value === undefined || !Number.isFinite(value) ? ABSENT : `${formatNumber(value)}×`;
}
