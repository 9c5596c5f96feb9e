/** Masks against the slow oracle: mask − a_0·s is CBD(21), s ternary, both fresh every time. */

import { chacha20 } from "@noble/ciphers/chacha.js";
import { describe, expect, it } from "vitest";
import { negacyclicProduct, negacyclicProductBigInt } from "../../test/oracle/ring.ts";
import { binomialErrors, ternarySecret } from "../../test/oracle/sampling.ts";
import { seededRandom } from "../../test/oracle/seeded-random.ts";
import { binomials, byteCounts, chiSquareZ, correlationZ, moments } from "../../test/support/statistics.ts";
import { type Address, Kernels, RING_DEGREE } from "../ring/kernels.ts";
import { systemRandom } from "../ring/random-source.ts";
import { BufferPool } from "./buffer-pool.ts";
import { insecureParameters } from "./insecure-parameters.ts";
import { MaskSource, type OneTimeMasks } from "./mask-source.ts";
import { DEFAULT_PARAMETERS } from "./parameters.ts";
import { PublicElements, publicElementBytes } from "./public-elements.ts";

const BUNDLE_ID = new Uint8Array(16).fill(9);
const ETA = DEFAULT_PARAMETERS.errorEta;
const K = DEFAULT_PARAMETERS.keyLength;

function makeSource(random = systemRandom, parameters = DEFAULT_PARAMETERS) {
  const kernels = Kernels.load();
  const pool = new BufferPool(kernels);
  const elements = new PublicElements(kernels, pool, BUNDLE_ID);
  const source = new MaskSource(kernels, pool, parameters, elements.element(0, false), random);
  const { keyLength } = parameters;
  const read = ({ vectors, words, secrets }: OneTimeMasks) =>
    Array.from({ length: vectors }, (_, t) => ({
      mask: kernels.words((words + 4 * t * keyLength) as Address, keyLength).slice(),
      secret: kernels.shorts((secrets + 2 * t * RING_DEGREE) as Address, RING_DEGREE).slice(),
    }));
  const draw = () => {
    const masks = source.make(1);
    const [drawn] = read(masks);
    source.discard(masks);
    return drawn;
  };
  return { kernels, pool, source, read, draw };
}

function element(): Uint32Array {
  return new Uint32Array(publicElementBytes(BUNDLE_ID, 0).slice().buffer);
}

/** (a_0·s)[0..k) with the oracle. */
function exactProduct(secret: Int16Array): Uint32Array {
  return negacyclicProduct(element(), secret).subarray(0, K);
}

