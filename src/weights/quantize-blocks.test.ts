import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type BlockForm, type BlockSize, blocksOf, bytesOfBlock, quantizeBlocks } from "./quantize-blocks.ts";

const slow = process.env.SLOW === "1";

/** The format read back from its definition: scale·(code − 2^(bits−1)). */
function dequantize(
  { codes, scales }: { codes: Uint8Array; scales: Float32Array },
  columns: number,
  form: BlockForm,
): Float32Array {
  const { bits, block } = form;
  const blocks = blocksOf(columns, form);
  const rows = scales.length / blocks;
  const perByte = 8 / bits;
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const b = row * blocks + Math.floor(column / block);
    const inBlock = column % block;
    const byte = codes[b * bytesOfBlock(form) + Math.floor(inBlock / perByte)];
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

const SIZES: readonly BlockSize[] = [32, 64, 128];
const FORMS = SIZES.flatMap((block) => ([4, 8] as const).map((bits) => ({ bits, block })));

describe("quantizeBlocks", () => {
  it.each([
    [4, 32, 0.0815],
    [4, 64, 0.091],
    [4, 128, 0.0978],
    [8, 32, 0.0055],
    [8, 64, 0.006],
    [8, 128, 0.0065],
  ] as const)(
    "%i bits, blocks of %i: the error on normal weights is what the doc says",
    (bits, block, most) => {
      const weights = normal(64 * 1024);
      const form = { bits, block };
      const back = dequantize(quantizeBlocks(weights, 1024, form)!, 1024, form);
      const error = rms(weights.map((w, i) => w - back[i]));
      expect(error).toBeLessThan(most);
      expect(error).toBeGreaterThan(0.9 * most);
    },
  );

  it.each(FORMS)("$bits bits, blocks of $block: exact where the weights are on the grid", (form) => {
    const { bits, block } = form;
    const half = 2 ** (bits - 1);
    for (const scale of [0.25, -0.25]) {
      const weights = Float32Array.from({ length: 4 * block }, (_, i) =>
        i % block === 3 ? -half * scale : ((i % (2 * half)) - half) * scale,
      );
      expect(dequantize(quantizeBlocks(weights, 2 * block, form)!, 2 * block, form)).toEqual(weights);
    }
  });

  it.each(FORMS)(
    "$bits bits, blocks of $block: every error is within the range that one step leaves",
    (form) => {
      const { bits, block: size } = form;
      const weight = fc.float({ noNaN: true, noDefaultInfinity: true, min: -1e4, max: 1e4 });
      const matrices = fc
        .tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 3 * size + 4 }))
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
          const back = dequantize(quantizeBlocks(weights, columns, form)!, columns, form);
          for (let start = 0; start < weights.length; ) {
            const length = Math.min(size, columns - (start % columns));
            const block = weights.subarray(start, start + length);
            const largest = block.reduce((most, w) => Math.max(most, Math.abs(w)), 0);
            // 4 bits: up to 15 steps of 1/6.6 span the range, or the largest are cut; 8 bits: the end that loses a code is one
            // step short.
            const most = bits === 4 ? largest / 3 : largest / 100;
            for (let i = 0; i < length; i++)
              expect(Math.abs(block[i] - back[start + i])).toBeLessThanOrEqual(most + 1e-40);
            start += length;
          }
        }),
        { numRuns: slow ? 2000 : 40 },
      );
    },
  );

  it("keeps zero rows zero, and pads a short block with the code of zero", () => {
    const four = quantizeBlocks(new Float32Array(2 * 40), 40, { bits: 4, block: 32 })!;
    expect(four.codes).toEqual(new Uint8Array(4 * 16).fill(0x88));
    expect(four.scales).toEqual(new Float32Array(4));
    const eight = quantizeBlocks(
      Float32Array.from({ length: 40 }, (_, i) => i + 1),
      40,
      { bits: 8, block: 32 },
    )!;
    expect(eight.codes.subarray(32 + 8)).toEqual(new Uint8Array(24).fill(0x80));
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])("refuses %d", (bad) => {
    for (const form of FORMS) {
      const weights = normal(2 * form.block);
      weights[40] = bad;
      expect(quantizeBlocks(weights, form.block, form)).toBeUndefined();
    }
  });

  it("holds the smallest and the largest of float32", () => {
    for (const form of FORMS) {
      for (const w of [1e-45, -1e-40, 3.4e38, -3.4e38]) {
        const weights = new Float32Array(form.block).fill(w);
        const back = dequantize(quantizeBlocks(weights, form.block, form)!, form.block, form);
        for (const v of back) expect(Math.abs(v - w)).toBeLessThanOrEqual(Math.abs(w) / 7 + 1e-44);
      }
    }
  });
});
