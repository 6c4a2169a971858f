import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { jainFairness, median, spreadPercent } from '../src/measure/statistics.ts';

describe('the median', () => {
  test.each([
    [[3], 3],
    [[9, 1, 5], 5],
    [[4, 1, 3, 2], 2.5],
  ])('of %j is %d', (values, expected) => {
    expect(median(values)).toBe(expected);
  });

  test('of nothing is refused: no figure is invented', () => {
    expect(() => median([])).toThrow(RangeError);
  });

  test('leaves its argument as it was', () => {
    const values = [3, 1, 2];
    median(values);
    expect(values).toEqual([3, 1, 2]);
  });
});

test('the spread relates largest minus smallest to the median', () => {
  expect(spreadPercent([90, 100, 120])).toBe(30);
});

describe("Jain's index", () => {
  test('is 1 for equal shares and 1/n when one party gets everything', () => {
    expect(jainFairness([5, 5, 5, 5])).toBe(1);
    expect(jainFairness([20, 0, 0, 0])).toBe(0.25);
    expect(jainFairness([0, 0])).toBe(1);
  });

  test('lies between 1/n and 1 and does not depend on the scale', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(10_000), { minLength: 1 }), (shares) => {
        const index = jainFairness(shares);
        expect(index).toBeGreaterThan(1 / shares.length - 1e-9);
        expect(index).toBeLessThan(1 + 1e-9);
        expect(jainFairness(shares.map((share) => share * 7))).toBeCloseTo(index, 9);
      }),
    );
  });
});
