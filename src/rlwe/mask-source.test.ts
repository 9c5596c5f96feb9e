/** Masks against the slow oracle: mask − C·s is CBD(21), s ternary, both fresh every time. */
import { describe, expect, it } from "vitest";
import { negacyclicProduct } from "../../test/oracle/ring.ts";
import { seededRandom } from "../../test/oracle/seeded-random.ts";
import { binomials, byteCounts, chiSquareZ, correlationZ, moments } from "../../test/support/statistics.ts";
import { type Address, Kernels, RING_DEGREE } from "../ring/kernels.ts";
import { systemRandom } from "../ring/random-source.ts";
import { BufferPool } from "./buffer-pool.ts";
import { MaskSource, wordStride } from "./mask-source.ts";
import { DEFAULT_PARAMETERS, type Layout, layoutOf } from "./parameters.ts";
import { expandLayout, publicElementBytes } from "./public-elements.ts";

const BUNDLE_ID = new Uint8Array(16).fill(9);
const ETA = DEFAULT_PARAMETERS.errorEta;

function makeSource(n: number, random = systemRandom) {
  const kernels = Kernels.load();
  const pool = new BufferPool(kernels);
  const layout = layoutOf(DEFAULT_PARAMETERS, n);
  const elements = expandLayout(kernels, pool, layout, BUNDLE_ID, 0);
  const source = new MaskSource(kernels, pool, random);
  const words = kernels.allocate(4 * wordStride(layout));
  const secret = kernels.allocate(2 * RING_DEGREE);
  const draw = () => {
    source.fill(layout, elements, words, secret);
    return {
      mask: kernels.words(words, layout.words).slice(),
      secret: kernels.shorts(secret, RING_DEGREE).slice(),
    };
  };
  return { kernels, pool, layout, source, words, secret, draw };
}

/** C·s with the oracle. */
function exactProduct(layout: Layout, secret: Int16Array): Uint32Array {
  const words = new Uint32Array(layout.words);
  for (const { kind, index, offset, length } of layout.blocks) {
    const bytes = publicElementBytes({ bundleId: BUNDLE_ID, group: 0, kind, block: index });
    const product = negacyclicProduct(new Uint32Array(bytes.slice().buffer), secret);
    words.set(product.subarray(0, length), offset);
  }
  return words;
}

describe("MaskSource", () => {
  it.each([96, 1500, 2100])("n = %i: mask − C·s is CBD(21), s is ternary", (n) => {
    const { layout, draw } = makeSource(n);
    const errors: number[] = [];
    const ternary = new Uint32Array(3);
    for (let round = 0; round < 3; round++) {
      const { mask, secret } = draw();
      const exact = exactProduct(layout, secret);
      for (let i = 0; i < mask.length; i++) errors.push((mask[i] - exact[i]) | 0);
      for (const coefficient of secret) ternary[coefficient + 1]++;
    }
    const { mean, variance, max } = moments(errors);
    expect(max).toBeLessThanOrEqual(ETA);
    expect(Math.abs(mean)).toBeLessThan(5 * Math.sqrt(ETA / 2 / errors.length));
    expect(Math.abs(variance / (ETA / 2) - 1)).toBeLessThan(5 * Math.sqrt(2 / errors.length));
    // e + 21 is binomial(42, 1/2); bins that expect less than 5 are joined to the tails.
    const counts = new Uint32Array(2 * 9 + 1);
    for (const e of errors) counts[Math.max(-9, Math.min(9, e)) + 9]++;
    const expected = new Float64Array(2 * 9 + 1);
    for (const [k, ways] of binomials(2 * ETA).entries())
      expected[Math.max(-9, Math.min(9, k - ETA)) + 9] += ways;
    expect(Math.abs(chiSquareZ(counts, expected))).toBeLessThan(5);
    expect(Math.abs(chiSquareZ(ternary))).toBeLessThan(5);
    expect(Math.abs(correlationZ(errors, errors.slice(1)))).toBeLessThan(5);
    expect(Math.abs(correlationZ(errors, errors.slice(layout.words)))).toBeLessThan(5);
  });

  it("makes a fresh mask and secret every time, unlike those before", () => {
    const { draw } = makeSource(96);
    const drawn = Array.from({ length: 20 }, draw);
    expect(new Set(drawn.map(({ mask }) => mask.join())).size).toBe(20);
    expect(new Set(drawn.map(({ secret }) => secret.join())).size).toBe(20);
    for (let i = 1; i < drawn.length; i++) {
      expect(Math.abs(correlationZ(drawn[i].mask, drawn[i - 1].mask))).toBeLessThan(5);
      expect(Math.abs(correlationZ(drawn[i].secret, drawn[i - 1].secret))).toBeLessThan(5);
    }
  });

  it("two sources share nothing; a seeded one repeats itself", () => {
    expect(makeSource(96).draw().mask).not.toEqual(makeSource(96).draw().mask);
    const seeded = () => makeSource(96, seededRandom("masks")).draw();
    expect(seeded()).toEqual(seeded());
  });

  it("looks uniform", () => {
    const { draw } = makeSource(1024);
    const bytes = Buffer.concat(Array.from({ length: 12 }, () => Buffer.from(draw().mask.buffer)));
    for (let place = 0; place < 4; place++) {
      const counts = byteCounts(bytes.filter((_byte, i) => i % 4 === place));
      expect(Math.abs(chiSquareZ(counts))).toBeLessThan(5);
    }
  });

  it("leaves no key, secret or error in kernel memory, and makes nothing after a wipe", () => {
    let key = Buffer.alloc(0);
    const made = makeSource(300, (out) => {
      systemRandom(out);
      key = Buffer.from(out);
    });
    const { kernels, source, draw, secret: address } = made;
    const memory = () => Buffer.from(kernels.bytes(0 as Address, kernels.allocate(0)));
    const { secret } = draw();
    expect(key).toHaveLength(32);
    const secretBytes = Buffer.from(secret.buffer);
    const planes = [secretBytes.subarray(0, 64), secretBytes.subarray(2048, 2112)];
    // The control: both are found while they are there.
    expect(memory().includes(key)).toBe(true);
    for (const part of planes) expect(memory().includes(part)).toBe(true);
    kernels.wipe(address, 2 * RING_DEGREE);
    for (const part of planes) expect(memory().includes(part)).toBe(false);
    expect(kernels.scratch().every((byte) => byte === 0)).toBe(true);
    source.wipe();
    expect(memory().includes(key)).toBe(false);
    expect(draw).toThrow(RangeError);
  });
});
