import { describe, expect, it } from "vitest";
import { seededRandom } from "../../test/oracle/seeded-random.ts";
import { chiSquareZ, correlationZ, moments } from "../../test/support/statistics.ts";
import { systemRandom } from "../ring/random-source.ts";
import { RotationSampler } from "./rotation-sampler.ts";

const COUNT = 200_000;

describe("standard normal numbers", () => {
  it("have the moments of a normal distribution, neighbours uncorrelated", () => {
    const sampler = new RotationSampler(systemRandom);
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
    const sampler = new RotationSampler(systemRandom);
    const counts = new Uint32Array(9);
    for (let i = 0; i < COUNT; i++) {
      counts[Math.max(0, Math.min(8, Math.floor(sampler.standardGaussian() + 4.5)))]++;
    }
    // Φ(k + 1/2) − Φ(k − 1/2) for k = −4 … 4, tails in the outer bins.
    const half = [0.000232629, 0.005977036, 0.060597536, 0.241730337];
    const expected = [...half, 0.382924923, ...[...half].reverse()];
    expect(Math.abs(chiSquareZ(counts, expected))).toBeLessThan(5);
  });
});

describe("the key", () => {
  const draw = (random = seededRandom("same")) => {
    const sampler = new RotationSampler(random);
    return Array.from({ length: 16 }, () => sampler.standardGaussian()).join();
  };

  it("depends on the fresh bytes", () => {
    expect(draw()).toBe(draw());
    const drawn = new Set([draw(), draw(seededRandom("other")), draw(systemRandom), draw(systemRandom)]);
    expect(drawn.size).toBe(4);
  });

  it("asks for 32 fresh bytes once", () => {
    const asked: number[] = [];
    const sampler = new RotationSampler((out) => {
      asked.push(out.length);
      systemRandom(out);
    });
    for (let i = 0; i < 50_000; i++) sampler.standardGaussian();
    expect(asked).toEqual([32]);
  });

  it("is gone after a wipe: what follows no longer depends on it", () => {
    const samplers = ["one", "another"].map((name) => new RotationSampler(seededRandom(name)));
    const after = samplers.map((sampler) => {
      sampler.standardGaussian();
      sampler.wipe();
      return Array.from({ length: 20_000 }, () => sampler.standardGaussian()).slice(-8);
    });
    expect(after[0]).toEqual(after[1]);
  });
});
