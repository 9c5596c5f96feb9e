import { describe, expect, it } from "vitest";
import { gaussians, uniformIntegers } from "../random-numbers.ts";
import { seededSource } from "../seeded-adapter.ts";
import { closestRest } from "./closest-vector.ts";
import { lllReduce } from "./lll.ts";
import { coefficientOf, makePacking, packingShape, unpackBlock } from "./packing.ts";

const random = seededSource(9);

/** A q-ary basis with a planted short vector, as rows. */
function plantedBasis(dimension: number, short: Int32Array): Float64Array[] {
  const q = 2 ** 32;
  const half = dimension >> 1;
  const basis: Float64Array[] = [];
  for (let i = 0; i < half; i++) {
    const row = new Float64Array(dimension);
    row[i] = q;
    basis.push(row);
  }
  for (let i = half; i < dimension; i++) {
    const row = new Float64Array(dimension);
    for (let j = 0; j < half; j++) row[j] = uniformIntegers(random, 1, 0, 2 ** 31)[0];
    row[i] = 1;
    basis.push(row);
  }
  // The last row makes `short` a combination of all: coefficients short_i for i ≥ half, its own being 1.
  const last = basis[dimension - 1];
  for (let j = 0; j < half; j++) {
    let sum = BigInt(short[j]);
    for (let i = half; i < dimension - 1; i++) sum -= BigInt(short[i]) * BigInt(basis[i][j]);
    last[j] = Number(((sum % BigInt(q)) + BigInt(q)) % BigInt(q));
  }
  return basis;
}

describe("LLL", () => {
  it("keeps its inequalities and finds a planted short vector", () => {
    const d = 40;
    const short = uniformIntegers(random, d, -100, 100);
    short[d - 1] = 1;
    const basis = plantedBasis(d, short);
    const { mu, norms } = lllReduce(basis);
    for (let i = 1; i < d; i++) {
      for (let j = 0; j < i; j++) expect(Math.abs(mu[i][j])).toBeLessThan(0.52);
      expect(norms[i] + mu[i][i - 1] ** 2 * norms[i - 1]).toBeGreaterThan(0.98 * norms[i - 1]);
    }
    const sign = Math.sign(basis[0][d - 1]) || 1;
    expect(Array.from(basis[0], (value) => sign * value)).toEqual(Array.from(short));
  });

  it("keeps the lattice: the determinant stays", () => {
    const basis = [Float64Array.of(4, 1, 3), Float64Array.of(2, 7, 1), Float64Array.of(9, 8, 2)];
    const { norms } = lllReduce(basis);
    expect(Math.sqrt(norms[0] * norms[1] * norms[2])).toBeCloseTo(
      Math.abs(4 * (14 - 8) - (4 - 9) + 3 * (16 - 63)),
      6,
    );
  });
});

describe("closest vector", () => {
  it("is the nearest of all neighbours", () => {
    const basis = [Float64Array.of(7, 2), Float64Array.of(3, 8)];
    const gramSchmidt = lllReduce(basis);
    for (const [a, b] of [
      [0.4, 9.1],
      [-13.2, 4.4],
      [100.5, -7.3],
    ]) {
      const rest = closestRest(basis, gramSchmidt, Float64Array.of(a, b));
      let best = Number.POSITIVE_INFINITY;
      for (let i = -40; i <= 40; i++) {
        for (let j = -40; j <= 40; j++)
          best = Math.min(best, Math.hypot(a - 7 * i - 3 * j, b - 2 * i - 8 * j));
      }
      expect(Math.hypot(...rest)).toBeCloseTo(best, 9);
    }
  });
});

describe("packing", () => {
  it.each([
    [456, 16],
    [147.8, 16],
    [228, 15],
  ])("entries of width %d come back from replies of %i bits", (stddev, bits) => {
    const entropy = Math.log2(stddev * Math.sqrt(2 * Math.PI * Math.E));
    const packing = makePacking(entropy, bits, random);
    const { unknowns, replies } = packingShape(entropy, bits);
    expect(packing).toMatchObject({ unknowns, replies });
    let right = 0;
    for (let block = 0; block < 5; block++) {
      const z = gaussians(random, unknowns).map((value) => Math.round(stddev * value));
      const words = Array.from({ length: replies }, (_, i) => {
        const sum = z.reduce((total, value, j) => total + coefficientOf(packing, i, j) * value, 0);
        return ((sum % 2 ** bits) + 2 ** bits) % 2 ** bits;
      });
      if (unpackBlock(packing, words).every((value, j) => value === z[j])) right++;
    }
    expect(right).toBeGreaterThanOrEqual(3);
  });
});
