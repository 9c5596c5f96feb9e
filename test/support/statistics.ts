/** Statistics that tests judge randomness with. */

export interface Moments {
  readonly mean: number;
  readonly variance: number;
  /** Fourth standardised moment: 3 for a Gaussian. */
  readonly kurtosis: number;
  readonly max: number;
}

export function moments(values: ArrayLike<number>): Moments {
  const n = values.length;
  let sum = 0;
  for (let i = 0; i < n; i++) sum += values[i];
  const mean = sum / n;
  let [second, fourth, max] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const d = values[i] - mean;
    second += d * d;
    fourth += d ** 4;
    max = Math.max(max, Math.abs(values[i]));
  }
  const variance = second / n;
  return { mean, variance, kurtosis: fourth / n / variance ** 2, max };
}

/**
 * How far a chi-square statistic lies from its expectation, in standard deviations (Wilson and Hilferty's cube
 * root, 1931). |z| < 5 fails for honest data about once in two million runs.
 *
 * @param expected counts for each bin; scaled to the sum of `counts`
 */
export function chiSquareZ(counts: ArrayLike<number>, expected?: ArrayLike<number>): number {
  const bins = counts.length;
  let [total, weight] = [0, 0];
  for (let i = 0; i < bins; i++) {
    total += counts[i];
    weight += expected?.[i] ?? 1;
  }
  let statistic = 0;
  for (let i = 0; i < bins; i++) {
    const want = (total * (expected?.[i] ?? 1)) / weight;
    statistic += (counts[i] - want) ** 2 / want;
  }
  const df = bins - 1;
  const spread = 2 / (9 * df);
  return (Math.cbrt(statistic / df) - (1 - spread)) / Math.sqrt(spread);
}

/** How often each byte value occurs. */
export function byteCounts(bytes: Uint8Array): Uint32Array {
  const counts = new Uint32Array(256);
  for (const byte of bytes) counts[byte]++;
  return counts;
}

/** Pearson's correlation of two sequences, times √n: a standard normal number if they are independent. */
export function correlationZ(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const n = Math.min(a.length, b.length);
  let [sumA, sumB] = [0, 0];
  for (let i = 0; i < n; i++) {
    sumA += a[i];
    sumB += b[i];
  }
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const [x, y] = [a[i] - sumA / n, b[i] - sumB / n];
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return (ab / Math.sqrt(aa * bb)) * Math.sqrt(n);
}

/** Binomial coefficients C(n, 0) … C(n, n). */
export function binomials(n: number): number[] {
  const row = [1];
  for (let k = 1; k <= n; k++) row.push((row[k - 1] * (n - k + 1)) / k);
  return row;
}
