/** The private linear layer in a browser, with the precision that it has in Node. */
import { describe, expect, it } from "vitest";
import { predictedRelativeError } from "../../../src/pll/noise.ts";
import { evaluate, exactProduct, gaussianSource, makeLayer } from "../../support/pll-layer.ts";

describe("private linear layer in the browser", () => {
  it.each([
    [256, 8, 16],
    [896, 16, 3],
    [4096, 8, 8],
  ])("n = %i, R = %i, %i vectors", (n, rows, vectors) => {
    const gaussian = gaussianSource(n);
    const real = Float64Array.from({ length: rows * n }, gaussian);
    const layer = makeLayer(real, rows, n);
    const x = Float32Array.from({ length: vectors * n }, gaussian);
    const exact = exactProduct(real, x, rows, n, vectors);
    const y = evaluate(layer, x, vectors);
    const error = y.reduce((sum, value, i) => sum + (value - exact[i]) ** 2, 0);
    const size = exact.reduce((sum, value) => sum + value ** 2, 0);
    // How large they are by chance varies, and their errors: more results vary less.
    const predicted = Math.log2(predictedRelativeError(layer.parameters, n));
    expect(Math.log2(error / size) / 2).toBeLessThan(predicted + 1.2);
  });
});
