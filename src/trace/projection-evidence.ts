/**
 * Evidence of a copy that was made from too few ordinary answers: the least that explains them, c_s = P·(w_s + d_s) with P
 * the projection onto the inputs that were asked. Entry by entry it is far from W. But P need not be known: any direction
 * u that the copy's rows span is in its range, so
 *
 *   ⟨u, c_s − w_s⟩ = ⟨u, d_s⟩
 *
 * for each row s, and R rows give R² such numbers. That is all that such a copy says of D.
 */

import { euclideanNorm } from "../pll/orthogonal.ts";

/** Beyond, in standard deviations, a number is no mark. */
const LARGEST = 3;
/** Numbers that are this much larger than marks would make them, root-mean-square: it is another kind of copy. */
const STRANGE = 3;

/**
 * What is added to y of {@link evidenceOf}: with z_ks = ⟨u_k, c_s/g − w_s − E d_s⟩ by its standard deviation over accounts,
 *
 *   y_sj = Σ_k z_ks·u_kj·2δ√(p_sj(1 − p_sj)) by the same
 *
 * @param copy of a group in units of W, (rows, n) @param odds of 16 @param amplitude δ
 */
export function projectionEvidence(
  copy: Float64Array,
  weights: Int32Array,
  odds: Uint8Array,
  rows: number,
  amplitude: number,
): Float32Array {
  const n = weights.length / rows;
  const y = new Float32Array(weights.length);
  const directions = orthonormal(copy, rows, n);
  if (directions.length === 0) return y;
  const gain = gainOf(copy, weights, rows, directions);
  if (!(Math.abs(gain) > 1e-6)) return y;
  const deviation = Float64Array.from(odds, (of) => 2 * amplitude * Math.sqrt((of / 16) * (1 - of / 16)));
  const found: {
    readonly u: Float64Array;
    readonly s: number;
    readonly z: number;
    readonly spread: number;
  }[] = [];
  for (const u of directions) {
    for (let s = 0; s < rows; s++) {
      let [off, square] = [0, 0];
      for (let j = 0; j < n; j++) {
        const i = s * n + j;
        off += u[j] * (copy[i] / gain - weights[i] - amplitude * (odds[i] / 8 - 1));
        square += (u[j] * deviation[i]) ** 2;
      }
      const spread = Math.sqrt(square);
      found.push({ u, s, z: off / spread, spread });
    }
  }
  const typical = Math.sqrt(found.reduce((sum, { z }) => sum + z * z, 0) / found.length);
  if (!(typical < STRANGE)) return y;
  for (const { u, s, z, spread } of found) {
    const factor = Math.max(-LARGEST, Math.min(LARGEST, z)) / spread;
    for (let j = 0; j < n; j++) y[s * n + j] += factor * u[j] * deviation[s * n + j];
  }
  return y;
}

/** g of c/g: the directions' share of W and of the copy are alike. */
function gainOf(
  copy: Float64Array,
  weights: Int32Array,
  rows: number,
  directions: readonly Float64Array[],
): number {
  const n = weights.length / rows;
  let [product, square] = [0, 0];
  for (const u of directions) {
    for (let s = 0; s < rows; s++) {
      let [ofCopy, ofWeights] = [0, 0];
      for (let j = 0; j < n; j++) {
        ofCopy += u[j] * copy[s * n + j];
        ofWeights += u[j] * weights[s * n + j];
      }
      product += ofCopy * ofWeights;
      square += ofWeights ** 2;
    }
  }
  return product / square;
}

/** An orthonormal basis of the rows' span; what is nearly in that of the others is left out. */
function orthonormal(values: Float64Array, rows: number, n: number): Float64Array[] {
  const basis: Float64Array[] = [];
  for (let r = 0; r < rows; r++) {
    const row = values.slice(r * n, (r + 1) * n);
    const before = euclideanNorm(row);
    // Twice, so that rounding does not matter.
    for (const u of [...basis, ...basis]) {
      let along = 0;
      for (let j = 0; j < n; j++) along += u[j] * row[j];
      for (let j = 0; j < n; j++) row[j] -= along * u[j];
    }
    const length = euclideanNorm(row);
    if (!(length > 1e-6 * before)) continue;
    basis.push(row.map((value) => value / length));
  }
  return basis;
}
