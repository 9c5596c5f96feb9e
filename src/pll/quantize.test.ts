import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gaussianSource } from "../../test/support/pll-layer.ts";
import { quantizeRows, roundUpToGrid } from "./quantize.ts";

const numRuns = process.env.SLOW === "1" ? 2000 : 100;
const anyMagnitude = fc.double({ min: -60, max: 60, noNaN: true }).map((exponent) => 2 ** exponent);

describe("roundUpToGrid", () => {
  it("gives the least 2^(k/16) that is not smaller (property)", () => {
    fc.assert(
      fc.property(anyMagnitude, (value) => {
        const up = roundUpToGrid(value);
        const k = Math.round(16 * Math.log2(up));
        expect(up).toBe(2 ** (k / 16));
        expect(up).toBeGreaterThanOrEqual(value);
        expect(2 ** ((k - 1) / 16)).toBeLessThan(value);
      }),
      { numRuns },
    );
  });

  it("is monotone, also beside grid points (property)", () => {
    fc.assert(
      fc.property(anyMagnitude, fc.integer({ min: -800, max: 800 }), (value, k) => {
        expect(roundUpToGrid(value)).toBeLessThanOrEqual(roundUpToGrid(value * 1.001));
        const point = 2 ** (k / 16);
        const ulp = point * 2 ** -52;
        expect(roundUpToGrid(point)).toBe(point);
        expect(roundUpToGrid(point - ulp)).toBe(point);
        expect(roundUpToGrid(point + ulp)).toBe(2 ** ((k + 1) / 16));
      }),
      { numRuns },
    );
  });
});

const R = 2 ** 19;

describe("quantizeRows", () => {
  const norms = (values: ArrayLike<number>, columns: number) =>
    Array.from({ length: values.length / columns }, (_, r) =>
      Math.hypot(...Array.from(values).slice(r * columns, (r + 1) * columns)),
    );

  it("is within half a step, and no row is longer than R (property)", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 6, max: 30 }),
        fc.integer({ min: -900, max: 900 }),
        fc.integer(),
        (rows, columns, bits, exponent, seed) => {
          const gaussian = gaussianSource(seed);
          const real = Float64Array.from({ length: rows * columns }, () => gaussian() * 2 ** exponent);
          const { integers, scales } = quantizeRows(real, rows, columns, 2 ** bits);
          expect(Math.max(...norms(integers, columns))).toBeLessThanOrEqual(2 ** bits);
          for (let i = 0; i < real.length; i++) {
            const scale = scales[Math.floor(i / columns)];
            if (scale === 2 ** -100) continue; // values as small as this are zeros
            expect(scale).toBe(roundUpToGrid(scale));
            const error = Math.abs(real[i] - scale * integers[i]);
            expect(error).toBeLessThanOrEqual((scale / 2) * (1 + 1e-9));
          }
        },
      ),
      { numRuns },
    );
  });

  it("uses R: the longest row comes within a step of the grid", () => {
    const real = Float64Array.from({ length: 3000 }, gaussianSource(1));
    for (const norm of norms(quantizeRows(real, 3, 1000, R).integers, 1000)) {
      expect(norm).toBeLessThanOrEqual(R);
      expect(norm).toBeGreaterThan(R * 2 ** (-1 / 16) - 20);
    }
  });

  it("makes a row shorter again that rounding has made longer than R", () => {
    for (let k = 1; k < 200; k++) {
      const real = new Float64Array(40).fill(0.1 * k + 0.05);
      for (const limit of [64, 100, 64.5]) {
        expect(norms(quantizeRows(real, 1, 40, limit).integers, 40)[0]).toBeLessThanOrEqual(limit);
      }
    }
  });

  it("gives the rows of a run one scale, that of its longest row", () => {
    const real = new Float64Array([1, 0.5, -8, 3, 0.25, 0.125]);
    const alone = quantizeRows(real, 3, 2, R);
    const { scales } = quantizeRows(real, 3, 2, R, [2, 1]);
    expect([...scales]).toEqual([alone.scales[1], alone.scales[1], alone.scales[2]]);
  });

  it("scales with the matrix: a factor on the grid changes the scales alone", () => {
    const real = Float64Array.from({ length: 400 }, gaussianSource(4));
    const plain = quantizeRows(real, 4, 100, R);
    for (const factor of [2 ** -40, 0.5, 4096, 2 ** 300]) {
      const scaled = quantizeRows(
        real.map((value) => value * factor),
        4,
        100,
        R,
      );
      expect(scaled.integers).toEqual(plain.integers);
      expect([...scaled.scales]).toEqual([...plain.scales].map((scale) => scale * factor));
    }
  });

  it("holds entries up to R: a one-hot row is one entry of nearly R", () => {
    const real = new Float64Array(100);
    real[42] = -3.7;
    const { integers, scales } = quantizeRows(real, 1, 100, R);
    expect(integers.filter((value) => value !== 0)).toHaveLength(1);
    expect(Math.abs(integers[42])).toBeGreaterThan(R * 2 ** (-1 / 16) - 1);
    expect(integers[42] * scales[0]).toBeCloseTo(-3.7, 4);
  });

  it("takes entries whose squares overflow or vanish", () => {
    for (const size of [1e300, 1e200]) {
      const { integers, scales } = quantizeRows(new Float64Array([size, -size, size / 2, 0]), 1, 4, R);
      expect(integers[0] * scales[0]).toBeCloseTo(size, -Math.log10(size) + 5);
      expect(integers[1]).toBe(-integers[0]);
    }
    const { integers } = quantizeRows(new Float64Array([1e-300, 0]), 1, 2, R);
    expect([...integers]).toEqual([0, 0]);
  });

  it("takes zeros, with a positive scale", () => {
    const zero = quantizeRows(new Float64Array(8), 2, 4, R);
    expect(zero.integers.every((entry) => entry === 0)).toBe(true);
    expect(zero.scales.every((scale) => scale > 0)).toBe(true);
  });

  it("refuses what is not finite, wrong lengths and wrong runs", () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      expect(() => quantizeRows(new Float64Array([1, bad]), 1, 2, R)).toThrow(RangeError);
    }
    const real = new Float64Array(4);
    expect(() => quantizeRows(real, 2, 3, R)).toThrow(RangeError);
    expect(() => quantizeRows(real, 2, 2, R, [1])).toThrow(RangeError);
    expect(() => quantizeRows(real, 2, 2, R, [2, 1])).toThrow(RangeError);
  });
});
