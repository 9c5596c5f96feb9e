/**
 * From the rows that a reply gives to each module's delta: delta_i = B′_i·y_i (public basis), or y_i itself
 * (sealed). y (tokens, rows) row-major, the modules' rows one after another; delta_i (tokens, outFeatures).
 */
import type { BundleModule } from "../bundle/manifest.ts";
import type { PublicBasis } from "../pll/public-basis.ts";

/** @param bases one for each module, or none when sealed */
export function applyBasis(
  modules: readonly BundleModule[],
  bases: readonly PublicBasis[],
  y: Float32Array,
  tokens: number,
  rows: number,
): Float32Array[] {
  let first = 0;
  try {
    return modules.map(({ outFeatures, rows: count }, i) => {
      const offset = first;
      first += count;
      const delta = new Float32Array(tokens * outFeatures);
      for (let t = 0; t < tokens; t++) {
        const part = y.subarray(t * rows + offset, t * rows + offset + count);
        const out = delta.subarray(t * outFeatures, (t + 1) * outFeatures);
        if (bases.length === 0) out.set(part);
        else bases[i].apply(part, out);
      }
      return delta;
    });
  } finally {
    for (const basis of bases) basis.wipe();
  }
}
