/** Measured noise against predicted noise, and the precision that docs/parameters.md promises, with the real code. */
import { describe, expect, it } from "vitest";
import { evaluate, exactProduct, gaussianSource, makeLayer } from "../../test/support/pll-layer.ts";
import { predictedNoiseStddev } from "./noise.ts";

const ROWS = 8;
const VECTORS = 96;
/** log2 of the relative error of the result: docs/parameters.md §Precision, and 0.3 bit of tolerance. */
const TARGETS: [number, number][] = [
  [256, -8.4],
  [896, -8.4],
  [2048, -8.4],
  [4096, -8.4],
  [13696, -7.9],
];

describe.each(TARGETS)("n = %i", (n, target) => {
  const gaussian = gaussianSource(n);
  const real = Float64Array.from({ length: ROWS * n }, gaussian);
  const layer = makeLayer(real, ROWS, n);
  const x = Float32Array.from({ length: VECTORS * n }, gaussian);
  const y = evaluate(layer, x, VECTORS);

  it("noise is as predicted", () => {
    // Noise alone: against the quantised weights, in integer units of each vector's own scale.
    const { integers, scales, normBound } = layer.quantized;
    const exact = exactProduct(integers, x, ROWS, n, VECTORS);
    let measured = 0;
    let predicted = 0;
    for (let t = 0; t < VECTORS; t++) {
      const norm = Math.hypot(...x.subarray(t * n, (t + 1) * n));
      const scale = 2 ** 31 / (1.02 * normBound * norm);
      for (let r = 0; r < ROWS; r++) {
        const i = t * ROWS + r;
        measured += ((y[i] / scales[r] - exact[i]) * scale) ** 2;
        const rowNorm = Math.hypot(...integers.subarray(r * n, (r + 1) * n));
        predicted += predictedNoiseStddev(layer.parameters, rowNorm, n) ** 2;
      }
    }
    const [m, p] = [measured, predicted].map((sum) => Math.log2(sum / (VECTORS * ROWS)) / 2);
    console.log(`n = ${n}: noise of u measured 2^${m.toFixed(2)}, predicted 2^${p.toFixed(2)}`);
    // 768 samples: the standard deviation of the estimate is 0.04 bit.
    expect(Math.abs(m - p)).toBeLessThan(0.2);
  });

  it("relative error is within 0.3 bit of the design", () => {
    const exact = exactProduct(real, x, ROWS, n, VECTORS);
    const error = y.reduce((sum, value, i) => sum + (value - exact[i]) ** 2, 0);
    const size = exact.reduce((sum, value) => sum + value ** 2, 0);
    const log = Math.log2(error / size) / 2;
    console.log(`n = ${n}: relative error 2^${log.toFixed(2)}, design 2^${target}`);
    expect(log).toBeLessThan(target + 0.3);
  });
});
