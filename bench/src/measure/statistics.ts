/** Middle value, the mean of the two middle ones for an even count. Throws on an empty list: a median of nothing is no figure. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('median of no values');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}

/** Largest minus smallest in relation to the median, in per cent: how far repeats of the same thing lay apart. */
export function spreadPercent(values: readonly number[]): number {
  const middle = median(values);
  return middle === 0 ? 0 : ((Math.max(...values) - Math.min(...values)) / middle) * 100;
}

/**
 * Jain's fairness index of what each of n parties got: 1 when all got the same, 1/n when one got everything.
 * Nobody got anything: 1.
 */
export function jainFairness(shares: readonly number[]): number {
  let sum = 0;
  let sumOfSquares = 0;
  for (const share of shares) {
    sum += share;
    sumOfSquares += share * share;
  }
  return sumOfSquares === 0 ? 1 : (sum * sum) / (shares.length * sumOfSquares);
}
