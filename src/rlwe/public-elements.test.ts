import { sha256 } from "@noble/hashes/sha2.js";
import { shake128 } from "@noble/hashes/sha3.js";
import { describe, expect, it } from "vitest";
import { byteCounts, chiSquareZ } from "../../test/support/statistics.ts";
import { toHex } from "../base/bytes.ts";
import { Kernels, RING_DEGREE } from "../ring/kernels.ts";
import { BufferPool } from "./buffer-pool.ts";
import { PublicElements, publicElementBytes } from "./public-elements.ts";

const BUNDLE_ID = Uint8Array.from({ length: 16 }, (_, i) => i);

describe("publicElementBytes", () => {
  // Computed with Python's hashlib. Changing one of these is another protocol version.
  it.each([
    [BUNDLE_ID, 0, "413a46b7fd54e47e57821a6b74a62a72f634ebca2f4b41666fc5f905a440d8b0"],
    [BUNDLE_ID, 1, "0412da3cd6a1f9d83a8d164851926d2cae5ee0d2847236e3210333293fefeb0b"],
    [BUNDLE_ID, 0x01020304, "1b7d25edbf4f7aeaa6e0a70de91bd2104c7e684ab595b1bac7b56c8ad3007dd0"],
    [
      new Uint8Array(16).fill(255),
      2 ** 32 - 1,
      "bc8e55238a658339bad059c85f05dd263e2aa6751f544d1bbe249e9387fa6b78",
    ],
  ])("known answer %#", (bundleId, index, digest) => {
    const bytes = publicElementBytes(bundleId, index);
    expect(bytes).toHaveLength(4 * RING_DEGREE);
    expect(toHex(sha256(bytes))).toBe(digest);
  });

  it("has the digest of a_0 for the seeds of keys", () => {
    const kernels = Kernels.load();
    const elements = new PublicElements(kernels, new BufferPool(kernels), BUNDLE_ID);
    const known = "413a46b7fd54e47e57821a6b74a62a72f634ebca2f4b41666fc5f905a440d8b0";
    expect(toHex(elements.digest)).toBe(known);
    elements.digest.fill(0);
    expect(toHex(elements.digest)).toBe(known);
  });

  it("is SHAKE128 over domain, bundle id and index, as docs/protocol.md writes it", () => {
    const domain = Buffer.from("tacet/v2/public-element");
    const input = Buffer.concat([domain, BUNDLE_ID, Buffer.from([4, 3, 2, 1])]);
    expect(publicElementBytes(BUNDLE_ID, 0x01020304)).toEqual(shake128(input, { dkLen: 8192 }));
  });

  it("separates bundles and indices, and its domain from others", () => {
    const digest = (bytes: Uint8Array) => toHex(sha256(bytes));
    const all = [0, 1, 2, 256, 65_536].map((index) => digest(publicElementBytes(BUNDLE_ID, index)));
    for (const place of [0, 15]) {
      const other = BUNDLE_ID.slice();
      other[place] ^= 1;
      all.push(digest(publicElementBytes(other, 0)));
    }
    const other = Buffer.concat([Buffer.from("tacet/v1/public-element"), BUNDLE_ID, Buffer.alloc(4)]);
    all.push(digest(shake128(other, { dkLen: 8192 })));
    expect(new Set(all).size).toBe(all.length);
  });

  it("is uniform", () => {
    const all = Buffer.concat(Array.from({ length: 8 }, (_, index) => publicElementBytes(BUNDLE_ID, index)));
    expect(Math.abs(chiSquareZ(byteCounts(all)))).toBeLessThan(5);
  });

  it("refuses ids and indices out of range", () => {
    expect(() => publicElementBytes(new Uint8Array(15), 0)).toThrow(RangeError);
    for (const bad of [-1, 2 ** 32, 0.5, Number.NaN]) {
      expect(() => publicElementBytes(BUNDLE_ID, bad)).toThrow(RangeError);
    }
  });
});

describe("PublicElements", () => {
  const make = () => {
    const kernels = Kernels.load();
    return { kernels, elements: new PublicElements(kernels, new BufferPool(kernels), BUNDLE_ID) };
  };
  const words = (index: number) => new Uint32Array(publicElementBytes(BUNDLE_ID, index).slice().buffer);

  it("times the ring's one are the coefficients of the element, or of its transpose", () => {
    const { kernels, elements } = make();
    const one = kernels.allocate(2 * RING_DEGREE);
    kernels.shorts(one, 1)[0] = 1;
    const out = kernels.allocate(4 * RING_DEGREE);
    for (const index of [0, 1, 7]) {
      for (const transposed of [false, true]) {
        kernels.wipe(out, 4 * RING_DEGREE);
        const term = { element: elements.element(index, transposed), small: one, count: 1 };
        kernels.addProducts([term], out, RING_DEGREE);
        const a = words(index);
        // a(X^-1) has -a_(N-i) at X^i
        const turned = a.map((_, i) => (i === 0 ? a[0] : -a[RING_DEGREE - i]));
        expect(kernels.words(out, RING_DEGREE)).toEqual(transposed ? turned : a);
      }
    }
  });

  it("are prepared once each, and kept", () => {
    const { kernels, elements } = make();
    const all = () =>
      [0, 1].flatMap((index) => [false, true].map((turned) => elements.element(index, turned)));
    const first = all();
    expect(new Set<number>(first).size).toBe(4);
    const top = kernels.allocate(0);
    expect(all()).toEqual(first);
    expect(kernels.allocate(0)).toBe(top);
  });
});
