import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gaussianSource } from "../../test/support/pll-layer.ts";
import { quantizeRows, roundUpToGrid } from "./quantize.ts";

const numRuns = process.env.SLOW === "1" ? 2000 : 100;
const anyMagnitude = fc.double({ min: -60, max: 60, noNaN: true }).map((exponent) => 2 ** exponent);

describe("roundUpToGrid", () => {
  it("gives the least 2^(k/4) that is not smaller (property)", () => {
    fc.assert(
      fc.property(anyMagnitude, (value) => {
        const up = roundUpToGrid(value);
        const k = Math.round(4 * Math.log2(up));
        expect(up).toBe(2 ** (k / 4));
        expect(up).toBeGreaterThanOrEqual(value);
        expect(2 ** ((k - 1) / 4)).toBeLessThan(value);
      }),
      { numRuns },
    );
  });

  it("is monotone, also beside grid points (property)", () => {
    fc.assert(
      fc.property(anyMagnitude, fc.integer({ min: -200, max: 200 }), (value, k) => {
        expect(roundUpToGrid(value)).toBeLessThanOrEqual(roundUpToGrid(value * 1.001));
        const point = 2 ** (k / 4);
        const ulp = point * 2 ** -52;
        expect(roundUpToGrid(point)).toBe(point);
        expect(roundUpToGrid(point - ulp)).toBe(point);
        expect(roundUpToGrid(point + ulp)).toBe(2 ** ((k + 1) / 4));
      }),
      { numRuns },
    );
  });
});

describe("quantizeRows", () => {
  it("is within half a step, inside the bits, and its bound holds (property)", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 2, max: 13 }),
        fc.integer({ min: -40, max: 40 }),
        fc.integer(),
        (rows, columns, bits, exponent, seed) => {
          const gaussian = gaussianSource(seed);
          const real = Float64Array.from({ length: rows * columns }, () => gaussian() * 2 ** exponent);
          const { integers, scales, normBound } = quantizeRows(real, rows, columns, bits);
          const limit = 2 ** (bits - 1) - 1;
          for (let r = 0; r < rows; r++) {
            const row = integers.subarray(r * columns, (r + 1) * columns);
            expect(Math.max(...row.map(Math.abs))).toBeLessThanOrEqual(limit);
            expect(Math.hypot(...row)).toBeLessThanOrEqual(normBound);
            expect(scales[r]).toBe(roundUpToGrid(scales[r]));
            for (let j = 0; j < columns; j++) {
              const error = Math.abs(real[r * columns + j] - scales[r] * row[j]);
              expect(error).toBeLessThanOrEqual((scales[r] / 2) * (1 + 1e-12));
            }
          }
        },
      ),
      { numRuns },
    );
  });

  it("uses its bits: the largest entry comes within a grid step of the limit", () => {
    const real = Float64Array.from({ length: 300 }, gaussianSource(1));
    const { integers } = quantizeRows(real, 3, 100, 10);
    for (let r = 0; r < 3; r++) {
      const largest = Math.max(...integers.subarray(r * 100, (r + 1) * 100).map(Math.abs));
      expect(largest).toBeGreaterThanOrEqual(Math.floor(511 / 2 ** 0.25) - 1);
    }
  });

  it("gives the rows of a run one scale, that of its largest entry", () => {
    const real = new Float64Array([1, 0.5, -8, 3, 0.25, 0.125]);
    const alone = quantizeRows(real, 3, 2, 8);
    const { scales } = quantizeRows(real, 3, 2, 8, [2, 1]);
    expect([...scales]).toEqual([alone.scales[1], alone.scales[1], alone.scales[2]]);
  });

  it("publishes a norm bound below the next grid point", () => {
    const real = Float64Array.from({ length: 640 }, gaussianSource(2));
    const { integers, normBound } = quantizeRows(real, 10, 64, 12);
    const norms = Array.from({ length: 10 }, (_, r) =>
      Math.hypot(...integers.subarray(64 * r, 64 * (r + 1))),
    );
    expect(normBound).toBe(roundUpToGrid(Math.max(...norms)));
  });

  it("takes zeros: a positive scale and a bound of at least 1", () => {
    const zero = quantizeRows(new Float64Array(8), 2, 4, 10);
    expect(zero.integers.every((entry) => entry === 0)).toBe(true);
    expect(zero.scales.every((scale) => scale > 0)).toBe(true);
    expect(zero.normBound).toBe(1);
  });

  it("refuses what is not finite, wrong lengths, wrong runs and wrong bits", () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      expect(() => quantizeRows(new Float64Array([1, bad]), 1, 2, 10)).toThrow(RangeError);
    }
    const real = new Float64Array(4);
    expect(() => quantizeRows(real, 2, 3, 10)).toThrow(RangeError);
    expect(() => quantizeRows(real, 2, 2, 10, [1])).toThrow(RangeError);
    expect(() => quantizeRows(real, 2, 2, 10, [2, 1])).toThrow(RangeError);
    for (const bits of [1, 14, 9.5]) expect(() => quantizeRows(real, 2, 2, bits)).toThrow(RangeError);
  });
});
