import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sampleToken } from "./sample-token.ts";
import { type TokenDraw, tokenDraw } from "./token-draw.ts";

const never: TokenDraw = {
  time() {
    throw new Error("greedy draws nothing");
  },
};

/** Frequencies of each id in many draws. */
function frequencies(logits: number[], options: Parameters<typeof sampleToken>[1], draws = 20_000): number[] {
  const counts = logits.map(() => 0);
  const array = Float32Array.from(logits);
  for (let i = 0; i < draws; i++) counts[sampleToken(array, options, tokenDraw(1, i))]++;
  return counts.map((count) => count / draws);
}

/** Five standard deviations of a frequency over 20,000 draws are at most 0.018. */
function expectClose(got: number[], want: number[]): void {
  want.forEach((value, i) => {
    if (value === 0) expect(got[i]).toBe(0);
    else expect(Math.abs(got[i] - value)).toBeLessThan(0.018);
  });
}

describe("sampleToken", () => {
  it("takes the first of the largest logits at temperature 0", () => {
    expect(sampleToken(Float32Array.of(1, 3, 2, 3), {}, never)).toBe(1);
    expect(
      sampleToken(
        Float32Array.of(-5, Number.NEGATIVE_INFINITY, -4),
        { temperature: 0, topK: 1, topP: 0.1 },
        never,
      ),
    ).toBe(2);
  });

  it("draws from softmax(logits / temperature)", () => {
    const logits = [Math.log(1), Math.log(2), Math.log(5), Number.NEGATIVE_INFINITY];
    expectClose(frequencies(logits, { temperature: 1 }), [0.125, 0.25, 0.625, 0]);
    expectClose(frequencies(logits, { temperature: 0.5 }), [1 / 30, 4 / 30, 25 / 30, 0]);
  });

  it("cuts to topK, then to topP", () => {
    const logits = [1, 4, 2, 3].map((weight) => Math.log(weight));
    expectClose(frequencies(logits, { temperature: 1, topK: 2 }), [0, 4 / 7, 0, 3 / 7]);
    expectClose(frequencies(logits, { temperature: 1, topP: 0.6 }), [0, 4 / 7, 0, 3 / 7]);
    expectClose(frequencies(logits, { temperature: 1, topP: 0.35 }), [0, 1, 0, 0]);
    // Within the two that topK leaves, the larger has 4/7.
    expectClose(frequencies(logits, { temperature: 1, topK: 2, topP: 0.55 }), [0, 1, 0, 0]);
    expectClose(frequencies(logits, { temperature: 1, topK: 9, topP: 1 }), [0.1, 0.4, 0.2, 0.3]);
  });

  it("cuts what is less likely than minP of the likeliest", () => {
    const logits = [1, 4, 2, 3].map((weight) => Math.log(weight));
    expectClose(frequencies(logits, { temperature: 1, minP: 0.45 }), [0, 4 / 9, 2 / 9, 3 / 9]);
    expectClose(frequencies(logits, { temperature: 1, minP: 0.7 }), [0, 4 / 7, 0, 3 / 7]);
    expectClose(frequencies(logits, { temperature: 1, minP: 1 }), [0, 1, 0, 0]);
    expectClose(frequencies(logits, { temperature: 1, minP: 0.45, topK: 2 }), [0, 4 / 7, 0, 3 / 7]);
    // After the temperature: at 1/2 the weights are 1, 16, 4, 9.
    expectClose(frequencies(logits, { temperature: 0.5, minP: 0.45 }), [0, 16 / 25, 0, 9 / 25]);
  });

  it("cuts alike where many small weights count", () => {
    // One weight of 1 and 4000 of 1/2000, below the bound of what is sorted first: 1/3 and 2/3 of the whole.
    const logits = Float32Array.from({ length: 4001 }, (_, id) =>
      id === 7 ? 0 : Math.log(1 / 2000) - id * 1e-6,
    );
    // Whatever else is kept comes later than the last one.
    const last: TokenDraw = { time: (id) => 10 ** -(id / 20) };
    expect(sampleToken(logits, { temperature: 1, topP: 0.33 }, last)).toBe(7);
    // Up to half of the whole: the large one and a quarter of the others, from the front.
    const half = sampleToken(logits, { temperature: 1, topP: 0.5 }, last);
    expect(Math.abs(half - 1000)).toBeLessThan(10);
    expect(sampleToken(logits, { temperature: 1, topK: 101 }, last)).toBe(100);
  });

  it("gives a token that topK and topP let through, for any logits and draw", () => {
    const logit = fc.oneof(
      fc.float({ noNaN: true, min: -100, max: 100 }),
      fc.constantFrom(Number.NEGATIVE_INFINITY, -3.4e38, 0),
    );
    const draw = fc.tuple(fc.maxSafeInteger(), fc.nat(2 ** 24));
    const options = fc.record({
      temperature: fc.double({ min: 1e-3, max: 100, noNaN: true }),
      topP: fc.double({ min: 1e-6, max: 1, noNaN: true }),
      topK: fc.nat(12),
    });
    fc.assert(
      fc.property(
        fc.array(logit, { minLength: 1, maxLength: 20 }),
        options,
        draw,
        (values, chosen, [seed, position]) => {
          const logits = Float32Array.from(values);
          fc.pre(logits.some(Number.isFinite));
          const id = sampleToken(logits, chosen, tokenDraw(seed, position));
          expect(logits[id]).toBeGreaterThan(Number.NEGATIVE_INFINITY);
          // By weight: distinct logits can have one weight, and what ties is kept.
          const best = Math.max(...logits);
          const weight = (value: number) => Math.exp((value - best) / chosen.temperature);
          const larger = logits.filter((value) => weight(value) > weight(logits[id])).length;
          if (chosen.topK > 0) expect(larger).toBeLessThan(chosen.topK);
        },
      ),
      { numRuns: process.env.SLOW ? 10_000 : 500 },
    );
  });

  it("refuses options out of range and logits that are no numbers", () => {
    const logits = Float32Array.of(1, 2);
    for (const options of [
      { temperature: -1 },
      { temperature: Number.NaN },
      { topP: 0 },
      { topP: 1.5 },
      { topK: -1 },
      { topK: 1.5 },
      { minP: -0.1 },
      { minP: 1.1 },
    ]) {
      expect(() => sampleToken(logits, options, never)).toThrow(
        expect.objectContaining({ code: "bad_argument" }),
      );
    }
    for (const bad of [[1, Number.NaN], [Number.NEGATIVE_INFINITY], [Number.POSITIVE_INFINITY], []]) {
      expect(() => sampleToken(Float32Array.from(bad), {}, never)).toThrow(
        expect.objectContaining({ code: "bad_checkpoint" }),
      );
    }
  });
});

describe("two distributions that are close", () => {
  /** Σ|p − q|/2 */
  const distance = (p: number[], q: number[]) =>
    p.reduce((sum, value, i) => sum + Math.abs(value - q[i]), 0) / 2;
  const softmax = (logits: number[]) => {
    const weights = logits.map(Math.exp);
    const sum = weights.reduce((a, b) => a + b);
    return weights.map((weight) => weight / sum);
  };

  it("have the same token drawn from them as often as is promised", () => {
    const one = Array.from({ length: 50 }, (_, id) => Math.sin(id) * 2);
    const other = one.map((logit, id) => logit + Math.cos(3 * id) / 3);
    const d = distance(softmax(one), softmax(other));
    const draws = 20_000;
    let same = 0;
    for (let position = 0; position < draws; position++) {
      const [a, b] = [one, other].map((logits) =>
        sampleToken(Float32Array.from(logits), { temperature: 1 }, tokenDraw(9, position)),
      );
      if (a === b) same++;
    }
    expect(d).toBeGreaterThan(0.05);
    expect(same / draws).toBeGreaterThan(1 - (2 * d) / (1 + d) - 0.018);
  });
});
