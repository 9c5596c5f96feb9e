import { describe, expect, it } from "vitest";
import { uniformIntegers } from "../random-numbers.ts";
import { seededSource } from "../seeded-adapter.ts";
import { lllReduce } from "./lll.ts";

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