describe("MaskSource", () => {
  it("mask − a_0·s is CBD(21), s is ternary", () => {
    const { source, read } = makeSource();
    const errors: number[] = [];
    const ternary = new Uint32Array(3);
    for (const { mask, secret } of read(source.make(6))) {
      const exact = exactProduct(secret);
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
    expect(Math.abs(correlationZ(errors, errors.slice(K)))).toBeLessThan(5);
  });

  it("makes a fresh mask and secret every time, unlike those before", () => {
    const { draw } = makeSource();
    const drawn = Array.from({ length: 20 }, draw);
    expect(new Set(drawn.map(({ mask }) => mask.join())).size).toBe(20);
    expect(new Set(drawn.map(({ secret }) => secret.join())).size).toBe(20);
    for (let i = 1; i < drawn.length; i++) {
      expect(Math.abs(correlationZ(drawn[i].mask, drawn[i - 1].mask))).toBeLessThan(5);
      expect(Math.abs(correlationZ(drawn[i].secret, drawn[i - 1].secret))).toBeLessThan(5);
    }
  });

  it("two sources share nothing; a seeded one repeats itself", () => {
    expect(makeSource().draw().mask).not.toEqual(makeSource().draw().mask);
    const seeded = () => makeSource(seededRandom("masks")).draw();
    expect(seeded()).toEqual(seeded());
  });

  it("looks uniform", () => {
    const { draw } = makeSource();
    const bytes = Buffer.concat(Array.from({ length: 12 }, () => Buffer.from(draw().mask.buffer)));
    for (let place = 0; place < 4; place++) {
      const counts = byteCounts(bytes.filter((_byte, i) => i % 4 === place));
      expect(Math.abs(chiSquareZ(counts))).toBeLessThan(5);
    }
  });

  it("is the sum of a_0·s and e drawn from the key's stream, as BigInt computes it", () => {
    const drawn: Uint8Array[] = [];
    const { draw } = makeSource((out) => {
      seededRandom("relation")(out);
      drawn.push(out.slice());
    });
    const a = [...element()].map(BigInt);
    for (let nonce = 0; nonce < 2; nonce++) {
      const { mask, secret } = draw();
      const bytes = Math.ceil((544 + 6 * K) / 256) * 256;
      const stream = chacha20(drawn[0], Uint8Array.of(nonce, ...new Uint8Array(11)), new Uint8Array(bytes));
      const s = ternarySecret(stream.subarray(0, bytes - 6 * K)) as Int16Array;
      const e = binomialErrors(stream.subarray(bytes - 6 * K), K);
      expect(secret).toEqual(s);
      const product = negacyclicProductBigInt(a, [...s].map(BigInt)).slice(0, K);
      const expected = product.map((word, i) => BigInt.asUintN(32, word + BigInt(e[i])));
      expect([...mask].map(BigInt)).toEqual(expected);
    }
  }, 60_000);

  it("masks of one query are as fresh as those of many, and each has its place", () => {
    const batch = makeSource(seededRandom("masks"));
    const single = makeSource(seededRandom("masks"));
    expect(batch.read(batch.source.make(5))).toEqual(Array.from({ length: 5 }, single.draw));
  });

  it("joins single masks, bit by bit, and each of them serves once", () => {
    const { kernels, source, read } = makeSource();
    const singles = Array.from({ length: 5 }, () => source.make(1));
    const drawn = singles.flatMap(read);
    const joined = source.join(singles);
    expect(joined).toMatchObject({ vectors: 5, hasProduct: true, state: "fresh" });
    expect(read(joined)).toEqual(drawn);
    for (const single of singles) {
      expect(single.state).toBe("spent");
      expect(kernels.bytes(single.words, 4 * K).every((byte) => byte === 0)).toBe(true);
      expect(kernels.bytes(single.secrets, 2 * RING_DEGREE).every((byte) => byte === 0)).toBe(true);
    }
    expect(() => source.join(singles)).toThrow(/serves one vector/);
    expect(() => source.join([])).toThrow(RangeError);
    const one = source.make(1);
    expect(() => source.join([one, one])).toThrow(/serves one vector/);
    expect(() => source.join([one, source.make(2)])).toThrow(/serves one vector/);
    expect(() => source.join([one, source.draw(1)])).toThrow(/serves one vector/);
    expect(one.state).toBe("fresh");
  });

  it.each([
    ["single masks", 1, 64, 2],
    ["batches of 16", 16, 4, 2],
    ["batches that do not fill a key", 20, 4, 4],
    ["queries of a prompt", 64, 4, 4],
  ])("takes another key after 32 masks, or one query of more: %s", (_, vectors, batches, keys) => {
    let asked = 0;
    const { source } = makeSource((out) => {
      asked++;
      systemRandom(out);
    });
    for (let i = 0; i < batches; i++) source.discard(source.draw(vectors));
    expect(asked).toBe(keys);
  });

  it("wipes masks when they are discarded, once, and says what they take", () => {
    const { kernels, source } = makeSource();
    const masks = source.make(2);
    const memory = [
      ...kernels.bytes(masks.words, 8 * K).subarray(0, 8),
      ...kernels.bytes(masks.secrets, 4 * RING_DEGREE),
    ];
    expect(memory.some((byte) => byte !== 0)).toBe(true);
    expect(masks.state).toBe("fresh");
    source.discard(masks);
    expect(masks.state).toBe("spent");
    expect(kernels.bytes(masks.words, 8 * K).every((byte) => byte === 0)).toBe(true);
    expect(kernels.bytes(masks.secrets, 4 * RING_DEGREE).every((byte) => byte === 0)).toBe(true);
    // A second call does not give the same memory back twice.
    source.discard(masks);
    const [one, two] = [source.make(2), source.make(2)];
    expect(one.words).not.toBe(two.words);
    expect(source.maskBytes).toBe(4 * K + 2 * RING_DEGREE);
  });

  it("refuses numbers of vectors that are none, and parameters that the kernels do not have", () => {
    const { source } = makeSource();
    for (const vectors of [0, -1, 1.5, Number.NaN, 2 ** 21]) {
      expect(() => source.make(vectors)).toThrow(RangeError);
    }
    expect(() => makeSource(systemRandom, insecureParameters({ keyLength: 50 }))).toThrow(RangeError);
  });

  it("leaves no key, secret or error in kernel memory, and makes nothing after a wipe", () => {
    let key = Buffer.alloc(0);
    const made = makeSource((out) => {
      systemRandom(out);
      key = Buffer.from(out);
    });
    const { kernels, source, read, draw } = made;
    const memory = () => Buffer.from(kernels.bytes(0 as Address, kernels.allocate(0)));
    const masks = source.make(1);
    const [{ secret }] = read(masks);
    expect(key).toHaveLength(32);
    const secretBytes = Buffer.from(secret.buffer);
    const planes = [secretBytes.subarray(0, 64), secretBytes.subarray(2048, 2112)];
    // The control: both are found while they are there.
    expect(memory().includes(key)).toBe(true);
    for (const part of planes) expect(memory().includes(part)).toBe(true);
    source.discard(masks);
    for (const part of planes) expect(memory().includes(part)).toBe(false);
    expect(kernels.scratch().every((byte) => byte === 0)).toBe(true);
    source.wipe();
    expect(memory().includes(key)).toBe(false);
    expect(draw).toThrow(RangeError);
  });
});
