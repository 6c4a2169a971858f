import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Histogram } from '../src/measure/histogram.ts';

/** The value at a rank, from all values: what the histogram approximates. */
function exactPercentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(1, Math.ceil((percent / 100) * sorted.length)) - 1] as number;
}

function histogramOf(values: readonly number[]): Histogram {
  const histogram = new Histogram();
  for (const value of values) histogram.record(value);
  return histogram;
}

const values = fc.array(fc.oneof(fc.nat(300), fc.nat(1_000_000), fc.integer({ min: 0, max: 2 ** 39 })), {
  minLength: 1,
  maxLength: 200,
});

describe('the histogram', () => {
  test('is exact below 256', () => {
    const histogram = histogramOf(Array.from({ length: 256 }, (_, value) => value));
    expect([histogram.percentile(50), histogram.percentile(99), histogram.max]).toEqual([127, 253, 255]);
  });

  test('gives any percentile to within one part in 128', () => {
    fc.assert(
      fc.property(values, fc.double({ min: 0, max: 100, noNaN: true }), (recorded, percent) => {
        const exact = exactPercentile(recorded, percent);
        const shown = histogramOf(recorded).percentile(percent);
        expect(shown).toBeGreaterThanOrEqual(exact);
        expect(shown).toBeLessThanOrEqual(exact * (1 + 1 / 128) + 1);
      }),
    );
  });

  test('keeps count, mean and extremes exactly', () => {
    fc.assert(
      fc.property(values, (recorded) => {
        const { count, mean, max } = histogramOf(recorded).summary();
        expect(count).toBe(recorded.length);
        expect(max).toBe(Math.max(...recorded));
        expect(mean).toBeCloseTo(recorded.reduce((sum, value) => sum + value, 0) / recorded.length, 3);
      }),
    );
  });

  test('is the same after travelling between processes and after merging', () => {
    fc.assert(
      fc.property(values, values, (first, second) => {
        const merged = Histogram.fromData(JSON.parse(JSON.stringify(histogramOf(first).toData())));
        merged.add(histogramOf(second).toData());
        expect(merged.toData()).toEqual(histogramOf([...first, ...second]).toData());
      }),
    );
  });

  test('says 0 of nothing', () => {
    expect(new Histogram().summary()).toEqual({ count: 0, mean: 0, p50: 0, p99: 0, p999: 0, max: 0 });
  });

  test('takes what is negative, not a number or beyond its range as its nearest end', () => {
    const histogram = histogramOf([-5, Number.NaN, 2 ** 50]);
    expect([histogram.min, histogram.max, histogram.count]).toEqual([0, 2 ** 40 - 1, 3]);
  });

  test('adds the requests that a stalled caller could not make', () => {
    const omitted = new Histogram();
    const corrected = new Histogram();
    for (let request = 0; request < 99; request++) {
      omitted.record(1);
      corrected.recordCorrected(1, 10);
    }
    omitted.record(1000);
    corrected.recordCorrected(1000, 10);
    expect(omitted.percentile(90)).toBe(1);
    expect(corrected.count).toBe(99 + 100);
    expect(corrected.percentile(90)).toBeGreaterThan(500);
  });
});
