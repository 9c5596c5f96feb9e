/**
 * From the rows that a reply gives to each module's delta: delta_i = B′_i·y_i (public basis), or y_i itself
 * (sealed). y (tokens, rows) row-major, the modules' rows one after another; delta_i (tokens, outFeatures).
 */
import type { BundleModule } from "../bundle/manifest.ts";

export function applyBasis(
  modules: readonly BundleModule[],
  bases: readonly Float32Array[],
  y: Float32Array,
  tokens: number,
  rows: number,
): Float32Array[] {
  let first = 0;
  return modules.map(({ outFeatures, rows: count }, i) => {
    const offset = first;
    first += count;
    const delta = new Float32Array(tokens * outFeatures);
    for (let t = 0; t < tokens; t++) {
      const part = y.subarray(t * rows + offset, t * rows + offset + count);
      const out = delta.subarray(t * outFeatures, (t + 1) * outFeatures);
      if (bases.length === 0) out.set(part);
      else multiplyBasis(bases[i], part, out);
    }
    return delta;
  });
}

/** out = B′·y, sums in float64; an entry that is not finite becomes 0 (HINTED-PLL-REVIEW.md D6). */
function multiplyBasis(basis: Float32Array, y: Float32Array, out: Float32Array): void {
  const count = y.length;
  for (let m = 0, k = 0; m < out.length; m++) {
    let sum = 0;
    for (let r = 0; r < count; r++) sum += basis[k++] * y[r];
    const value = Math.fround(sum);
    out[m] = Number.isFinite(value) ? value : 0;
  }
}
