import { sha256 } from "@noble/hashes/sha2.js";
import { describe, expect, it, vi } from "vitest";
import { makeLayer } from "../../test/support/pll-layer.ts";
import { toHex } from "../base/bytes.ts";
import { insecureParameters } from "../rlwe/insecure-parameters.ts";
import { createParameters, DEFAULT_PARAMETERS, type ParametersLiteral } from "../rlwe/parameters.ts";
import { PublicElements, publicElementBytes } from "../rlwe/public-elements.ts";
import { type KeySeedInput, keySeed } from "./key-secrets.ts";
import { ProviderLayer } from "./provider-layer.ts";

const bytes = (fill: number, length: number) => new Uint8Array(length).fill(fill);
const IDENTITY: KeySeedInput = {
  rootSecret: bytes(1, 32),
  bundleDigest: bytes(2, 32),
  weightsDigest: bytes(3, 32),
  elementsDigest: bytes(7, 32),
  parameters: DEFAULT_PARAMETERS,
  account: bytes(4, 8),
  keyId: bytes(5, 16),
  group: 6,
};
const seed = (changes: Partial<KeySeedInput> = {}) => toHex(keySeed({ ...IDENTITY, ...changes }));

/** The same bytes with one bit of one byte changed. */
function flipped(value: Uint8Array, place: number): Uint8Array {
  const changed = value.slice();
  changed[place] ^= 1;
  return changed;
}

describe("keySeed", () => {
  it("is the same for the same key, whatever objects it is written in", () => {
    const parameters = structuredClone(DEFAULT_PARAMETERS);
    const account = IDENTITY.account.slice();
    expect(seed({ parameters, account })).toBe(seed());
    const reversed = Object.fromEntries(Object.entries(DEFAULT_PARAMETERS).reverse());
    expect(seed({ parameters: createParameters(reversed as unknown as ParametersLiteral) })).toBe(seed());
  });

  it("changes with every field, and with the first and last byte of each", () => {
    const fields = [
      "rootSecret",
      "bundleDigest",
      "weightsDigest",
      "elementsDigest",
      "account",
      "keyId",
    ] as const;
    const seeds = [
      seed(),
      ...fields.flatMap((field) => {
        const value = IDENTITY[field];
        return [0, value.length - 1].map((place) => seed({ [field]: flipped(value, place) }));
      }),
      seed({ group: 7 }),
      seed({ group: 6 + 2 ** 24 }),
      seed({ parameters: insecureParameters({}) }),
      seed({ parameters: insecureParameters({ vectorsPerKey: 255 }) }),
    ];
    expect(new Set(seeds).size).toBe(seeds.length);
  });

  it("reads no two accounts alike, of any length", () => {
    const accounts = [[], [0], [0, 0], [5], [4, 4, 4, 4, 4, 4, 4, 4, 5]].map((all) => Uint8Array.from(all));
    const seeds = accounts.map((account) => seed({ account }));
    // A byte that moves from one field into the next.
    seeds.push(seed({ account: bytes(5, 9), keyId: bytes(5, 16) }), seed({ account: bytes(5, 8) }));
    expect(new Set(seeds).size).toBe(seeds.length);
  });

  it("refuses wrong lengths", () => {
    for (const field of ["rootSecret", "bundleDigest", "weightsDigest", "elementsDigest", "keyId"] as const) {
      expect(() => seed({ [field]: IDENTITY[field].subarray(1) })).toThrow(new RegExp(field));
    }
    for (const group of [-1, 0.5, 2 ** 32]) expect(() => seed({ group })).toThrow(RangeError);
  });
});

it("a seed leaves no copy of the root secret, nor a state of the hash, on the heap", () => {
  const made: Uint8Array[] = [];
  const Real = globalThis.Uint8Array;
  // The name: by it the hash library knows arrays of bytes.
  const Recorded = {
    Uint8Array: class extends Real {
      constructor(...args: unknown[]) {
        super(...(args as []));
        made.push(this);
      }
    },
  }.Uint8Array;
  const identity = { ...IDENTITY, rootSecret: sha256(bytes(1, 3)) };
  vi.stubGlobal("Uint8Array", Recorded);
  try {
    keySeed(identity);
    // The control: a copy is seen.
    Recorded.from(identity.rootSecret);
  } finally {
    vi.unstubAllGlobals();
  }
  const copies = made.filter((array) => Buffer.from(array).includes(Buffer.from(identity.rootSecret)));
  expect(copies).toHaveLength(1);
  // The state of SHAKE256: 200 bytes, wiped.
  const states = made.filter((array) => array.length === 200);
  expect(states).toHaveLength(1);
  expect(states[0].every((byte) => byte === 0)).toBe(true);
});

it("a layer's digest is that of its weights: another W, another S", () => {
  const real = Float64Array.from({ length: 200 }, (_, i) => Math.sin(i));
  const digest = (weights: Float64Array) => toHex(makeLayer(weights, 2, 100).provider.weightsDigest);
  expect(digest(real)).toBe(digest(real.slice()));
  expect(digest(real.map((value, i) => (i === 150 ? value + 1e-3 : value)))).not.toBe(digest(real));
});

it("and that of a_0, as its bytes are: another bundle id, another M, another S", () => {
  const real = Float64Array.from({ length: 200 }, (_, i) => Math.sin(i));
  const { kernels, pool, provider, quantized } = makeLayer(real, 2, 100);
  expect(toHex(provider.elementsDigest)).toBe(toHex(sha256(publicElementBytes(new Uint8Array(16), 0))));
  const elements = new PublicElements(kernels, pool, new Uint8Array(16).fill(1));
  const shape = { parameters: DEFAULT_PARAMETERS, rows: 2, inFeatures: 100, weights: quantized.integers };
  const other = new ProviderLayer(kernels, pool, elements, shape);
  expect(toHex(other.elementsDigest)).not.toBe(toHex(provider.elementsDigest));
});
