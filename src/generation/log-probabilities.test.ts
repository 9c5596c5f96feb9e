import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { logProbabilities } from "./log-probabilities.ts";

describe("logProbabilities", () => {
  it("is the logarithm of softmax", () => {
    const { logprob, top } = logProbabilities(Float32Array.from([1, 2, 5].map(Math.log)), 1, 2);
    expect(Math.exp(logprob)).toBeCloseTo(2 / 8, 6);
    expect(top.map(({ id }) => id)).toEqual([2, 1]);
    expect(Math.exp(top[0].logprob)).toBeCloseTo(5 / 8, 6);
  });

  it("does not overflow, and gives impossible tokens minus infinity", () => {
    const logits = Float32Array.of(1e30, -1e30, Number.NEGATIVE_INFINITY);
    expect(logProbabilities(logits, 0, 0)).toEqual({ id: 0, logprob: 0, top: [] });
    expect(logProbabilities(logits, 2, 0).logprob).toBe(Number.NEGATIVE_INFINITY);
  });

  it("gives the likeliest, falling, the smaller id first among equals", () => {
    const logits = fc.array(fc.integer({ min: -3, max: 3 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(logits, fc.nat(14), (values, most) => {
        const { top } = logProbabilities(Float32Array.from(values), 0, most);
        const want = [...values.keys()].sort((a, b) => values[b] - values[a] || a - b).slice(0, most);
        expect(top.map(({ id }) => id)).toEqual(want);
        const all = logProbabilities(Float32Array.from(values), 0, values.length).top;
        expect(all.reduce((sum, { logprob }) => sum + Math.exp(logprob), 0)).toBeCloseTo(1, 6);
      }),
    );
  });
});
