import { describe, expect, it } from "vitest";
import { afterQueries, layerFunctionQueries, weightStddevOf } from "./extraction.ts";
import { DEFAULT_PARAMETERS as p } from "./parameters.ts";

describe("after queries", () => {
  it("is docs/parameters.md's table at half of Q_func and at Q_func", () => {
    for (const [n, stddev, known, half, all] of [
      [256, 456, 186, 1125, 970],
      [896, 456, 609, 1378, 848],
      [4096, 228, 2698, 2981, 933],
    ]) {
      expect(Math.round(layerFunctionQueries(p, n, stddev))).toBe(known);
      expect(afterQueries(p, n, stddev, Math.round(known / 2)).dimension).toBe(half);
      expect(afterQueries(p, n, stddev, known).dimension).toBe(all);
    }
  });

  it("never gets harder with more queries, and never below nothing", () => {
    let before = Number.POSITIVE_INFINITY;
    for (let queries = 0; queries < 4000; queries += 250) {
      const { dimension, estimate } = afterQueries(p, 896, 456, queries);
      expect(dimension).toBeGreaterThanOrEqual(0);
      expect(estimate.coreBits).toBeLessThanOrEqual(before);
      before = estimate.coreBits;
    }
  });
});

describe("weightStddevOf", () => {
  it("is the typical width of a row under the published bound", () => {
    const bound = 1.06 * 2 ** (1 / 8) * 456 * Math.sqrt(896);
    expect(weightStddevOf(bound, 896)).toBeCloseTo(456, 6);
    expect(weightStddevOf(1, 1 << 20)).toBe(0.5);
  });
});
