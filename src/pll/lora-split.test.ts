import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../test/oracle/seeded-random.ts";
import { gaussianSource } from "../../test/support/pll-layer.ts";
import { chiSquareZ, correlationZ, moments } from "../../test/support/statistics.ts";
import { systemRandom } from "../ring/random-source.ts";
import { type LoraPair, mergeLora, RotationSampler, splitLora } from "./lora-split.ts";
import { haarOrthogonal, multiply, transpose } from "./orthogonal.ts";

function randomPair(rank: number, inFeatures: number, outFeatures: number, seed: number): LoraPair {
  const gaussian = gaussianSource(seed);
  const a = Float32Array.from({ length: rank * inFeatures }, gaussian);
  const b = Float32Array.from({ length: outFeatures * rank }, gaussian);
  return { rank, inFeatures, outFeatures, a, b, scale: 1.75 };
}

/** Largest |difference| over the largest |entry| of `want`. */
function relativeError(got: Float64Array, want: Float64Array): number {
  const size = want.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-300);
  return got.reduce((most, value, i) => Math.max(most, Math.abs(value - want[i])), 0) / size;
}

/** Largest entry of |QᵀQ − I|, Q (m, k). */
function orthonormalError(q: Float64Array, m: number, k: number): number {
  const gram = multiply(transpose(q, m, k), q, k, m, k);
  return gram.reduce((most, value, i) => Math.max(most, Math.abs(value - (i % (k + 1) === 0 ? 1 : 0))), 0);
}

function expectSplit(pair: LoraPair): void {
  const split = splitLora(pair, systemRandom);
  const { outFeatures, inFeatures } = pair;
  expect(split.rows).toBe(Math.min(pair.rank, outFeatures));
  expect(split.publicBasis).toHaveLength(outFeatures * split.rows);
  expect(split.private).toHaveLength(split.rows * inFeatures);
  expect(orthonormalError(split.publicBasis, outFeatures, split.rows)).toBeLessThan(1e-12);
  const product = multiply(split.publicBasis, split.private, outFeatures, split.rows, inFeatures);
  expect(relativeError(product, mergeLora(pair))).toBeLessThan(1e-10);
}

describe("splitLora", () => {
  it("B'·A' = scale·B·A with B' orthonormal, for any shape (property)", () => {
    const size = fc.integer({ min: 1, max: 40 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), size, size, fc.integer(), (rank, n, m, seed) =>
        expectSplit(randomPair(rank, n, m, seed)),
      ),
      { numRuns: process.env.SLOW === "1" ? 500 : 40 },
    );
  });

  it("takes a rank above the output's size: as many rows as outputs", () => {
    expectSplit(randomPair(16, 20, 5, 1));
  });

  it("takes a rank-deficient B: columns that repeat, or are zero", () => {
    const pair = randomPair(6, 20, 30, 2);
    for (let i = 0; i < 30; i++) {
      pair.b[6 * i + 1] = pair.b[6 * i];
      pair.b[6 * i + 4] = 0;
    }
    expectSplit(pair);
  });

  it("takes B = 0, as a LoRA is before training: A' is zero, B' still a basis", () => {
    const pair = { ...randomPair(4, 10, 12, 3), b: new Float32Array(48) };
    expectSplit(pair);
    expect(splitLora(pair, systemRandom).private.every((value) => value === 0)).toBe(true);
  });

  it("takes huge and tiny weights", () => {
    for (const factor of [1e-18, 1e18]) {
      const pair = randomPair(4, 10, 12, 4);
      expectSplit({ ...pair, b: pair.b.map((value) => value * factor) });
    }
  });

  it("rotates afresh each time: another B' and A' for the same module", () => {
    const pair = randomPair(4, 10, 12, 5);
    const [first, second] = [splitLora(pair, systemRandom), splitLora(pair, systemRandom)];
    expect(relativeError(first.publicBasis, second.publicBasis)).toBeGreaterThan(0.01);
    expect(relativeError(first.private, second.private)).toBeGreaterThan(0.01);
    const seeded = () => splitLora(pair, seededRandom("split")).publicBasis;
    expect(seeded()).toEqual(seeded());
  });

  it("B' depends on the column space of B alone: any other basis of it gives the same distribution", () => {
    // E[B'] = 0 and the projector B'·B'ᵀ is that of B's columns, whatever the rotation and A are.
    const pair = randomPair(3, 8, 9, 6);
    const projector = (basis: Float64Array) => multiply(basis, transpose(basis, 9, 3), 9, 3, 9);
    const mixed = multiply(pair.b, [2, 1, 0, 0, 3, -1, 1, 0, 1], 9, 3, 3);
    const want = projector(splitLora(pair, systemRandom).publicBasis);
    const other = { ...pair, b: Float32Array.from(mixed), a: pair.a.map((value) => value * 3) };
    expect(relativeError(projector(splitLora(other, systemRandom).publicBasis), want)).toBeLessThan(1e-5);
    const rounds = 500;
    const sum = new Float64Array(27);
    for (let i = 0; i < rounds; i++) {
      for (const [j, value] of splitLora(pair, systemRandom).publicBasis.entries()) sum[j] += value;
    }
    // Each entry has variance ≤ 1/3, so a mean has standard deviation ≤ 0.026.
    expect(Math.max(...sum.map((value) => Math.abs(value / rounds)))).toBeLessThan(6 * 0.026);
  });
});

describe("haarOrthogonal", () => {
  it("has entries of mean 0, variance 1/k and the kurtosis of a sphere, both determinants", () => {
    const k = 3;
    const gaussian = gaussianSource(7);
    const entries: number[] = [];
    let positive = 0;
    const rounds = 4000;
    for (let i = 0; i < rounds; i++) {
      const q = haarOrthogonal(k, gaussian);
      entries.push(...q);
      const [a, b, c, d, e, f, g, h, l] = q;
      if (a * (e * l - f * h) - b * (d * l - f * g) + c * (d * h - e * g) > 0) positive++;
    }
    const { mean, variance, kurtosis } = moments(entries);
    expect(Math.abs(mean)).toBeLessThan(0.02);
    expect(variance).toBeCloseTo(1 / k, 2);
    // An entry of a uniform point of the sphere in R^k has kurtosis 3k/(k + 2).
    expect(kurtosis).toBeCloseTo((3 * k) / (k + 2), 1);
    expect(Math.abs(positive / rounds - 0.5)).toBeLessThan(0.05);
  });
});

describe("mergeLora", () => {
  it("is scale·B·A", () => {
    const pair = { rank: 1, inFeatures: 2, outFeatures: 2, scale: 0.5 };
    const merged = mergeLora({ ...pair, a: Float32Array.of(1, -2), b: Float32Array.of(4, 6) });
    expect([...merged]).toEqual([2, -4, 3, -6]);
  });
});

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
