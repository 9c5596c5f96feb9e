import { describe, expect, it } from "vitest";
import { cholesky, gram, orthonormalize, PrefixRegression, principalDirections } from "./linear-algebra.ts";
import { gaussians } from "./random-numbers.ts";
import { seededSource } from "./seeded-adapter.ts";

const random = seededSource(21);

describe("cholesky", () => {
  it("L·Lᵀ is the matrix and its diagonal", () => {
    const [count, n] = [37, 50];
    const x = gaussians(random, count * n);
    const g = gram(x, count, n);
    const l = g.slice();
    cholesky(l, count, 0.5);
    for (let i = 0; i < count; i++) {
      for (let j = 0; j <= i; j++) {
        let sum = 0;
        for (let k = 0; k <= j; k++) sum += l[i * count + k] * l[j * count + k];
        expect(sum).toBeCloseTo(g[i * count + j] + (i === j ? 0.5 : 0), 9);
      }
    }
    expect(() => cholesky(Float64Array.of(-1), 1, 0)).toThrow(RangeError);
  });
});

describe("prefix regression", () => {
  it("finds W from enough samples, and the least-norm W from fewer", () => {
    const [n, rows, count] = [20, 2, 40];
    const w = gaussians(random, rows * n);
    const x = gaussians(random, count * n);
    const y = new Float64Array(count * rows);
    for (let t = 0; t < count; t++) {
      for (let r = 0; r < rows; r++) {
        for (let j = 0; j < n; j++) y[t * rows + r] += w[r * n + j] * x[t * n + j];
      }
    }
    const regression = new PrefixRegression(x, count, n, 1e-9);
    for (const [i, value] of regression.solve(y, rows, count).entries()) expect(value).toBeCloseTo(w[i], 5);
    const few = regression.solve(y, rows, 5);
    let product = 0;
    for (let j = 0; j < n; j++) product += few[j] * x[2 * n + j];
    expect(product).toBeCloseTo(y[2 * rows], 5); // it explains what it has seen
    expect(Math.hypot(...few)).toBeLessThan(Math.hypot(...w));
  });
});

describe("principal directions", () => {
  it("are orthonormal and lie along the largest spread", () => {
    const [count, n] = [200, 12];
    const x = gaussians(random, count * n).map((value, i) => value / (1 + (i % n)) ** 2);
    const directions = principalDirections(x, count, n, 3, gaussians(random, 3 * n), 20);
    for (let d = 0; d < 3; d++) expect(Math.abs(directions[d * n + d])).toBeGreaterThan(0.95);
    const copy = directions.slice();
    orthonormalize(copy, 3, n);
    for (const [i, value] of copy.entries()) expect(value).toBeCloseTo(directions[i], 9);
  });
});
