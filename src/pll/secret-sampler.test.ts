import { describe, expect, it } from "vitest";
import { seededRandom } from "../../test/oracle/seeded-random.ts";
import { chiSquareZ, correlationZ, moments } from "../../test/support/statistics.ts";
import { utf8 } from "../base/bytes.ts";
import { systemRandom } from "../ring/random-source.ts";
import { SecretSampler } from "./secret-sampler.ts";

const COUNT = 200_000;

describe("uniformIntegers", () => {
  it("is uniform over [-255, 256], both ends included", () => {
    const values = new SecretSampler(systemRandom, "hint", []).uniformIntegers(COUNT, -255, 256);
    const counts = new Uint32Array(512);
    for (const value of values) counts[value + 255]++;
    expect(Math.abs(chiSquareZ(counts))).toBeLessThan(5);
    expect(Math.abs(correlationZ(values, values.subarray(1)))).toBeLessThan(5);
  });

  it("refuses an interval that is not a power of two of integers", () => {
    const sampler = new SecretSampler(systemRandom, "hint", []);
    for (const [low, high] of [
      [0, 2],
      [-255, 255],
      [0, 0],
      [5, 4],
      [0, 2 ** 17 - 1],
    ]) {
      expect(() => sampler.uniformIntegers(1, low, high)).toThrow(RangeError);
    }
  });
});

describe("gaussians", () => {
  it("have the moments of a normal distribution, neighbours uncorrelated", () => {
    const sampler = new SecretSampler(systemRandom, "hint", []);
    const values = Float64Array.from({ length: COUNT }, () => sampler.standardGaussian());
    const { mean, variance, kurtosis, max } = moments(values);
    expect(Math.abs(mean)).toBeLessThan(5 / Math.sqrt(COUNT));
    expect(Math.abs(variance - 1)).toBeLessThan(5 * Math.sqrt(2 / COUNT));
    expect(Math.abs(kurtosis - 3)).toBeLessThan(5 * Math.sqrt(24 / COUNT));
    expect(max).toBeGreaterThan(3.8);
    expect(max).toBeLessThan(7);
    for (const lag of [1, 2]) expect(Math.abs(correlationZ(values, values.subarray(lag)))).toBeLessThan(5);
  });

  it("have the normal distribution in every bin, tails included", () => {
    const sampler = new SecretSampler(systemRandom, "hint", []);
    const counts = new Uint32Array(9);
    for (let i = 0; i < COUNT; i++) {
      counts[Math.max(0, Math.min(8, Math.floor(sampler.standardGaussian() + 4.5)))]++;
    }
    // Φ(k + 1/2) − Φ(k − 1/2) for k = −4 … 4, tails in the outer bins.
    const half = [0.000232629, 0.005977036, 0.060597536, 0.241730337];
    const expected = [...half, 0.382924923, ...[...half].reverse()];
    expect(Math.abs(chiSquareZ(counts, expected))).toBeLessThan(5);
  });

  it("rounded ones have the variance σ² + 1/12", () => {
    const sampler = new SecretSampler(systemRandom, "hint", []);
    const values = Float64Array.from({ length: COUNT }, () => sampler.roundedGaussian(256));
    expect(values.every(Number.isInteger)).toBe(true);
    const { variance } = moments(values);
    expect(Math.abs(variance / (256 ** 2 + 1 / 12) - 1)).toBeLessThan(5 * Math.sqrt(2 / COUNT));
  });
});

describe("the key", () => {
  const draw = (random = seededRandom("same"), ...context: Uint8Array[]) =>
    new SecretSampler(random, "hint", context).uniformIntegers(64, -255, 256).join();

  it("depends on the fresh bytes and on every byte of the context", () => {
    expect(draw()).toBe(draw());
    const drawn = new Set([
      draw(),
      draw(seededRandom("other")),
      draw(seededRandom("same"), utf8("a")),
      draw(seededRandom("same"), utf8("b")),
      draw(seededRandom("same"), utf8("a"), utf8("b")),
      draw(systemRandom),
      draw(systemRandom),
    ]);
    expect(drawn.size).toBe(7);
  });

  it("asks for 32 fresh bytes once", () => {
    const asked: number[] = [];
    const sampler = new SecretSampler(
      (out) => {
        asked.push(out.length);
        systemRandom(out);
      },
      "hint",
      [],
    );
    sampler.uniformIntegers(100_000, 0, 255);
    expect(asked).toEqual([32]);
  });
});
