import { sha256 } from "@noble/hashes/sha2.js";
import { shake128 } from "@noble/hashes/sha3.js";
import { describe, expect, it } from "vitest";
import { byteCounts, chiSquareZ } from "../../test/support/statistics.ts";
import { toHex } from "../base/bytes.ts";
import { Kernels, NTT_POLY_BYTES, RING_DEGREE } from "../ring/kernels.ts";
import { BufferPool } from "./buffer-pool.ts";
import { DEFAULT_PARAMETERS, layoutOf } from "./parameters.ts";
import { type ElementId, expandLayout, publicElementBytes } from "./public-elements.ts";

const BUNDLE_ID = Uint8Array.from({ length: 16 }, (_, i) => i);
const id = (change: Partial<ElementId> = {}): ElementId => ({
  bundleId: BUNDLE_ID,
  group: 0,
  kind: "data",
  block: 0,
  ...change,
});

describe("publicElementBytes", () => {
  // Computed with Python's hashlib. Changing one of these is another protocol version.
  it.each([
    [id(), "aece19a9eca4b967ab7c254313d8337339f42a6d4d971962f6f54cddcc856682"],
    [id({ kind: "padding", block: 1 }), "17a73b2eaa88d99554c8ba03012972f9ce185138cb11aef3dd98456cb759499b"],
    [id({ group: 0x01020304, block: 2 }), "fc9630186ea57b7df030c4c7a952ed0faf669b5a5fa6b26f95a03089f138e62b"],
    [
      id({ bundleId: new Uint8Array(16).fill(255), group: 2 ** 32 - 1, block: 2 ** 32 - 1 }),
      "767570925d8ea4820a9d12e5e6b34280838bebea38ce6b961171db0a200a9735",
    ],
  ])("known answer %#", (element, digest) => {
    const bytes = publicElementBytes(element);
    expect(bytes).toHaveLength(4 * RING_DEGREE);
    expect(toHex(sha256(bytes))).toBe(digest);
  });

  it("is SHAKE128 over domain, bundle id, group, kind and block, as docs/protocol.md writes it", () => {
    const input = Buffer.concat([
      Buffer.from("tacet/v1/public-element"),
      BUNDLE_ID,
      Buffer.from([4, 3, 2, 1, 1, 5, 0, 0, 0]),
    ]);
    const element = id({ group: 0x01020304, kind: "padding", block: 5 });
    expect(publicElementBytes(element)).toEqual(shake128(input, { dkLen: 8192 }));
  });

  it("separates bundle, group, kind and block", () => {
    const other = BUNDLE_ID.slice();
    other[15] ^= 1;
    const ids = [
      id(),
      id({ bundleId: other }),
      id({ group: 1 }),
      id({ group: 256 }),
      id({ kind: "padding" }),
      id({ block: 1 }),
      id({ block: 256 }),
      id({ group: 1, block: 1 }),
    ];
    expect(new Set(ids.map((element) => toHex(sha256(publicElementBytes(element))))).size).toBe(ids.length);
  });

  it("is uniform", () => {
    const all = Buffer.concat(Array.from({ length: 8 }, (_, block) => publicElementBytes(id({ block }))));
    expect(Math.abs(chiSquareZ(byteCounts(all)))).toBeLessThan(5);
  });

  it("refuses ids out of range", () => {
    expect(() => publicElementBytes(id({ bundleId: new Uint8Array(15) }))).toThrow(RangeError);
    for (const bad of [-1, 2 ** 32, 0.5, Number.NaN]) {
      expect(() => publicElementBytes(id({ group: bad }))).toThrow(RangeError);
      expect(() => publicElementBytes(id({ block: bad }))).toThrow(RangeError);
    }
  });
});

describe("expandLayout", () => {
  it.each([
    [96, 1],
    [1024, 1],
    [1025, 2],
    [2048, 2],
    [3072, 2],
    [3073, 3],
  ])("n = %i takes %i elements, the padding's last", (n, count) => {
    const kernels = Kernels.load();
    const layout = layoutOf(DEFAULT_PARAMETERS, n);
    const elements = expandLayout(kernels, new BufferPool(kernels), layout, BUNDLE_ID, 0);
    expect(elements).toHaveLength(count);
    // Times the ring's one: the coefficients of the element itself.
    const one = kernels.allocate(2 * RING_DEGREE);
    kernels.shorts(one, 1)[0] = 1;
    const secret = kernels.secretToNtt(one, kernels.allocate(NTT_POLY_BYTES));
    const out = kernels.allocate(4 * RING_DEGREE);
    for (const [i, { kind, index }] of layout.blocks.entries()) {
      kernels.multiplyPublic(elements[i], secret, out, RING_DEGREE);
      const got = kernels.bytes(out, 4 * RING_DEGREE);
      expect(toHex(sha256(got))).toBe(toHex(sha256(publicElementBytes(id({ kind, block: index })))));
    }
  });
});
