/** The hint against the slow oracle: H − [W | P]·C is E and the rounding of the published bits, nothing else. */
import { describe, expect, it } from "vitest";
import { transposedProduct } from "../../test/oracle/ring.ts";
import { randomIntegers, seededRandom } from "../../test/oracle/seeded-random.ts";
import { byteCounts, chiSquareZ, correlationZ, moments } from "../../test/support/statistics.ts";
import { Kernels, PUBLIC_ELEMENT_BYTES, packedBytes, RING_DEGREE } from "../ring/kernels.ts";
import { systemRandom } from "../ring/random-source.ts";
import { BufferPool } from "../rlwe/buffer-pool.ts";
import { DEFAULT_PARAMETERS, layoutOf, weightBits } from "../rlwe/parameters.ts";
import { expandLayout, publicElementBytes } from "../rlwe/public-elements.ts";
import { setup } from "./setup.ts";

const P = DEFAULT_PARAMETERS;
const BUNDLE_ID = new Uint8Array(16).fill(7);
const GROUP = 3;
const kernels = Kernels.load();
const pool = new BufferPool(kernels);

function runSetup(weights: Int16Array, rows: number, inFeatures: number) {
  const elements = expandLayout(kernels, pool, layoutOf(P, inFeatures), BUNDLE_ID, GROUP);
  const input = { parameters: P, elements, weights, rows, inFeatures, context: [] };
  return setup(kernels, pool, input, systemRandom);
}

/** 24-bit hint words, as the top bits of u32. */
function hintWords(hint: Uint8Array): Uint32Array {
  return Uint32Array.from(
    { length: hint.length / 3 },
    (_, i) => ((hint[3 * i] | (hint[3 * i + 1] << 8) | (hint[3 * i + 2] << 16)) << 8) >>> 0,
  );
}

/** [W | P]·C of one row, with the oracle. */
function exactRow(weights: Int16Array, padding: Int16Array, inFeatures: number): Uint32Array {
  const row = Int16Array.from([...weights, ...padding]);
  const sum = new Uint32Array(RING_DEGREE);
  for (const { kind, index, offset, length } of layoutOf(P, inFeatures).blocks) {
    const bytes = publicElementBytes({ bundleId: BUNDLE_ID, group: GROUP, kind, block: index });
    const a = new Uint32Array(bytes.slice().buffer);
    const part = transposedProduct(a, row.subarray(offset, offset + length));
    for (let i = 0; i < RING_DEGREE; i++) sum[i] += part[i];
  }
  return sum;
}

function randomWeights(count: number, inFeatures: number): Int16Array {
  const limit = 2 ** (weightBits(P, inFeatures) - 1) - 1;
  return randomIntegers(seededRandom(`weights ${count}`), count, -limit, limit);
}

