/**
 * What of a copy can tell accounts apart: y, how far each entry is from W, weighted by how well the copy knows it. It is
 * made from the copy and from W alone, so for an account that has nothing to do with the copy its signs and y are
 * independent, whatever the copy is.
 */

/** Entries of one group. */
export interface GroupEvidence {
  readonly group: number;
  /** (rows, n), within ±LARGEST; 0 where the copy says nothing. */
  readonly y: Float32Array;
}

/** An entry that is further off is a fault of the copy, and no mark. */
const LARGEST = 3;
const ROUNDS = 6;

/**
 * A copy may be scaled, and may know some columns well and others not at all. With g its scale and σ_j the
 * root-mean-square of copy/g − W over the rows of column j,
 *
 *   y_rj = clip((copy_rj/g − W_rj)/σ_j)·min(1, δ/σ_j)
 *
 * @param copy of one module in units of W, (rows, n) @param weights W of the module @param amplitude δ
 */
export function evidenceOf(
  copy: Float64Array,
  weights: Int32Array,
  rows: number,
  amplitude: number,
): Float32Array {
  const n = weights.length / rows;
  const floor = amplitude / 16;
  let best: { gain: number; spread: Float64Array; told: number } | undefined;
  for (const start of startingGains(copy, weights)) {
    let gain = start;
    for (let round = 0; round < ROUNDS; round++) {
      const spread = spreads(copy, weights, rows, gain, floor);
      const told = spread.reduce((sum, each) => sum + Math.min(1, amplitude / each) ** 2, 0);
      if (best === undefined || told > best.told) best = { gain, spread, told };
      const next = weightedGain(copy, weights, rows, spread);
      if (!(Math.abs(next) > 1e-6) || next === gain) break;
      gain = next;
    }
  }
  const y = new Float32Array(rows * n);
  if (best === undefined) return y;
  const { gain, spread } = best;
  for (let i = 0; i < y.length; i++) {
    const sigma = spread[i % n];
    const off = (copy[i] / gain - weights[i]) / sigma;
    y[i] = Math.max(-LARGEST, Math.min(LARGEST, off)) * Math.min(1, amplitude / sigma);
  }
  return y;
}

/** A copy is as large as the adapter, or scaled by some factor. */
function startingGains(copy: Float64Array, weights: Int32Array): number[] {
  let [product, square] = [0, 0];
  for (let i = 0; i < copy.length; i++) {
    product += copy[i] * weights[i];
    square += weights[i] ** 2;
  }
  const whole = product / square;
  return [1, whole].filter((gain) => Number.isFinite(gain) && Math.abs(gain) > 1e-6);
}

function spreads(
  copy: Float64Array,
  weights: Int32Array,
  rows: number,
  gain: number,
  floor: number,
): Float64Array {
  const n = weights.length / rows;
  const spread = new Float64Array(n);
  for (let i = 0; i < weights.length; i++) spread[i % n] += (copy[i] / gain - weights[i]) ** 2;
  return spread.map((sum) => Math.max(floor, Math.sqrt(sum / rows)));
}

function weightedGain(copy: Float64Array, weights: Int32Array, rows: number, spread: Float64Array): number {
  const n = weights.length / rows;
  let [product, square] = [0, 0];
  for (let i = 0; i < weights.length; i++) {
    const weight = spread[i % n] ** -2;
    product += weight * copy[i] * weights[i];
    square += weight * weights[i] ** 2;
  }
  return product / square;
}
