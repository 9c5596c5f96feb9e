import { describe, expect, it } from "vitest";
import { tokenDraw } from "./token-draw.ts";

const NO_BOUND = Number.POSITIVE_INFINITY;
const timeOf = (seed: number, position: number, id: number): number =>
  tokenDraw(seed, position).time(id, NO_BOUND);

/** Largest distance between the distribution of samples and that of an exponential of mean 1 (Kolmogorov, Smirnov). */
function distanceFromExponential(samples: number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted.reduce((most, value, i) => {
    const expected = 1 - Math.exp(-value);
    return Math.max(
      most,
      Math.abs(expected - i / sorted.length),
      Math.abs(expected - (i + 1) / sorted.length),
    );
  }, 0);
}

describe("tokenDraw", () => {
  it("depends on seed, position and token alone", () => {
    expect(timeOf(42, 7, 3)).toBe(timeOf(42, 7, 3));
    const others = [timeOf(43, 7, 3), timeOf(42, 8, 3), timeOf(42, 7, 4), timeOf(42 + 2 ** 32, 7, 3)];
    expect(new Set([timeOf(42, 7, 3), ...others]).size).toBe(5);
    expect(timeOf(-1, 0, 0)).not.toBe(timeOf(1, 0, 0));
  });

  it.each([
    ["tokens", (i: number) => timeOf(1, 5, i)],
    ["positions", (i: number) => timeOf(1, i, 5)],
    ["seeds", (i: number) => timeOf(i, 5, 5)],
  ])("is exponential over %s, and neighbours do not go together", (_, at) => {
    const count = 20_000;
    const times = Array.from({ length: count }, (_, i) => at(i));
    // 1.95/sqrt(n): exceeded once in a thousand such sequences; these are always the same.
    expect(distanceFromExponential(times)).toBeLessThan(1.95 / Math.sqrt(count));
    const products = times.slice(1).map((time, i) => (time - 1) * (times[i] - 1));
    const correlation = products.reduce((sum, product) => sum + product, 0) / products.length;
    expect(Math.abs(correlation)).toBeLessThan(5 / Math.sqrt(count));
  });

  it("gives Infinity for what is above a bound only", () => {
    for (let id = 0; id < 2000; id++) {
      const time = timeOf(3, 9, id);
      for (const bound of [0, 0.1, 1, 3]) {
        const bounded = tokenDraw(3, 9).time(id, bound);
        if (time <= bound) expect(bounded).toBe(time);
        else expect([time, NO_BOUND]).toContain(bounded);
      }
    }
  });

  it("refuses a seed that is no integer of 53 bits", () => {
    for (const seed of [0.5, Number.NaN, 2 ** 53])
      expect(() => tokenDraw(seed, 0)).toThrow(expect.objectContaining({ code: "bad_argument" }));
  });
});