describe("setup", () => {
  // Padding shares the only block; has one of its own; shares the second one.
  it.each([96, 1500, 2100])("n = %i: the hint is [W | P]·C + E, E Gaussian, rounded to 24 bits", (n) => {
    const rows = 3;
    const weights = randomWeights(rows * n, n);
    const { hint, padding } = runSetup(weights, rows, n);
    expect(padding).toHaveLength(rows * P.paddingLength);
    const words = hintWords(hint);
    const errors = new Int32Array(rows * RING_DEGREE);
    for (let r = 0; r < rows; r++) {
      const row = weights.subarray(r * n, (r + 1) * n);
      const exact = exactRow(row, padding.subarray(r * P.paddingLength, (r + 1) * P.paddingLength), n);
      for (let i = 0; i < RING_DEGREE; i++) {
        errors[r * RING_DEGREE + i] = (words[r * RING_DEGREE + i] - exact[i]) | 0;
      }
    }
    const { mean, variance, kurtosis, max } = moments(errors);
    const want = P.hintErrorStddev ** 2 + 2 ** (2 * (32 - P.hintBits)) / 12;
    const count = errors.length;
    console.log(
      `n = ${n}: error of the hint, stddev ${Math.sqrt(variance).toFixed(1)}, predicted ${Math.sqrt(want).toFixed(1)}`,
    );
    expect(Math.abs(mean)).toBeLessThan(5 * Math.sqrt(want / count));
    expect(Math.abs(variance / want - 1)).toBeLessThan(5 * Math.sqrt(2 / count));
    expect(Math.abs(kurtosis - 3)).toBeLessThan(0.5);
    expect(max).toBeLessThan(7 * Math.sqrt(want));
    expect(Math.abs(correlationZ(errors, errors.subarray(1)))).toBeLessThan(5);
    expect(Math.abs(correlationZ(errors, errors.subarray(RING_DEGREE)))).toBeLessThan(5);
  });

  it("draws P uniform in its interval, and another one for each row and hint", () => {
    const weights = randomWeights(8 * 64, 64);
    const [first, second] = [runSetup(weights, 8, 64), runSetup(weights, 8, 64)];
    const counts = new Uint32Array(512);
    for (const entry of first.padding) counts[entry - P.paddingLow]++;
    expect(Math.abs(chiSquareZ(counts))).toBeLessThan(5);
    expect(Math.abs(correlationZ(first.padding, second.padding))).toBeLessThan(5);
    expect(Math.abs(correlationZ(first.padding, first.padding.subarray(P.paddingLength)))).toBeLessThan(5);
  });

  it.each([
    ["random weights", (n: number) => randomWeights(8 * n, n)],
    ["weights that are all zero", (n: number) => new Int16Array(8 * n)],
    ["weights that are all alike", (n: number) => new Int16Array(8 * n).fill(2047)],
  ])("the hint of %s looks uniform, and unlike any other hint", (_, make) => {
    const n = 256;
    const weights = make(n);
    const [hint, other] = [runSetup(weights, 8, n).hint, runSetup(weights, 8, n).hint];
    expect(hint).toHaveLength(8 * packedBytes(RING_DEGREE, P.hintBits));
    for (let place = 0; place < 3; place++) {
      const bytes = hint.filter((_byte, i) => i % 3 === place);
      expect(Math.abs(chiSquareZ(byteCounts(bytes)))).toBeLessThan(5);
    }
    expect(Math.abs(correlationZ(hintWords(hint), hintWords(other)))).toBeLessThan(5);
    // Differences too: with one P for both they would cancel to the errors.
    const difference = hint.map((byte, i) => byte - other[i]);
    expect(Math.abs(chiSquareZ(byteCounts(difference)))).toBeLessThan(5);
  });

  it("keeps no copy of P, W or E in kernel memory", () => {
    const fresh = Kernels.load();
    const own = new BufferPool(fresh);
    const n = 512;
    const weights = randomWeights(2 * n, n);
    const elements = expandLayout(fresh, own, layoutOf(P, n), BUNDLE_ID, GROUP);
    const input = { parameters: P, elements, weights, rows: 2, inFeatures: n, context: [] };
    const { padding } = setup(fresh, own, input, systemRandom);
    const bytesOf = (values: Int16Array) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);
    const holds = (values: Int16Array) =>
      Buffer.from(fresh.bytes(0 as never, fresh.allocate(0))).includes(bytesOf(values.subarray(0, 16)));
    expect(holds(weights)).toBe(false);
    expect(holds(padding)).toBe(false);
    const planted = own.acquire(2 * n);
    fresh.shorts(planted, n).set(weights.subarray(0, n));
    expect(holds(weights)).toBe(true);
  });

  it("refuses wrong lengths, too few elements and weights of too many bits", () => {
    const n = 96;
    const weights = randomWeights(2 * n, n);
    const elements = expandLayout(kernels, pool, layoutOf(P, n), BUNDLE_ID, GROUP);
    const good = { parameters: P, elements, weights, rows: 2, inFeatures: n, context: [] };
    const tooLarge = weights.slice();
    tooLarge[5] = 2 ** (weightBits(P, n) - 1) + 1;
    for (const bad of [
      { ...good, rows: 1 },
      { ...good, rows: 0 },
      { ...good, rows: 1.5 },
      { ...good, inFeatures: n + 1 },
      { ...good, weights: weights.subarray(1) },
      { ...good, elements: [] },
      { ...good, elements: [...elements, kernels.allocate(PUBLIC_ELEMENT_BYTES) as never] },
      { ...good, weights: tooLarge },
    ]) {
      expect(() => setup(kernels, pool, bad, systemRandom)).toThrow(RangeError);
    }
  });
});
