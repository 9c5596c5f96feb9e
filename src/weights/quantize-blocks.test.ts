import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BLOCK, blocksOf, bytesOfBlock, type QuantizedBits, quantizeBlocks } from "./quantize-blocks.ts";

const slow = process.env.SLOW === "1";

/** The format read back from its definition: scale·(code − 2^(bits−1)). */
function dequantize(
  { codes, scales }: { codes: Uint8Array; scales: Float32Array },
  columns: number,
  bits: QuantizedBits,
): Float32Array {
  const blocks = blocksOf(columns);
  const rows = scales.length / blocks;
  const perByte = 8 / bits;
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const b = row * blocks + Math.floor(column / BLOCK);
    const inBlock = column % BLOCK;
    const byte = codes[b * bytesOfBlock(bits) + Math.floor(inBlock / perByte)];
    const code = (byte >> (bits * (inBlock % perByte))) & (2 ** bits - 1);
    return scales[b] * (code - 2 ** (bits - 1));
  });
}

/** Normally distributed, from a small seeded generator. */
function normal(count: number, seed = 1): Float32Array {
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 1) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

const rms = (values: Float32Array) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);

describe("quantizeBlocks", () => {
  it.each([
    [4, 0.0825],
    [8, 0.0055],
  ] as const)("%i bits: the error on normal weights is what the doc says", (bits, most) => {
    const weights = normal(64 * 1024);
    const back = dequantize(quantizeBlocks(weights, 1024, bits)!, 1024, bits);
    expect(rms(weights.map((w, i) => w - back[i]))).toBeLessThan(most);
  });

  it.each([4, 8] as const)("%i bits: exact where the weights are on the grid", (bits) => {
    const half = 2 ** (bits - 1);
    for (const scale of [0.25, -0.25]) {
      const weights = Float32Array.from({ length: 4 * BLOCK }, (_, i) =>
        i % BLOCK === 3 ? -half * scale : ((i % (2 * half)) - half) * scale,
      );
      expect(dequantize(quantizeBlocks(weights, 2 * BLOCK, bits)!, 2 * BLOCK, bits)).toEqual(weights);
    }
  });

  it.each([4, 8] as const)("%i bits: every error is within the range that one step leaves", (bits) => {
    const weight = fc.float({ noNaN: true, noDefaultInfinity: true, min: -1e4, max: 1e4 });
    const matrices = fc
      .tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 100 }))
      .chain(([rows, columns]) =>
        fc.tuple(
          fc.constant(columns),
          fc.float32Array({ minLength: 0, maxLength: 0 }),
          fc.array(weight, { minLength: rows * columns, maxLength: rows * columns }),
        ),
      );
    fc.assert(
      fc.property(matrices, ([columns, , values]) => {
        const weights = Float32Array.from(values);
        const back = dequantize(quantizeBlocks(weights, columns, bits)!, columns, bits);
        for (let start = 0; start < weights.length; ) {
          const length = Math.min(BLOCK, columns - (start % columns));
          const block = weights.subarray(start, start + length);
          const largest = block.reduce((most, w) => Math.max(most, Math.abs(w)), 0);
          // 4 bits: up to 15 steps of 1/6.6 span the range; 8 bits: the end that loses a code is one step short.
          const most = bits === 4 ? largest / 3.5 : largest / 100;
          for (let i = 0; i < length; i++)
            expect(Math.abs(block[i] - back[start + i])).toBeLessThanOrEqual(most + 1e-40);
          start += length;
        }
      }),
      { numRuns: slow ? 2000 : 60 },
    );
  });

  it("keeps zero rows zero, and pads a short block with the code of zero", () => {
    const four = quantizeBlocks(new Float32Array(2 * 40), 40, 4)!;
    expect(four.codes).toEqual(new Uint8Array(4 * 16).fill(0x88));
    expect(four.scales).toEqual(new Float32Array(4));
    const eight = quantizeBlocks(
      Float32Array.from({ length: 40 }, (_, i) => i + 1),
      40,
      8,
    )!;
    expect(eight.codes.subarray(32 + 8)).toEqual(new Uint8Array(24).fill(0x80));
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])("refuses %d", (bad) => {
    for (const bits of [4, 8] as const) {
      const weights = normal(2 * BLOCK);
      weights[40] = bad;
      expect(quantizeBlocks(weights, BLOCK, bits)).toBeUndefined();
    }
  });

  it("holds the smallest and the largest of float32", () => {
    for (const bits of [4, 8] as const) {
      for (const w of [1e-45, -1e-40, 3.4e38, -3.4e38]) {
        const weights = new Float32Array(BLOCK).fill(w);
        const back = dequantize(quantizeBlocks(weights, BLOCK, bits)!, BLOCK, bits);
        for (const v of back) expect(Math.abs(v - w)).toBeLessThanOrEqual(Math.abs(w) / 7 + 1e-44);
      }
    }
  });
});
