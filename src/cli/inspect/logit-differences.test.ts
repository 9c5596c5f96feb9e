import { describe, expect, it } from "vitest";
import { LogitComparison } from "./logit-differences.ts";

describe("LogitComparison", () => {
  it("finds nothing between logits that differ by a constant", () => {
    const comparison = new LogitComparison();
    comparison.add(Float32Array.of(0, 1, 2), Float32Array.of(4, 5, 6), 2);
    const { relativeRms, kl, largestKl, sameLikeliest, perplexity, perplexityOfOther } =
      comparison.differences;
    for (const zero of [relativeRms, kl, largestKl]) expect(zero).toBeCloseTo(0, 12);
    expect(sameLikeliest).toBe(1);
    expect(perplexity).toBeCloseTo((1 + Math.exp(-1) + Math.exp(-2)) ** 1, 6);
    expect(perplexityOfOther).toBeCloseTo(perplexity, 10);
  });

  it("is what the definitions say, worked by hand", () => {
    const comparison = new LogitComparison();
    // p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4); then both are (1/3, 2/3, 0…).
    comparison.add(Float32Array.of(Math.log(2), 0, 0), Float32Array.of(0, Math.log(2), 0), 0);
    comparison.add(Float32Array.of(0, Math.log(2), -80), Float32Array.of(0, Math.log(2), -80), 1);
    const found = comparison.differences;
    expect(found).toMatchObject({ positions: 2, sameLikeliest: 1 });
    const first = Math.LN2 / 4;
    expect(found.largestKl).toBeCloseTo(first, 6);
    expect(found.kl).toBeCloseTo(first / 2, 6);
    expect(found.perplexity).toBeCloseTo(Math.sqrt(2 * (3 / 2)), 6);
    expect(found.perplexityOfOther).toBeCloseTo(Math.sqrt(4 * (3 / 2)), 6);
    const spread = (values: number[]) => {
      const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
      return values.reduce((sum, v) => sum + (v - mean) ** 2, 0);
    };
    const total = spread([Math.LN2, 0, 0]) + spread([0, Math.LN2, -80]);
    expect(found.relativeRms).toBeCloseTo(Math.sqrt((2 * Math.LN2 ** 2) / total), 6);
  });

  it("bears logits of any size", () => {
    const comparison = new LogitComparison();
    comparison.add(Float32Array.of(1e30, -1e30), Float32Array.of(1e4, -1e4), 0);
    expect(Number.isFinite(comparison.differences.kl)).toBe(true);
  });
});
