/** Sub-buckets per power of two: values are kept to within 1/128, better than 0.8 %. */
const SUB_BUCKET_BITS = 7;
const SUB_BUCKETS = 1 << SUB_BUCKET_BITS;
const LINEAR_LIMIT = SUB_BUCKETS * 2;
/** 2^40 microseconds are twelve days. */
const MAX_EXPONENT = 40;
const MAX_TRACKABLE = 2 ** MAX_EXPONENT - 1;
const BUCKETS = LINEAR_LIMIT + (MAX_EXPONENT - SUB_BUCKET_BITS - 1) * SUB_BUCKETS;

/** A histogram as it travels between processes and into result files: only the buckets that hold something. */
export interface HistogramData {
  readonly count: number;
  readonly sum: number;
  readonly min: number;
  readonly max: number;
  readonly buckets: readonly (readonly [index: number, count: number])[];
}

/** What a table shows of a histogram, in the histogram's own unit. All 0 when nothing was recorded. */
export interface HistogramSummary {
  readonly count: number;
  readonly mean: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/**
 * Log-linear histogram of non-negative integers (here: microseconds) in constant memory: exact below 256, above
 * that to within 0.8 %; minimum, maximum and sum are exact. Recording allocates nothing.
 */
export class Histogram {
  readonly #counts = new Float64Array(BUCKETS);
  #count = 0;
  #sum = 0;
  #min = Number.POSITIVE_INFINITY;
  #max = 0;

  static fromData(data: HistogramData): Histogram {
    const histogram = new Histogram();
    histogram.add(data);
    return histogram;
  }

  get count(): number {
    return this.#count;
  }

  get max(): number {
    return this.#max;
  }

  get min(): number {
    return this.#count === 0 ? 0 : this.#min;
  }

  get mean(): number {
    return this.#count === 0 ? 0 : this.#sum / this.#count;
  }

  /** Rounds to an integer; negative values count as 0, values beyond twelve days as twelve days. */
  record(value: number): void {
    this.#recordTimes(clamp(value), 1);
  }

  /**
   * For a caller that meant to make one request every `interval` and could not while one of them took `value`:
   * also records the requests it would have made meanwhile (value − interval, value − 2 × interval, …). Without
   * them a stall of one second counts as one slow request, however many would have met it: coordinated omission.
   */
  recordCorrected(value: number, interval: number): void {
    const longest = clamp(value);
    this.#recordTimes(longest, 1);
    if (!(interval > 0)) return;
    for (let missing = longest - interval; missing >= interval; missing -= interval)
      this.#recordTimes(clamp(missing), 1);
  }

  add(other: HistogramData): void {
    if (other.count === 0) return;
    for (const [index, count] of other.buckets) this.#counts[index] = (this.#counts[index] as number) + count;
    this.#count += other.count;
    this.#sum += other.sum;
    this.#min = Math.min(this.#min, other.min);
    this.#max = Math.max(this.#max, other.max);
  }

  /** Smallest value that at least `percent` per cent of the recorded ones do not exceed (to within a bucket). 0 when empty. */
  percentile(percent: number): number {
    if (this.#count === 0) return 0;
    const rank = Math.max(1, Math.ceil((Math.min(percent, 100) / 100) * this.#count));
    if (rank >= this.#count) return this.#max;
    let seen = 0;
    for (let index = 0; index < BUCKETS; index++) {
      seen += this.#counts[index] as number;
      // A bucket's upper end may lie above everything that was recorded in it.
      if (seen >= rank) return Math.max(this.#min, Math.min(highestIn(index), this.#max));
    }
    return this.#max;
  }

  summary(): HistogramSummary {
    return {
      count: this.#count,
      mean: this.mean,
      p50: this.percentile(50),
      p99: this.percentile(99),
      p999: this.percentile(99.9),
      max: this.#max,
    };
  }

  toData(): HistogramData {
    const buckets: (readonly [number, number])[] = [];
    for (let index = 0; index < BUCKETS; index++) {
      const count = this.#counts[index] as number;
      if (count > 0) buckets.push([index, count]);
    }
    return { count: this.#count, sum: this.#sum, min: this.min, max: this.#max, buckets };
  }

  #recordTimes(value: number, times: number): void {
    const index = bucketOf(value);
    this.#counts[index] = (this.#counts[index] as number) + times;
    this.#count += times;
    this.#sum += value * times;
    if (value < this.#min) this.#min = value;
    if (value > this.#max) this.#max = value;
  }
}

function clamp(value: number): number {
  const rounded = Math.round(value);
  if (!(rounded > 0)) return 0;
  return rounded > MAX_TRACKABLE ? MAX_TRACKABLE : rounded;
}

/** Position of the highest set bit; also for values above 2^32, where `clz32` alone would not do. */
function exponentOf(value: number): number {
  return value < 0x1_0000_0000 ? 31 - Math.clz32(value) : 63 - Math.clz32(Math.floor(value / 0x1_0000_0000));
}

function bucketOf(value: number): number {
  if (value < LINEAR_LIMIT) return value;
  const exponent = exponentOf(value);
  const width = 2 ** (exponent - SUB_BUCKET_BITS);
  return LINEAR_LIMIT + (exponent - SUB_BUCKET_BITS - 1) * SUB_BUCKETS + (Math.floor(value / width) - SUB_BUCKETS);
}

function highestIn(index: number): number {
  if (index < LINEAR_LIMIT) return index;
  const exponent = Math.floor((index - LINEAR_LIMIT) / SUB_BUCKETS) + SUB_BUCKET_BITS + 1;
  const width = 2 ** (exponent - SUB_BUCKET_BITS);
  return (((index - LINEAR_LIMIT) % SUB_BUCKETS) + SUB_BUCKETS + 1) * width - 1;
}
